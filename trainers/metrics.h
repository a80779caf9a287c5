// What training reports, and where it goes: every MetricSink gets every record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace altup {

/// One line of metrics.jsonl. `values` holds, as they apply: loss (nats per target token), accuracy
/// (percent of span tokens), tokens and seconds (of training, since step 0), tokens_per_second,
/// data_seconds (waited for batches since the record before), learning_rate, gradient_norm,
/// peak_memory_mib, the routing of mixtures of experts (kRoutingStatistics), and a task's metrics and
/// cut_answers (percent).
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

/// Lines of the log; on a terminal a progress bar below them. The ETA is that of training alone,
/// from "seconds".
std::unique_ptr<MetricSink> make_console_sink(int64_t total_steps);
/// metrics.jsonl, flushed a line at a time. Records up to `resume_step` are kept; 0, a new run,
/// replaces the file.
std::unique_ptr<MetricSink> make_json_sink(const std::filesystem::path& path, int64_t resume_step);
/// A TensorBoard event file of its own in `directory`; tags are "<split>/<value>".
std::unique_ptr<MetricSink> make_tensorboard_sink(const std::filesystem::path& directory);

/// Reads metrics.jsonl; UserError with file and line where it is broken. A cut last line is left
/// out, null is NaN.
std::vector<MetricRecord> read_metrics(const std::filesystem::path& path);

}  // namespace altup
