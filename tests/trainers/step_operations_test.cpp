// The walk over a backward pass, and what the operations of a step keep, by hand.
#include "trainers/step_operations.h"

#include <gtest/gtest.h>

#include "tests/trainers/sized_config.h"

namespace altup {
namespace {

using testing::sized;

double kept(const T5Config& config, const StepShape& shape) {
  return sum_of(step_operations(config, shape), &Operation::kept);
}

/// Forward: a keeps 10 and b 20, so there are 130 when the backward pass begins. b makes 5, needs 7
/// and frees 20; a then stands on 115.
TEST(WalkBack, FreesAndMakes) {
  const Operation b{.part = "b", .kept = 20, .gradient = 5, .temporary = 7};
  Operation a{.part = "a", .kept = 10, .gradient = 1, .temporary = 2};
  auto peak = walk_back({a, b}, 130, /*accumulates=*/false);
  EXPECT_EQ(peak.bytes, 142);
  EXPECT_EQ(peak.during, "b");
  EXPECT_EQ(peak.temporary, 7);
  a.temporary = 40;
  peak = walk_back({a, b}, 130, /*accumulates=*/false);
  EXPECT_EQ(peak.bytes, 115 + 41);
  EXPECT_EQ(peak.during, "a");
}

/// A gradient that is added to a sum is gone after its operation, unless it waits for another.
TEST(WalkBack, AddsGradientsToTheirSum) {
  Operation b{.part = "b", .kept = 20, .gradient = 5, .temporary = 7};
  const Operation a{.part = "a", .kept = 10, .gradient = 1, .temporary = 40};
  auto peak = walk_back({a, b}, 130, /*accumulates=*/true);
  EXPECT_EQ(peak.bytes, 110 + 41);
  EXPECT_EQ(peak.temporary, 41);
  b.gradient_waits = true;
  EXPECT_EQ(walk_back({a, b}, 130, /*accumulates=*/true).bytes, 115 + 41);
}

/// An encoder layer more of T5-small (width 512, 6 heads of 64, feed-forward 1,024), bytes a token in
/// fp32: the norms' 2 (2,048 + 4); their outputs, which the products read, 2 x 2,048; q, k, v and
/// attention's output, 4 x 1,536, with 24 beside; three tensors of the feed-forward, 3 x 4,096.
TEST(StepOperations, KeepWhatAnEncoderLayerNeeds) {
  auto config = sized(ModelSize::kSmall);
  StepShape shape{.batch = 8, .input_length = 512, .target_length = 114};
  const auto of_a_layer = [&] {
    const double before = kept(config, shape);
    auto more = config;
    ++more.num_encoder_layers;
    return (kept(more, shape) - before) / (8 * 512);
  };
  EXPECT_DOUBLE_EQ(of_a_layer(), 2 * 2052 + 2 * 2048 + 4 * 1536 + 24 + 3 * 4096);
  // In bf16 all but the norms' inputs takes half, and the weights have copies: 4 x 512 x 384 of
  // attention, 3 x 512 x 1,024 of the feed-forward.
  shape.bf16 = true;
  EXPECT_DOUBLE_EQ(of_a_layer(), 2 * 2052 + 2 * 1024 + 4 * 768 + 24 + 3 * 2048 +
                                     2.0 * (4 * 512 * 384 + 3 * 512 * 1024) / (8 * 512));
  shape.bf16 = false;
  shape.checkpointing = true;
  EXPECT_DOUBLE_EQ(of_a_layer(), 2048) << "its input alone";
  shape.checkpointing = false;
  // With two blocks: the state and what the layer computed, but not the first norm's input.
  config = sized(ModelSize::kSmall, Variant::kRecycled, 2);
  EXPECT_DOUBLE_EQ(of_a_layer(), 2 * 2052 + 2 * 2048 + 4 * 1536 + 24 + 3 * 4096 + 2 * 2048);
}

/// A decoder layer has cross-attention beside: per target token a norm, its output, q, the output and
/// its sums; per input token keys and values.
TEST(StepOperations, KeepWhatADecoderLayerNeeds) {
  auto config = sized(ModelSize::kSmall);
  const StepShape shape{.batch = 1, .input_length = 512, .target_length = 114};
  const double before = kept(config, shape);
  ++config.num_decoder_layers;
  const double self = 2 * 2052 + 2 * 2048 + 4 * 1536 + 24 + 3 * 4096;
  const double cross = 2052 + 2048 + 2 * 1536 + 24;
  EXPECT_DOUBLE_EQ(kept(config, shape) - before, 114 * (self + cross) + 512 * 2 * 1536);
}

/// Of three layers the middle one computes every fourth position: it keeps a quarter, and with the
/// sequence update all positions and the computed ones beside.
TEST(StepOperations, KeepLessOfShorterSequences) {
  auto config = sized(ModelSize::kSmall);
  config.num_encoder_layers = 3;
  config.altup.stride = 4;
  const StepShape shape{.batch = 8, .input_length = 512, .target_length = 114};
  const double dense = kept(config, shape);
  const double of_layer = 4096.0 * (2 * 2052 + 2 * 2048 + 4 * 1536 + 24 + 3 * 4096);
  config.altup.variant = Variant::kStrideSkip;
  EXPECT_DOUBLE_EQ(dense - kept(config, shape), 0.75 * of_layer);
  config.altup.variant = Variant::kSequence;
  EXPECT_DOUBLE_EQ(dense - kept(config, shape), 0.75 * of_layer - 1.25 * 4096 * 2048);
  // All behind the first layer is shorter, also what the decoder's 8 layers have of it; what is
  // pooled stays.
  config.altup.variant = Variant::kAveragePool;
  EXPECT_DOUBLE_EQ(
      dense - kept(config, shape),
      0.75 * (2 * of_layer + 4096.0 * (2052 + 2048) + 8 * 4096.0 * 2 * 1536) - 4096.0 * 2048);
}

/// Four experts of the layers 1, 3, 5 and 7 of a stack, each with room for a quarter of the tokens:
/// beside what a feed-forward keeps there are what the router reads, its logits and probabilities,
/// and what the experts say, as it is and weighted.
TEST(StepOperations, KeepWhatAMixtureNeeds) {
  auto config = sized(ModelSize::kSmall);
  const StepShape shape{.batch = 8, .input_length = 512, .target_length = 114};
  const double dense = kept(config, shape);
  config.moe.experts = 4;
  config.moe.capacity_factor = 1.0;
  config.moe.jitter = 0.0;
  const double tokens = 4 * 8 * (512 + 114);  // of all layers with a mixture
  EXPECT_DOUBLE_EQ(kept(config, shape) - dense, tokens * (2048 + 2 * 4 * 4 + 2 * 2048));
}

/// Every weight's gradient is made once, whatever the model; norms, biases and coefficients, which
/// are not counted, are few.
TEST(StepOperations, MakeTheGradientOfEveryWeight) {
  for (const auto variant : {Variant::kNone, Variant::kAltUp, Variant::kRecycled, Variant::kSum}) {
    for (const bool tied : {false, true}) {
      if (tied && variant == Variant::kSum) continue;
      for (const bool checkpointing : {false, true}) {
        auto config = sized(ModelSize::kSmall, variant);
        config.moe.experts = tied ? 4 : 0;
        config.tie_embeddings = tied;
        const StepShape shape{.batch = 2,
                              .input_length = 64,
                              .target_length = 32,
                              .bf16 = checkpointing,
                              .checkpointing = checkpointing};
        const double made = sum_of(step_operations(config, shape), &Operation::gradient) +
                            loss_memory(config, shape).head_gradient;
        const double weights = 4.0 * static_cast<double>(count_parameters(config).total);
        EXPECT_LE(made, weights);
        EXPECT_NEAR(made, weights, 2e-3 * weights);
      }
    }
  }
}

}  // namespace
}  // namespace altup
