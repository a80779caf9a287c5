#include "altup/optim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "altup/optim/optimizer_config.h"
#include "altup/util/error.h"

namespace altup {
namespace {

using ::testing::HasSubstr;

TEST(Schedule, RsqrtIsConstantUntilWarmupThenFalls) {
  const auto at = [](int64_t step) {
    return learning_rate_at(Schedule::kRsqrt, 1.0, step, 10000, 0);
  };
  EXPECT_DOUBLE_EQ(at(1), 0.01);
  EXPECT_DOUBLE_EQ(at(10000), 0.01);
  EXPECT_DOUBLE_EQ(at(40000), 0.005);
  EXPECT_DOUBLE_EQ(learning_rate_at(Schedule::kRsqrt, 2.0, 4, 0, 0), 1.0);
}

TEST(Schedule, OthersClimbFromZeroToBase) {
  for (const auto schedule : {Schedule::kConstant, Schedule::kLinear, Schedule::kCosine}) {
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 0.8, 1, 4, 100), 0.2);
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 0.8, 3, 4, 100), 0.6);
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 0.8, 4, 4, 100), 0.8);
  }
}

TEST(Schedule, ConstantStays) {
  EXPECT_DOUBLE_EQ(learning_rate_at(Schedule::kConstant, 1e-3, 1, 0, 10), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(Schedule::kConstant, 1e-3, 1'000'000, 0, 10), 1e-3);
}

TEST(Schedule, LinearFallsToZeroAtTotal) {
  const auto at = [](int64_t step) {
    return learning_rate_at(Schedule::kLinear, 1.0, step, 20, 100);
  };
  EXPECT_DOUBLE_EQ(at(60), 0.5);
  EXPECT_DOUBLE_EQ(at(80), 0.25);
  EXPECT_DOUBLE_EQ(at(100), 0.0);
  EXPECT_DOUBLE_EQ(at(101), 0.0);
}

TEST(Schedule, CosineFallsToZeroAtTotal) {
  const auto at = [](int64_t step) {
    return learning_rate_at(Schedule::kCosine, 1.0, step, 20, 100);
  };
  EXPECT_NEAR(at(40), 0.5 * (1 + std::sqrt(0.5)), 1e-12);
  EXPECT_NEAR(at(60), 0.5, 1e-12);
  EXPECT_NEAR(at(100), 0.0, 1e-12);
  EXPECT_NEAR(at(150), 0.0, 1e-12);
}

/// The message with which `change` of the default config is refused; "" where it is accepted.
std::string refusal(const std::function<void(OptimizerConfig&)>& change) {
  OptimizerConfig config;
  change(config);
  try {
    config.validate();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(OptimizerConfig, DefaultsAreValid) {
  EXPECT_EQ(refusal([](auto&) {}), "");
  EXPECT_EQ(refusal([](auto& c) { c.name = OptimizerName::kAdamW; }), "");
}

TEST(OptimizerConfig, RefusesARateThatReplacesTheWeights) {
  const auto forgotten = [](auto& c) { c.schedule = Schedule::kConstant; };
  EXPECT_THAT(refusal(forgotten), HasSubstr("optimizer.learning_rate is 1"));
  EXPECT_THAT(refusal(forgotten), HasSubstr("expected a rate below 1"));
  EXPECT_THAT(refusal([](auto& c) { c.warmup_steps = 0; }), HasSubstr("reaches a rate of 1"));
  EXPECT_THAT(refusal([](auto& c) { c.coefficient_rate = 100; }),
              HasSubstr("optimizer.coefficient_rate is 100, which times a rate of 0.01 is 1"));
}

TEST(OptimizerConfig, RefusesDivisionsByZero) {
  const auto adamw = [](auto field, double value) {
    return [=](OptimizerConfig& c) {
      c.name = OptimizerName::kAdamW;
      c.*field = value;
    };
  };
  EXPECT_THAT(refusal(adamw(&OptimizerConfig::beta1, 1.0)), HasSubstr("optimizer.beta1 is 1"));
  EXPECT_THAT(refusal(adamw(&OptimizerConfig::beta2, 1.0)), HasSubstr("optimizer.beta2 is 1"));
  EXPECT_THAT(refusal(adamw(&OptimizerConfig::epsilon, 0.0)), HasSubstr("optimizer.epsilon is 0"));
  EXPECT_THAT(refusal([](auto& c) { c.clipping_threshold = 0; }),
              HasSubstr("optimizer.clipping_threshold is 0"));
}

TEST(OptimizerConfig, KnowsWhatTheOtherOptimizerWouldRead) {
  OptimizerConfig config;
  config.beta1 = 0.8;
  config.min_factored_size = 16;
  EXPECT_THAT(config.unread_keys(), ::testing::ElementsAre("optimizer.beta1"));
  config.name = OptimizerName::kAdamW;
  EXPECT_THAT(config.unread_keys(), ::testing::ElementsAre("optimizer.min_factored_size"));
  EXPECT_THAT(OptimizerConfig().unread_keys(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace altup
