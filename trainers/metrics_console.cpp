// The log of a run: one line for each record, and on a terminal a progress bar below the last one.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "trainers/metrics.h"

namespace altup {
namespace {

std::string percent(double value) {
  return fixed(value, 2) + " %";
}

/// 0.0125 as 1.250e-02.
std::string scientific(double value) {
  std::ostringstream out;
  out << std::scientific;
  out.precision(3);
  out << value;
  return out.str();
}

/// A number that a cast to an integer cannot take (NaN, infinity) is shown as it is.
std::string whole(double value) {
  return std::isfinite(value) ? thousands(std::llround(value)) : str(value);
}

/// One value with its name and unit; names that the loop does not write are a task's metrics, in
/// percent.
std::string describe(const std::string& name, double value) {
  if (name == "loss") return "loss " + fixed(value, 4);
  if (name == "tokens_per_second") return whole(value) + " tokens/s";
  if (name == "learning_rate") return "rate " + scientific(value);
  if (name == "gradient_norm") return "gradient norm " + fixed(value, 3);
  if (name == "router_dropped") return "dropped tokens " + percent(value);
  if (name == "peak_memory_mib") return "memory " + whole(value) + " MiB";
  return name + " " + percent(value);
}

class ConsoleSink : public MetricSink {
 public:
  explicit ConsoleSink(int64_t total_steps) : total_steps_(total_steps) {}
  ~ConsoleSink() override { set_status_line(""); }

  void write(const MetricRecord& record) override {
    const bool train = record.split == "train";
    if (train) estimate(record);
    std::vector<std::string> parts;
    for (const auto* name : {"loss", "accuracy", "tokens_per_second", "learning_rate",
                             "gradient_norm", "router_dropped", "peak_memory_mib"}) {
      const auto at = record.values.find(name);
      if (at != record.values.end()) parts.push_back(describe(name, at->second));
    }
    if (!train) {
      for (const auto& [name, value] : record.values) {
        if (is_task_metric(name)) parts.push_back(describe(name, value));
      }
    }
    if (train) parts.push_back("ETA " + duration(eta_));
    const auto progress = str("step ", thousands(record.step), "/", thousands(total_steps_));
    log_info(train ? progress : str(progress, " ", record.split), ": ", join(parts, ", "));
    if (train && ::isatty(STDERR_FILENO) == 1) set_status_line(bar(record));
  }

 private:
  static bool is_task_metric(const std::string& name) {
    constexpr std::array<std::string_view, 8> kLoop = {
        "loss",          "accuracy",      "tokens",          "tokens_per_second",
        "learning_rate", "gradient_norm", "peak_memory_mib", "seconds"};
    return std::find(kLoop.begin(), kLoop.end(), name) == kLoop.end();
  }

  /// From the training time per step since the first record of this session; before there are two,
  /// since step 0.
  void estimate(const MetricRecord& record) {
    const auto at = record.values.find("seconds");
    if (at == record.values.end()) return;
    if (first_step_ < 0) {
      first_step_ = record.step;
      first_seconds_ = at->second;
    }
    const bool alone = record.step <= first_step_;
    const auto steps = static_cast<double>(alone ? record.step : record.step - first_step_);
    const double seconds = alone ? at->second : at->second - first_seconds_;
    eta_ = steps > 0 ? seconds / steps * static_cast<double>(total_steps_ - record.step) : 0.0;
  }

  /// "[#####-----]  50.0 %  500/1,000  ETA 1:02  loss 3.2100"
  std::string bar(const MetricRecord& record) const {
    constexpr int kWidth = 30;
    const double share =
        std::clamp(static_cast<double>(record.step) / static_cast<double>(total_steps_), 0.0, 1.0);
    const auto filled = static_cast<size_t>(share * kWidth);
    const auto loss = record.values.find("loss");
    return str("[", std::string(filled, '#'), std::string(kWidth - filled, '-'), "] ",
               fixed(100 * share, 1), " %  ", thousands(record.step), "/", thousands(total_steps_),
               "  ETA ", duration(eta_),
               loss == record.values.end() ? "" : "  " + describe("loss", loss->second));
  }

  int64_t total_steps_;
  int64_t first_step_ = -1;
  double first_seconds_ = 0.0;
  double eta_ = 0.0;
};

}  // namespace

std::unique_ptr<MetricSink> make_console_sink(int64_t total_steps) {
  return std::make_unique<ConsoleSink>(total_steps);
}

}  // namespace altup
