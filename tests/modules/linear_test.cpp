#include "altup/modules/linear.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include "altup/ops/ops.h"

namespace altup {
namespace {

void randomise(Linear& linear) {
  const torch::NoGradGuard no_grad;
  linear->weight.normal_();
}

double largest(const torch::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

TEST(Linear, IsTheSameForFewRowsAndMany) {
  torch::manual_seed(1);
  Linear linear(48, 30);
  randomise(linear);
  for (const int64_t rows : {1, 7, 64, 65, 200}) {
    const auto x = torch::randn({rows, 48});
    const auto with_gradient = linear(x);
    c10::InferenceMode inference;
    EXPECT_LT(largest(linear(x) - with_gradient), 1e-4) << rows;
  }
}

TEST(Linear, Int8IsWithinHalfAStepOfEachWeight) {
  torch::manual_seed(2);
  auto weight = torch::randn({5, 40});
  weight[3].zero_();
  const auto int8 = quantise(weight);
  EXPECT_EQ(int8.values.scalar_type(), torch::kChar);
  const auto error = (int8.values * int8.scale.unsqueeze(1) - weight).abs();
  EXPECT_TRUE(error.le(int8.scale.unsqueeze(1) * 0.50001).all().item<bool>());
  EXPECT_EQ(largest(int8.values.abs().amax(1)[0]), 127);
  EXPECT_EQ(largest(int8.values[3]), 0);
}

TEST(Linear, ReadsInt8InInferenceMode) {
  torch::manual_seed(3);
  Linear linear(16, 6);
  randomise(linear);
  linear->quantise();
  const auto int8 = quantise(linear->weight);
  const auto rounded = int8.values * int8.scale.unsqueeze(1);  // fp32
  for (const int64_t rows : {3, 70}) {
    const auto x = torch::randn({rows, 16});
    const auto exact = torch::linear(x, linear->weight);
    EXPECT_LT(largest(linear(x) - exact), 1e-5);  // with gradients
    c10::InferenceMode inference;
    EXPECT_LT(largest(linear(x) - torch::linear(x, rounded)), 1e-3);
    EXPECT_GT(largest(linear(x) - exact), 3e-3);
  }
}

TEST(Linear, UnderAutocastFewRowsReadBf16AndManyAreNotEmulated) {
  torch::manual_seed(4);
  c10::InferenceMode inference;
  Linear linear(32, 12);
  randomise(linear);
  const auto few = torch::randn({3, 32});
  const auto many = torch::randn({70, 32});
  const auto rounded = linear->weight.to(torch::kBFloat16).to(torch::kFloat);
  const auto expected = torch::linear(few, rounded);
  const auto exact = torch::linear(many, linear->weight);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto y = linear(few);
  const auto y_of_many = linear(many);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
  EXPECT_LT(largest(y - expected), 1e-4);
  EXPECT_EQ(y_of_many.scalar_type(), multiplies_bf16() ? torch::kBFloat16 : torch::kFloat);
  if (!multiplies_bf16()) {
    EXPECT_TRUE(torch::equal(y_of_many, exact));
  }
}

// Each step of decoding would cast all weights otherwise: autocast alone keeps no copy in inference
// mode. The copy shows by not following the weight.
TEST(Linear, UnderAutocastAWeightIsCastOnce) {
  torch::manual_seed(5);
  Linear linear(32, 12);
  randomise(linear);
  const auto x = torch::randn({3, 32});
  c10::InferenceMode inference;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto first = linear(x);
  linear->weight.mul_(2.0);
  const auto second = linear(x);
  const auto together = project(x, {linear, linear});
  at::autocast::clear_cache();
  const auto cast_anew = linear(x);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_TRUE(torch::equal(second, first));
  EXPECT_TRUE(torch::equal(together[1], first));
  EXPECT_LT(largest(cast_anew - 2.0 * first), 1e-4);
}

TEST(Linear, ProjectsTogetherWhatEachProjects) {
  torch::manual_seed(6);
  Linear a(32, 12);
  Linear b(32, 5);
  for (auto* linear : {&a, &b}) randomise(*linear);
  const auto compare = [&](int64_t rows) {
    const auto x = torch::randn({rows, 32});
    const auto together = project(x, {a, b});
    EXPECT_TRUE(torch::equal(together[0], a(x))) << rows;
    EXPECT_TRUE(torch::equal(together[1], b(x))) << rows;
  };
  compare(3);
  c10::InferenceMode inference;
  compare(3);
  compare(70);
  a->quantise();
  b->quantise();
  compare(3);
  compare(70);
}

}  // namespace
}  // namespace altup
