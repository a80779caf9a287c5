// What SuperGLUE's tasks share: the names of the official files, labels in JSON, and the
// leaderboard's prediction files, {"idx": …, "label": …} a line.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "altup/tasks/classification.h"
#include "altup/tasks/json_lines.h"

namespace altup {

/// `directory`/train.jsonl, val.jsonl (the dev split) or test.jsonl below `data`, or the file
/// itself. For the diagnostic sets, `only_file` holds dev and test alike and there is no train.
std::filesystem::path find_superglue_file(const std::string& directory,
                                          const std::filesystem::path& data, std::string_view split,
                                          const std::string& only_file = "");

/// The examples that `append` makes of the lines of a file, in order. UserError for an id that is
/// there twice, and where there are no examples.
std::vector<TaskExample> load_records(
    const std::filesystem::path& path,
    const std::function<void(const JsonValue& record, std::vector<TaskExample>& examples)>& append);

/// Sets target and reference from the label of `record`; leaves both empty where a test file has
/// none. UserError for a label that the task does not know, and for none in a labelled split.
void set_json_label(const Classification& task, const JsonValue& record, std::string_view split,
                    TaskExample& example);

/// How a label stands in a prediction file: "true" or 1.
enum class LabelType { kText, kInteger };

/// A text as a JSON string.
std::string json_text(const std::string& text);
/// A post-processed prediction as its official label in JSON; "" as "".
std::string json_label(const Classification& task, LabelType type, const std::string& prediction);
/// The word of the label of a line or an answer in a prediction file; "" for "".
std::string read_json_label(const Classification& task, const JsonValue& record);

/// One {"idx": id, "label": …} a line; `labels` are JSON.
void write_flat_predictions(const std::filesystem::path& path,
                            const std::vector<std::string>& labels,
                            const std::vector<TaskExample>& examples);
/// Reads that back; `read_label` makes the prediction of a line.
std::vector<std::string> read_flat_predictions(
    const std::filesystem::path& path, const std::vector<TaskExample>& examples,
    const std::function<std::string(const JsonValue&)>& read_label);

/// Fills in write_predictions and read_predictions of a task of labels. `classification` has to
/// outlive the task.
void use_flat_predictions(Task& task, const Classification& classification, LabelType type);

// The tasks whose files or answers are of their own kind.
Task make_superglue_multirc();
Task make_superglue_record();
Task make_superglue_wsc();

}  // namespace altup
