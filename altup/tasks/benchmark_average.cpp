#include "altup/tasks/benchmark_average.h"

#include <stdexcept>

#include "altup/util/text.h"

namespace altup {

namespace {

// One entry of a leaderboard's table: a task, or the halves of one.
using Entry = std::vector<std::string>;

std::vector<Entry> entries_of(std::string_view benchmark) {
  if (benchmark == "glue") {
    return {{"glue/cola"}, {"glue/sst2"}, {"glue/mrpc"},
            {"glue/stsb"}, {"glue/qqp"},  {"glue/mnli", "glue/mnli_mismatched"},
            {"glue/qnli"}, {"glue/rte"},  {"glue/wnli"}};
  }
  if (benchmark == "superglue") {
    return {{"superglue/boolq"},  {"superglue/cb"},  {"superglue/copa"}, {"superglue/multirc"},
            {"superglue/record"}, {"superglue/rte"}, {"superglue/wic"},  {"superglue/wsc"}};
  }
  return {};
}

double mean_metric(const Metrics& metrics) {
  double sum = 0.0;
  for (const auto& [name, value] : metrics) sum += value;
  return sum / static_cast<double>(metrics.size());
}

}  // namespace

std::vector<std::string> benchmark_tasks(std::string_view benchmark) {
  std::vector<std::string> names;
  for (const auto& entry : entries_of(benchmark)) {
    names.insert(names.end(), entry.begin(), entry.end());
  }
  return names;
}

BenchmarkAverage benchmark_average(std::string_view benchmark,
                                   const std::map<std::string, Metrics>& metrics) {
  const std::vector<Entry> entries = entries_of(benchmark);
  if (entries.empty()) {
    throw std::invalid_argument(
        str("\"", benchmark, "\" is no benchmark; expected glue or superglue"));
  }
  BenchmarkAverage average;
  double total = 0.0;
  for (const auto& entry : entries) {
    double sum = 0.0;
    for (const auto& name : entry) {
      const auto found = metrics.find(name);
      if (found == metrics.end() || found->second.empty()) {
        average.missing.push_back(name);
      } else {
        sum += mean_metric(found->second);
      }
    }
    total += sum / static_cast<double>(entry.size());
  }
  if (average.missing.empty()) average.value = total / static_cast<double>(entries.size());
  return average;
}

}  // namespace altup
