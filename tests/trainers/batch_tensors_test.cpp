// A batch as tensors, padded in every way or not at all.
#include "trainers/batch_tensors.h"

#include <gtest/gtest.h>

namespace altup {
namespace {

// Inputs of 3, 1 and 2 tokens, targets of 2, 4 and 1. An id of 0 or 1 inside a text is as good as any.
Batch three_examples() {
  return collate({{{5, 0, 1}, {7, 1}}, {{1}, {8, 1, 0, 1}}, {{6, 1}, {1}}});
}

void expect_ids(const torch::Tensor& actual, const torch::Tensor& expected) {
  EXPECT_TRUE(torch::equal(actual, expected)) << actual;
}

TEST(BatchTensors, WithoutPaddingAreOneRowOfAllTokens) {
  const auto tensors = to_unpadded(three_examples(), 0, 3, torch::kCPU);
  expect_ids(tensors.input_ids, torch::tensor({{5, 0, 1, 1, 6, 1}}));
  expect_ids(tensors.targets, torch::tensor({7, 1, 8, 1, 0, 1, 1}));
  expect_ids(tensors.decoder_ids, torch::tensor({{0, 7, 0, 8, 1, 0, 0}}));
  expect_ids(tensors.offsets.inputs, torch::tensor({0, 3, 4, 6}));
  expect_ids(tensors.offsets.targets, torch::tensor({0, 2, 6, 7}));
  EXPECT_FALSE(tensors.input_mask.defined());
  EXPECT_TRUE(torch::equal(tensors.weights, torch::ones({7})));
  EXPECT_EQ(tensors.target_tokens, 7);
}

TEST(BatchTensors, OfSomeExamplesHaveOffsetsOfTheirOwn) {
  const auto tensors = to_unpadded(three_examples(), 1, 2, torch::kCPU);
  expect_ids(tensors.input_ids, torch::tensor({{1, 6, 1}}));
  expect_ids(tensors.decoder_ids, torch::tensor({{0, 8, 1, 0, 0}}));
  expect_ids(tensors.offsets.inputs, torch::tensor({0, 1, 3}));
  expect_ids(tensors.offsets.targets, torch::tensor({0, 4, 5}));
  EXPECT_EQ(tensors.target_tokens, 5);
}

TEST(BatchTensors, ArePaddedToTheLongestOfTheirs) {
  const auto tensors = to_padded(three_examples(), 1, 2, torch::kCPU);
  expect_ids(tensors.input_ids, torch::tensor({{1, 0}, {6, 1}}));
  EXPECT_TRUE(torch::equal(tensors.input_mask, torch::tensor({{true, false}, {true, true}})));
  expect_ids(tensors.targets, torch::tensor({8, 1, 0, 1, 1, 0, 0, 0}));
  expect_ids(tensors.decoder_ids, torch::tensor({{0, 8, 1, 0}, {0, 1, 0, 0}}));
  EXPECT_TRUE(
      torch::equal(tensors.weights, torch::tensor({1.F, 1.F, 1.F, 1.F, 1.F, 0.F, 0.F, 0.F})));
  EXPECT_FALSE(tensors.offsets.inputs.defined());
  EXPECT_EQ(tensors.target_tokens, 5);
}

TEST(BatchTensors, GoByTheConfig) {
  RunConfig config;
  config.task.names = {"glue/sst2"};
  config.task.input_length = 6;
  config.task.target_length = 5;
  const auto batch = three_examples();
  const auto shape = [&](Padding padding, const Batch& of) {
    config.train.padding = padding;
    const auto tensors = to_tensors(of, 0, of.size, config, torch::kCPU);
    return std::vector{tensors.input_ids.sizes().vec(), tensors.decoder_ids.sizes().vec()};
  };
  using Shapes = std::vector<std::vector<int64_t>>;
  EXPECT_EQ(shape(Padding::kNone, batch), (Shapes{{1, 6}, {1, 7}}));
  EXPECT_EQ(shape(Padding::kLongest, batch), (Shapes{{3, 3}, {3, 4}}));
  EXPECT_EQ(shape(Padding::kMaximum, batch), (Shapes{{3, 6}, {3, 5}}));
  const auto equal = collate({{{5, 1}, {7, 8, 1}}, {{6, 1}, {8, 9, 1}}});
  EXPECT_EQ(shape(Padding::kNone, equal), (Shapes{{2, 2}, {2, 3}}));
}

TEST(BatchTensors, OfInputsAloneArePadded) {
  const auto tensors = to_padded_inputs(collate({{{5, 1}, {}}, {{1}, {}}}), torch::kCPU);
  expect_ids(tensors.ids, torch::tensor({{5, 1}, {1, 0}}));
  EXPECT_TRUE(torch::equal(tensors.mask, torch::tensor({{true, true}, {true, false}})));
  EXPECT_FALSE(to_padded_inputs(collate({{{5, 1}, {}}}), torch::kCPU).mask.defined());
}

}  // namespace
}  // namespace altup
