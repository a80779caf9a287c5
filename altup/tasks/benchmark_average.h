// The one figure of a benchmark, as its leaderboard reports it: the mean over the tasks of the mean
// of each task's metrics. GLUE's two MNLI halves are one task of it; the diagnostic sets (glue/ax,
// superglue/axb, superglue/axg) do not count.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "altup/tasks/task.h"

namespace altup {

/// The tasks that make up "glue" or "superglue", in the leaderboard's order; empty for any other
/// name.
std::vector<std::string> benchmark_tasks(std::string_view benchmark);

struct BenchmarkAverage {
  std::optional<double> value;       ///< in percent; nothing where a task is missing
  std::vector<std::string> missing;  ///< tasks of the benchmark without metrics
};

/// From the metrics of each task by its name; tasks of no benchmark, or of another, may be among
/// them. A metric that is NaN makes the average NaN. std::invalid_argument where `benchmark` is
/// none.
BenchmarkAverage benchmark_average(std::string_view benchmark,
                                   const std::map<std::string, Metrics>& metrics);

}  // namespace altup
