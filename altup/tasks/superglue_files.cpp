#include "altup/tasks/superglue_files.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace fs = std::filesystem;

fs::path find_superglue_file(const std::string& directory, const fs::path& data,
                             std::string_view split, const std::string& only_file) {
  check_split(split);
  std::string file = only_file;
  if (file.empty()) {
    file = split == "dev" ? "val.jsonl" : str(split, ".jsonl");
  } else if (split == "train") {
    throw UserError(str(directory, " has no train split; expected dev or test, which are ", file));
  }
  return find_data_file(data, "superglue", {fs::path(directory) / file, file});
}

std::vector<TaskExample> load_records(
    const fs::path& path,
    const std::function<void(const JsonValue& record, std::vector<TaskExample>& examples)>&
        append) {
  std::vector<TaskExample> examples;
  JsonLinesReader reader(path);
  UniqueIds ids;
  while (const auto record = reader.next()) {
    const size_t before = examples.size();
    append(*record, examples);
    for (size_t i = before; i < examples.size(); ++i) {
      ids.add(examples[i].id, [&](const std::string& message) { record->fail(message); });
    }
  }
  if (examples.empty())
    throw UserError(path.string(), "has no examples; expected at least one line");
  return examples;
}

void set_json_label(const Classification& task, const JsonValue& record, std::string_view split,
                    TaskExample& example) {
  if (split == "test" && !record.has(task.label_field)) return;
  const std::string expected = expected_labels(task.labels);
  const LabelWord* label = find_label(task.labels, record.label(task.label_field, expected));
  if (label == nullptr) record.fail(task.label_field, expected);
  example.target = label->word;
  example.references = {label->word};
}

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_label(const Classification& task, LabelType type, const std::string& prediction) {
  const std::string official = official_label(task, prediction);
  return type == LabelType::kInteger && !official.empty() ? official : json_text(official);
}

std::string read_json_label(const Classification& task, const JsonValue& record) {
  const std::string expected = expected_labels(task.labels);
  const std::string official = record.label("label", expected);
  if (official.empty()) return "";
  const LabelWord* label = find_label(task.labels, official);
  if (label == nullptr) record.fail("label", expected);
  return label->word;
}

void write_flat_predictions(const fs::path& path, const std::vector<std::string>& labels,
                            const std::vector<TaskExample>& examples) {
  check_paired(labels, examples);
  std::string text;
  for (size_t i = 0; i < labels.size(); ++i) {
    text += str("{\"idx\": ", examples[i].id, ", \"label\": ", labels[i], "}\n");
  }
  write_file_atomic(path, text);
  warn_of_empty(path.string(), std::count(labels.begin(), labels.end(), "\"\""), labels.size());
}

std::vector<std::string> read_flat_predictions(
    const fs::path& path, const std::vector<TaskExample>& examples,
    const std::function<std::string(const JsonValue&)>& read_label) {
  std::vector<PredictionEntry> entries;
  JsonLinesReader reader(path);
  while (const auto line = reader.next()) {
    entries.push_back({std::to_string(line->integer("idx")), read_label(*line), reader.line()});
  }
  return order_predictions(path, std::move(entries), examples);
}

void use_flat_predictions(Task& task, const Classification& classification, LabelType type) {
  task.write_predictions = [&classification, type](const fs::path& path, const auto& predictions,
                                                   const auto& examples) {
    std::vector<std::string> labels;
    for (const auto& prediction : predictions) {
      labels.push_back(json_label(classification, type, prediction));
    }
    write_flat_predictions(path, labels, examples);
  };
  task.read_predictions = [&classification](const fs::path& path, const auto& examples) {
    return read_flat_predictions(path, examples, [&](const JsonValue& line) {
      return read_json_label(classification, line);
    });
  };
}

}  // namespace altup
