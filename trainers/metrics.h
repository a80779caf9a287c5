// What training reports, and where it goes: every MetricSink gets every record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace altup {

/// One line of metrics.jsonl. `values` holds, as they apply: loss (nats per target token), accuracy (percent of span
/// tokens), tokens, tokens_per_second, learning_rate, gradient_norm, seconds, peak_memory_mib, and a task's metrics.
struct MetricRecord {
  int64_t step = 0;
  std::string split;  ///< "train", "validation" or a task's name
  std::map<std::string, double> values;
};

class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void write(const MetricRecord& record) = 0;
};

/// Lines of the log; on a terminal a progress bar below them. `total_steps` gives the ETA.
std::unique_ptr<MetricSink> make_console_sink(int64_t total_steps);
/// metrics.jsonl, appended and flushed a line at a time. On resume, records after `resume_step` are cut off first.
std::unique_ptr<MetricSink> make_json_sink(const std::filesystem::path& path, int64_t resume_step);
/// TensorBoard event files in `directory`; tags are "<split>/<value>".
std::unique_ptr<MetricSink> make_tensorboard_sink(const std::filesystem::path& directory);

/// Reads metrics.jsonl; UserError with file and line where it is broken. A cut last line is left out.
std::vector<MetricRecord> read_metrics(const std::filesystem::path& path);

}  // namespace altup
