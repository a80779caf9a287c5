// A task is a struct: where its examples come from, how they become text, what an answer means, how
// it is scored. Everything is text to text with T5's prompts and label words (Raffel et al. 2020,
// appendix D).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

struct TaskExample {
  std::string id;      ///< the official index or question id
  std::string input;   ///< the prompt, filled in
  std::string target;  ///< what the model is trained to say; "" where the file has no labels
  std::vector<std::string>
      references;  ///< what scoring compares with: label word, number, or all accepted answers
  /// What postprocess looks at beside the model's text. squad: the passage as in the file, which
  /// answers are quoted from; wsc and wnli: the words that the pronoun may or may not stand for.
  std::string context{};
  /// Examples of one group are scored together: the question of multirc, the pair of axg. Else "".
  std::string group{};
};

/// Metric names are those of the official scorers; values in percent, 0-100.
using Metrics = std::map<std::string, double>;

struct Task {
  std::string name;         ///< "glue/sst2", "squad", …
  std::string best_metric;  ///< the key of Metrics that picks the best checkpoint
  int64_t input_length = 512;
  int64_t target_length = 64;  ///< default limit of training targets and of generation, tokens
  /// Of the file with its predictions, where several tasks' go into one folder: "MNLI-m.tsv", as the
  /// leaderboard wants it.
  std::string submission_file;
  /// A mixture does not train on it: a diagnostic set, or one whose training file is another task's.
  bool evaluation_only = false;
  std::vector<std::string> labels;  ///< what a prediction can be, empty for free text

  /// Examples of the official file of `split` ("train", "dev", "test") below `data`, a directory or
  /// the file itself. UserError with file and line for what the layout does not allow.
  std::function<std::vector<TaskExample>(const std::filesystem::path& data, std::string_view split)>
      load;
  /// The model's text for `example`, turned into what is scored: a label word or "" (counts as
  /// wrong), a number, or an answer in the passage's own spelling. Looks at nothing of the example
  /// that would tell the right answer.
  std::function<std::string(const std::string& output, const TaskExample& example)> postprocess;
  /// One prediction per example, in order, already post-processed. UserError where an example has
  /// no references.
  std::function<Metrics(const std::vector<std::string>& predictions,
                        const std::vector<TaskExample>& examples)>
      score;
  /// Writes the official submission layout.
  std::function<void(const std::filesystem::path& path, const std::vector<std::string>& predictions,
                     const std::vector<TaskExample>& examples)>
      write_predictions;
  /// Reads that layout back, in the order of the examples; UserError for doubled ids and, but for
  /// the question answering whose official scorers pass over them, for missing and unknown ones.
  std::function<std::vector<std::string>(const std::filesystem::path& path,
                                         const std::vector<TaskExample>& examples)>
      read_predictions;
};

/// The task of that name, or of the TOML file that describes a user's own (docs/tasks.md) where
/// `name` ends in ".toml". Throws UserError with the nearest known name, or with what is wrong in
/// the file.
const Task& find_task(std::string_view name);
/// The tasks of `names`, in order, a benchmark's ("glue", "superglue") in the place of its name.
/// UserError for an unknown name, for a task that comes twice, and for two with the same name or the
/// same submission file.
std::vector<const Task*> find_tasks(const std::vector<std::string>& names);
/// The built-in ones.
std::vector<std::string> task_names();

/// A task's name as a part of a file's: "glue_rte", so that the file stays in its folder.
std::string name_in_files(const Task& task);

}  // namespace altup
