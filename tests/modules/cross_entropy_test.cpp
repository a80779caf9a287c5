// Against the same loss written with torch's own operators, and its gradient by autograd.
#include "altup/modules/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>

namespace altup {
namespace {

struct Example {
  torch::Tensor logits;   // [N, V]
  torch::Tensor targets;  // [N]
  torch::Tensor weights;  // [N]
};

Example make_example() {
  torch::manual_seed(1);
  return {torch::randn({6, 11}) * 3, torch::randint(11, {6}, torch::kInt64),
          torch::tensor({1.0F, 0.0F, 1.0F, 1.0F, 0.0F, 1.0F})};
}

torch::Tensor by_torch(const Example& example, const CrossEntropyConfig& config) {
  namespace F = torch::nn::functional;
  const auto each = F::cross_entropy(
      example.logits, example.targets,
      F::CrossEntropyFuncOptions().reduction(torch::kNone).label_smoothing(config.label_smoothing));
  const auto log_z = torch::logsumexp(example.logits, -1);
  return ((each + config.z_loss * log_z.square()) * example.weights).sum();
}

class CrossEntropy : public testing::TestWithParam<CrossEntropyConfig> {};
INSTANTIATE_TEST_SUITE_P(Settings, CrossEntropy,
                         testing::Values(CrossEntropyConfig{}, CrossEntropyConfig{.z_loss = 0.01},
                                         CrossEntropyConfig{.label_smoothing = 0.1},
                                         CrossEntropyConfig{.z_loss = 0.01,
                                                            .label_smoothing = 0.2}));

TEST_P(CrossEntropy, ValueAndGradientAreThoseOfTorch) {
  auto ours = make_example();
  auto theirs = make_example();
  ours.logits.requires_grad_(true);
  theirs.logits.requires_grad_(true);
  const auto loss = cross_entropy_sum(ours.logits, ours.targets, ours.weights, GetParam()).loss;
  const auto expected = by_torch(theirs, GetParam());
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-4);
  (loss * 0.7).backward();
  (expected * 0.7).backward();
  EXPECT_TRUE(torch::allclose(ours.logits.grad(), theirs.logits.grad(), 1e-4, 1e-6));
}

TEST(CrossEntropySum, NllIsThePlainLossInNats) {
  const auto example = make_example();
  const auto sums = cross_entropy_sum(example.logits, example.targets, example.weights,
                                      {.z_loss = 0.1, .label_smoothing = 0.3});
  EXPECT_NEAR(sums.nll.item<double>(), by_torch(example, {}).item<double>(), 1e-4);
  EXPECT_FALSE(sums.nll.requires_grad());
}

TEST(CrossEntropySum, UniformLogitsCostTheLogarithmOfTheVocabulary) {
  const auto sums =
      cross_entropy_sum(torch::zeros({3, 50}), torch::tensor({0, 7, 49}), torch::ones({3}), {});
  EXPECT_NEAR(sums.loss.item<double>(), 3 * std::log(50.0), 1e-4);
}

TEST(CrossEntropySum, KeepsTheGradientInTheTypeOfTheLogits) {
  const auto example = make_example();
  auto logits = example.logits.to(torch::kBFloat16).requires_grad_(true);
  const auto sums = cross_entropy_sum(logits, example.targets, example.weights, {});
  EXPECT_EQ(sums.loss.scalar_type(), torch::kFloat);
  sums.loss.backward();
  EXPECT_EQ(logits.grad().scalar_type(), torch::kBFloat16);
}

TEST(CrossEntropySum, RefusesShapesThatDoNotMatch) {
  EXPECT_THROW(cross_entropy_sum(torch::zeros({3, 5}), torch::zeros({2}, torch::kInt64),
                                 torch::ones({2}), {}),
               c10::Error);
}

}  // namespace
}  // namespace altup
