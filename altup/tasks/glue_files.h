// GLUE's files: the official TSV layouts into examples, and the leaderboard's prediction files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "altup/tasks/classification.h"

namespace altup {

struct GlueTask {
  Classification task;
  // File names of a split, the official one first; none: the task has no such split.
  std::vector<std::string> train_files = {"train.tsv"};
  std::vector<std::string> dev_files = {"dev.tsv"};
  std::vector<std::string> test_files = {"test.tsv"};
  std::vector<std::string> other_directories = {};
  // CoLA's train and dev files have no header; these are the names of their columns.
  std::vector<std::string> implied_header = {};
  // The ids of a test file, which a submission has to name; QQP calls them "id".
  std::string test_index = "index";
  // QQP's official files have rows that a line break inside a question tore in two. Train and dev
  // do without them; a submission needs every row of test.
  bool skip_torn_rows = false;
  // A label of rows without a verdict (MultiNLI's own files have "-"); "": there are none.
  std::string no_verdict = "";
  // MRPC's original files hold train and dev in one, and dev_ids.tsv beside it parts them.
  std::string joint_file = "";
  // Of a submission, without ".tsv"; "": the directory.
  std::string submission = "";
  // T5 never trains on it (WNLI), it has no training file (AX), or it shares one (MNLI's halves).
  bool evaluation_only = false;
  // WNLI in the form of Winograd sentences: the model names what a pronoun stands for.
  bool marks_pronoun = false;
};

/// The examples of a split. UserError with file and line for what the layout does not allow.
std::vector<TaskExample> load_glue(const GlueTask& glue, const std::filesystem::path& data,
                                   std::string_view split);

/// "index<tab>prediction" and one row for each example.
void write_glue_predictions(const GlueTask& glue, const std::filesystem::path& path,
                            const std::vector<std::string>& predictions,
                            const std::vector<TaskExample>& examples);
std::vector<std::string> read_glue_predictions(const GlueTask& glue,
                                               const std::filesystem::path& path,
                                               const std::vector<TaskExample>& examples);

}  // namespace altup
