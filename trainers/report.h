// The HTML report: runs side by side, as one page that needs nothing else. What it reads of a run
// directory:
//
//   metrics.jsonl   the curves and the figures of training (needed)
//   config.toml     the model's name and the settings in which the runs differ (optional)
//   results*.json   metrics of tasks (optional): what `altup evaluate --json RUN/results.json`
//   writes,
//                   {"task": …, "metrics": {name: percent}, "examples": n}, or a list of such
//                   objects
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainers/metrics.h"
#include "trainers/run_config.h"

namespace altup {

struct TaskResult {
  std::string task;
  std::map<std::string, double> metrics;  ///< percent
  int64_t examples = 0;
};

struct RunSummary {
  std::string name;                   ///< how the page calls it
  std::vector<MetricRecord> records;  ///< in the order of the file
  std::optional<RunConfig> config;
  std::optional<int64_t> parameters;
  std::vector<TaskResult> results;  ///< of the files; of other tasks, the last evaluation
};

/// UserError where `directory` has no metrics, or a file is broken (with its line).
RunSummary read_run_summary(const std::filesystem::path& directory);

/// Results of one file, of one task or of several; UserError with the path where it is broken.
std::vector<TaskResult> read_results(const std::filesystem::path& path);

/// The page, UTF-8. All text in it is escaped.
std::string html_report(const std::vector<RunSummary>& runs);

/// Reads the runs and writes the page; runs whose directories have the same name are called by
/// their paths.
void write_report(const std::vector<std::filesystem::path>& runs,
                  const std::filesystem::path& output);

}  // namespace altup
