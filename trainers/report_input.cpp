// Reading run directories for the report.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "altup/models/model_size.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "trainers/report.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

TaskResult to_result(const Json& object, const std::string& path) {
  const bool good = object.is_object() && object.contains("task") && object["task"].is_string() &&
                    object.contains("metrics") && object["metrics"].is_object();
  if (!good) {
    throw UserError(path,
                    "not a result; expected {\"task\": …, \"metrics\": {…}, \"examples\": n}");
  }
  TaskResult result{.task = object["task"], .metrics = {}, .examples = 0};
  for (const auto& [name, value] : object["metrics"].items()) {
    if (value.is_null()) {  // how JSON holds a NaN, as the correlation of constant predictions is
      result.metrics[name] = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    if (!value.is_number()) {
      throw UserError(
          path, str("metric \"", name, "\" is a JSON ", value.type_name(), "; expected a number"));
    }
    result.metrics[name] = value.get<double>();
  }
  if (object.contains("examples") && object["examples"].is_number_integer()) {
    result.examples = object["examples"].get<int64_t>();
  }
  return result;
}

/// The last evaluation on each task in training, for the tasks that `results` has nothing of.
void add_training_evaluations(const std::vector<MetricRecord>& records,
                              std::vector<TaskResult>& results) {
  std::map<std::string, TaskResult> last;
  for (const auto& record : records) {
    if (record.split == "train" || record.split == "validation") continue;
    TaskResult result{.task = record.split, .metrics = record.values, .examples = 0};
    for (const char* position : {"tokens", "seconds"}) result.metrics.erase(position);
    last[record.split] = std::move(result);
  }
  for (const auto& result : results) last.erase(result.task);
  for (auto& [task, result] : last) results.push_back(std::move(result));
}

std::string last_name(const fs::path& directory) {
  const auto normal = directory.lexically_normal();
  const auto name = normal.has_filename() ? normal.filename() : normal.parent_path().filename();
  return name.empty() || name == "." ? fs::absolute(directory).lexically_normal().string()
                                     : name.string();
}

}  // namespace

std::vector<TaskResult> read_results(const fs::path& path) {
  const Json json = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    throw UserError(path.string(), "broken JSON; expected a result or a list");
  std::vector<TaskResult> results;
  // What evaluate and score write of several tasks holds the list as "tasks".
  const bool several = json.is_object() && json.contains("tasks");
  const Json& list = several ? json["tasks"] : json;
  if (list.is_array()) {
    for (const auto& object : list) results.push_back(to_result(object, path.string()));
  } else {
    results.push_back(to_result(json, path.string()));
  }
  return results;
}

RunSummary read_run_summary(const fs::path& directory) {
  const auto metrics = directory / "metrics.jsonl";
  if (!fs::is_regular_file(metrics)) {
    throw UserError(directory.string(), "holds no metrics.jsonl; expected the directory of a run");
  }
  RunSummary run{last_name(directory), read_metrics(metrics), std::nullopt, std::nullopt, {}};
  if (run.records.empty()) throw UserError(metrics.string(), "holds no record yet");
  if (const auto config = directory / "config.toml"; fs::is_regular_file(config)) {
    run.config = load_run_config({config}, {});
    run.parameters = count_parameters(run.config->model).total;
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("results") && name.ends_with(".json")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    const auto results = read_results(file);
    run.results.insert(run.results.end(), results.begin(), results.end());
  }
  add_training_evaluations(run.records, run.results);
  return run;
}

void write_report(const std::vector<fs::path>& runs, const fs::path& output) {
  std::vector<RunSummary> summaries;
  std::map<std::string, int> uses;
  for (const auto& run : runs) {
    summaries.push_back(read_run_summary(run));
    ++uses[summaries.back().name];
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    if (uses[summaries[i].name] > 1) summaries[i].name = runs[i].lexically_normal().string();
  }
  if (output.has_parent_path()) fs::create_directories(output.parent_path());
  write_file_atomic(output, html_report(summaries));
}

}  // namespace altup
