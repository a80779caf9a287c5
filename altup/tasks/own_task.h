// A user's own task, described by a TOML file instead of C++: where its rows are, how they become
// a prompt and a target, and how predictions are scored. docs/tasks.md and
// configs/tasks/example.toml show the vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "altup/tasks/classification.h"
#include "altup/tasks/task.h"
#include "altup/tasks/text_template.h"

namespace altup {

enum class RowFormat { kTsv, kJsonLines };

/// What the TOML file says, checked.
struct OwnTask {
  std::string file;  ///< the TOML file itself, for errors
  std::string name;
  RowFormat format = RowFormat::kTsv;
  std::vector<std::string> columns;          ///< of a TSV without a header; else empty
  std::map<std::string, std::string> files;  ///< by split
  std::string id;                            ///< column; empty: rows are numbered from 0
  TextTemplate prompt;
  TextTemplate target;            ///< empty: the first of the references
  std::string references;         ///< column of the accepted answers; empty: the target
  std::vector<LabelWord> labels;  ///< empty: the target is free text or a number
  std::vector<std::string> metrics;
  std::string positive;  ///< the label word that f1 is of
  std::string best_metric;
  int64_t input_length = 512;
  int64_t target_length = 64;
  std::map<std::string, int64_t> lines;  ///< where each key that was given stands
};

/// Whether a task's name is the path of such a file: it ends in ".toml".
bool is_own_task(std::string_view name);

/// UserError "FILE:LINE: …" for everything that the vocabulary does not have. `taken` are names
/// that the task may not have.
OwnTask read_own_task(const std::filesystem::path& path, const std::vector<std::string>& taken);

/// Of the metrics that the prediction of a number has to be read for.
bool is_numeric(const OwnTask& task);

Task make_own_task(const OwnTask& own);

}  // namespace altup
