// The work of a step beside formulas written another way.
#include "trainers/step_work.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/trainers/sized_config.h"
#include "trainers/step_time.h"

namespace altup {
namespace {

using testing::sized;

constexpr StepShape kShape{.batch = 8, .input_length = 512, .target_length = 114};

StepWork work_of(const T5Config& config, const StepShape& shape = kShape) {
  return step_work(config, {}, shape);
}

double traffic_of(const StepWork& work, const std::string& part) {
  for (const auto& traffic : work.traffic) {
    if (traffic.part == part) return traffic.bytes;
  }
  return 0;
}

/// The products of linear layers are those of count_flops; attention takes seven where count_flops
/// says six, since its scores are made again.
TEST(StepWork, HasTheProductsOfCountFlops) {
  for (const auto variant : {Variant::kNone, Variant::kAltUp, Variant::kRecycled, Variant::kSum}) {
    for (const auto size : {ModelSize::kTiny, ModelSize::kSmall, ModelSize::kXl}) {
      const auto config = sized(size, variant);
      const auto work = work_of(config);
      const double expected =
          8 * count_flops(config, kShape.input_length, kShape.target_length).forward_backward;
      const double counted = work.linear_flops() + work.attention_flops() * 6 / 7;
      // The head's rows are rounded up to whole chunks.
      EXPECT_NEAR(counted / expected, 1.0, 0.002);
    }
  }
}

/// T5-small's encoder by hand: 8 layers, 8 x 512 tokens, width 512, 6 heads of 64.
TEST(StepWork, OfT5SmallByHand) {
  const auto work = work_of(sized(ModelSize::kSmall));
  double encoder = 0;
  for (const auto& linear : work.linears) {
    if (linear.rows == 4096 && linear.part == "feed_forward") {
      encoder += 3 * static_cast<double>(linear.times) * linear.flops();
    }
  }
  EXPECT_EQ(encoder, 3.0 * 8 * 3 * 2 * 4096 * 512 * 1024);
  ASSERT_EQ(work.attentions.size(), 3U);
  EXPECT_EQ(work.attentions[0].times, 8);
  EXPECT_EQ(work.attentions[0].flops(), 2.0 * 8 * 6 * 512 * 512 * 64);
  EXPECT_EQ(work.attentions[2].queries, 114);
  EXPECT_EQ(work.attentions[2].keys, 512);
}

/// So are those of shorter encoders and of mixtures, but for an expert's places, which are whole.
TEST(StepWork, HasTheProductsOfCountFlopsWhereLayersDiffer) {
  for (const auto variant : {Variant::kSequence, Variant::kStrideSkip, Variant::kAveragePool}) {
    for (const int64_t experts : {0, 8}) {
      auto config = sized(ModelSize::kSmall, variant);
      config.moe.experts = experts;
      config.moe.capacity_factor = 1.0;
      const auto work = work_of(config);
      const double expected =
          8 * count_flops(config, kShape.input_length, kShape.target_length).forward_backward;
      const double counted = work.linear_flops() + work.attention_flops() * 6 / 7;
      EXPECT_NEAR(counted / expected, 1.0, 0.005);
    }
  }
}

/// A dense layer's work does not depend on K; the update's grows linearly.
TEST(StepWork, GrowsWithTheBlocksInTheUpdateOnly) {
  const auto dense = work_of(sized(ModelSize::kSmall));
  double last = 0;
  for (const int64_t blocks : {2, 4, 8}) {
    const auto work = work_of(sized(ModelSize::kSmall, Variant::kRecycled, blocks));
    EXPECT_EQ(work.flops(), dense.flops());
    EXPECT_EQ(traffic_of(work, "feed_forward"), traffic_of(dense, "feed_forward"));
    // Of one block of both stacks' tokens, over 8 layers each: 2K + 1 forward, 3K + 2 backward, and
    // the sum with the active block's gradient, 3.
    const double block = 4.0 * 8 * 8 * (512 + 114) * 512;
    EXPECT_NEAR(traffic_of(work, "altup") / block, static_cast<double>(5 * blocks + 6), 1e-9);
    EXPECT_GT(traffic_of(work, "altup"), last);
    last = traffic_of(work, "altup");
  }
  EXPECT_EQ(traffic_of(dense, "altup"), 0.0);
}

TEST(StepWork, ChecksPointsByOneMoreForwardPass) {
  const auto config = sized(ModelSize::kSmall);
  auto shape = kShape;
  shape.checkpointing = true;
  const auto again = work_of(config, shape);
  const auto once = work_of(config);
  const double head = once.linear_flops("head");
  EXPECT_EQ(again.linear_flops("head"), head);
  EXPECT_DOUBLE_EQ(again.linear_flops() - head, 4.0 / 3 * (once.linear_flops() - head));
  EXPECT_DOUBLE_EQ(again.attention_flops(), 9.0 / 7 * once.attention_flops());
}

/// Micro-batches do the same products, and add their gradients up.
TEST(StepWork, OfMicroBatchesIsThatOfTheBatch) {
  const auto config = sized(ModelSize::kSmall);
  const auto work =
      work_of(config, {.batch = 2, .micro_batches = 4, .input_length = 512, .target_length = 114});
  EXPECT_NEAR(work.flops() / work_of(config).flops(), 1.0, 1e-3);
  EXPECT_EQ(traffic_of(work, "accumulation"),
            3.0 * 3 * 4 * static_cast<double>(count_parameters(config).total));
}

TEST(PredictStep, DividesByTheRates) {
  const auto work = work_of(sized(ModelSize::kSmall));
  const auto time =
      predict_step(work, {.linear_flops = 1e11, .attention_flops = 5e10, .bytes = 2e10});
  EXPECT_DOUBLE_EQ(time.linears, work.linear_flops() / 1e11);
  EXPECT_DOUBLE_EQ(time.attention, work.attention_flops() / 5e10);
  EXPECT_DOUBLE_EQ(time.total(), work.linear_flops() / 1e11 + work.attention_flops() / 5e10 +
                                     work.bytes() / 2e10);
  EXPECT_EQ(time.exponentials, 0.0) << "a rate that is not known";
}

TEST(MeasureRates, MeasuresEveryRate) {
  auto config = sized(ModelSize::kTiny);
  config.vocab_size = 100;
  const auto work =
      work_of(config, {.batch = 2, .input_length = 16, .target_length = 8, .checkpointing = true});
  const auto rates = measure_rates(work);
  for (const double rate :
       {rates.linear_flops, rates.attention_flops, rates.bytes, rates.exponentials}) {
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 1e6) << "a second";
  }
}

}  // namespace
}  // namespace altup
