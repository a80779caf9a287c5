#include "altup/tasks/benchmark_average.h"

#include <gmock/gmock.h>

#include <cmath>
#include <stdexcept>

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// T5-11B's row on either leaderboard.
std::map<std::string, Metrics> t5_glue() {
  return {{"glue/cola", {{"matthews_correlation", 71.6}}},
          {"glue/sst2", {{"accuracy", 97.5}}},
          {"glue/mrpc", {{"f1", 92.8}, {"accuracy", 90.4}}},
          {"glue/stsb", {{"pearson", 93.1}, {"spearman", 92.8}}},
          {"glue/qqp", {{"f1", 75.1}, {"accuracy", 90.6}}},
          {"glue/mnli", {{"accuracy", 92.2}}},
          {"glue/mnli_mismatched", {{"accuracy", 91.9}}},
          {"glue/qnli", {{"accuracy", 96.9}}},
          {"glue/rte", {{"accuracy", 92.8}}},
          {"glue/wnli", {{"accuracy", 94.5}}},
          {"glue/ax", {{"matthews_correlation", 53.1}}},
          {"squad", {{"f1", 1.0}}}};
}

std::map<std::string, Metrics> t5_superglue() {
  return {{"superglue/boolq", {{"accuracy", 91.2}}},
          {"superglue/cb", {{"f1_macro", 93.9}, {"accuracy", 96.8}}},
          {"superglue/copa", {{"accuracy", 94.8}}},
          {"superglue/multirc", {{"f1a", 88.1}, {"exact_match", 63.3}}},
          {"superglue/record", {{"f1", 94.1}, {"exact_match", 93.4}}},
          {"superglue/rte", {{"accuracy", 92.5}}},
          {"superglue/wic", {{"accuracy", 76.9}}},
          {"superglue/wsc", {{"accuracy", 93.8}}},
          {"superglue/axb", {{"matthews_correlation", 65.6}}},
          {"superglue/axg", {{"accuracy", 91.9}, {"gender_parity", 92.7}}}};
}

TEST(BenchmarkAverage, IsTheLeaderboardsOfGlue) {
  // (71.6 + 97.5 + 91.6 + 92.95 + 82.85 + 92.05 + 96.9 + 92.8 + 94.5) / 9; the board says 90.3
  const auto average = benchmark_average("glue", t5_glue());
  ASSERT_TRUE(average.value.has_value());
  EXPECT_NEAR(*average.value, 812.75 / 9, 1e-9);
  EXPECT_THAT(average.missing, IsEmpty());
}

TEST(BenchmarkAverage, IsTheLeaderboardsOfSuperGlue) {
  // (91.2 + 95.35 + 94.8 + 75.7 + 93.75 + 92.5 + 76.9 + 93.8) / 8; the board says 89.3
  const auto average = benchmark_average("superglue", t5_superglue());
  ASSERT_TRUE(average.value.has_value());
  EXPECT_NEAR(*average.value, 714.0 / 8, 1e-9);
}

TEST(BenchmarkAverage, SaysWhatIsMissing) {
  auto metrics = t5_glue();
  metrics.erase("glue/mnli_mismatched");
  metrics["glue/rte"] = {};
  const auto average = benchmark_average("glue", metrics);
  EXPECT_EQ(average.value, std::nullopt);
  EXPECT_THAT(average.missing, ElementsAre("glue/mnli_mismatched", "glue/rte"));
  EXPECT_EQ(benchmark_average("superglue", metrics).missing.size(), 8U);
}

TEST(BenchmarkAverage, IsNaNWhereAMetricIs) {
  auto metrics = t5_glue();
  metrics["glue/stsb"]["pearson"] = std::nan("");
  EXPECT_TRUE(std::isnan(*benchmark_average("glue", metrics).value));
}

TEST(BenchmarkAverage, KnowsTwoBenchmarks) {
  EXPECT_THROW(benchmark_average("squad", {}), std::invalid_argument);
  EXPECT_THAT(benchmark_tasks("squad"), IsEmpty());
  EXPECT_THAT(
      benchmark_tasks("glue"),
      ElementsAre("glue/cola", "glue/sst2", "glue/mrpc", "glue/stsb", "glue/qqp", "glue/mnli",
                  "glue/mnli_mismatched", "glue/qnli", "glue/rte", "glue/wnli"));
  for (const std::string benchmark : {"glue", "superglue"}) {
    for (const auto& name : benchmark_tasks(benchmark)) EXPECT_EQ(find_task(name).name, name);
  }
}

}  // namespace
}  // namespace altup
