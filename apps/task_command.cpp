#include "apps/task_command.h"

#include <map>
#include <nlohmann/json.hpp>

#include "altup/tasks/benchmark_average.h"

namespace altup {

void add_task_options(CLI::App& command, TaskOptions& options) {
  command
      .add_option("--task", options.tasks,
                  "Task or tasks: glue/sst2, squad, my_task.toml, or a benchmark: glue, superglue")
      ->required()
      ->type_name("NAME");
  command.add_option("--data", options.data, "Directory of the official files, or a file")
      ->required();
  command.add_option("--split", options.split, "Split")->capture_default_str();
}

std::filesystem::path predictions_path(const std::filesystem::path& path, const Task& task,
                                       size_t num_tasks) {
  return num_tasks == 1 ? path : path / task.submission_file;
}

nlohmann::json task_figures(const std::vector<nlohmann::json>& results) {
  if (results.size() == 1) return results.front();
  std::map<std::string, Metrics> metrics;
  for (const auto& result : results) {
    metrics[result.at("task")] = result.at("metrics").get<Metrics>();
  }
  auto averages = nlohmann::json::object();
  for (const char* benchmark : {"glue", "superglue"}) {
    if (const auto average = benchmark_average(benchmark, metrics); average.value) {
      averages[benchmark] = *average.value;
    }
  }
  return {{"tasks", results}, {"averages", averages}};
}

}  // namespace altup
