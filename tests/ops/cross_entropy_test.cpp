// altup::linear_cross_entropy against its twin, by hand and by finite differences, with chunks of
// rows and with padding.
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/ops/twins.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::expect_near;
using testing::leaf;

class LinearCrossEntropyOp : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

struct Inputs {
  at::Tensor x, weight, targets, token_weights;
};

Inputs random_inputs(int64_t rows, int64_t vocabulary, int64_t width, at::ScalarType type) {
  return {leaf(at::randn({rows, width}).to(type)),
          leaf(at::randn({vocabulary, width}).div(std::sqrt(width)).to(type)),
          at::randint(vocabulary, {rows}, at::kLong), (at::rand({rows}) < 0.8).to(at::kFloat)};
}

TEST_F(LinearCrossEntropyOp, ByHand) {
  // Logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8.
  const auto weight = torch::tensor({{0.0F}, {std::log(2.0F)}, {std::log(5.0F)}});
  const auto result =
      linear_cross_entropy(torch::ones({1, 1}), weight, torch::tensor({1}), torch::ones({1}),
                           {.scale = 1.0, .z_loss = 0.5, .label_smoothing = 0.25});
  const double log_z = std::log(8.0);
  const double nll = log_z - std::log(2.0);
  const double mean_nll = log_z - std::log(10.0) / 3.0;
  EXPECT_NEAR(result.nll.item<double>(), nll, 1e-6);
  EXPECT_NEAR(result.loss.item<double>(), 0.75 * nll + 0.25 * mean_nll + 0.5 * log_z * log_z, 1e-5);
  EXPECT_EQ(result.predictions.item<int64_t>(), 2);
}

// 900 rows of 50,000 fp32 logits are three chunks.
TEST_F(LinearCrossEntropyOp, EqualsItsTwin) {
  struct Case {
    int64_t rows, vocabulary, width;
  };
  for (const Case c : {Case{1, 3, 4}, Case{33, 515, 16}, Case{900, 50'000, 4}}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const auto in = random_inputs(c.rows, c.vocabulary, c.width, type);
      const CrossEntropyOptions options{.scale = 0.25, .z_loss = 1e-2, .label_smoothing = 0.1};
      const auto actual =
          linear_cross_entropy(in.x, in.weight, in.targets, in.token_weights, options);
      const auto x = leaf(in.x.to(at::kDouble));
      const auto weight = leaf(in.weight.to(at::kDouble));
      const auto exact =
          reference::linear_cross_entropy(x, weight, in.targets, in.token_weights, options);
      const auto what = testing::label(c.rows, type);
      // Rounding the logits to bf16 moves a token's loss by less than 1 %, sums of many far less.
      const double tolerance = type == at::kFloat ? 1e-5 : 5e-3;
      expect_near(actual.loss, exact.loss, tolerance, what + " loss");
      expect_near(actual.nll, exact.nll, tolerance, what + " nll");
      const auto gradients =
          torch::autograd::grad({actual.loss * options.scale}, {in.x, in.weight});
      const auto exact_gradients = torch::autograd::grad({exact.loss * options.scale}, {x, weight});
      const double of_gradients = type == at::kFloat ? 1e-5 : 2e-2;
      expect_near(gradients[0], exact_gradients[0], of_gradients, what + " dx");
      expect_near(gradients[1], exact_gradients[1], of_gradients, what + " dweight");
      if (type == at::kFloat) {
        EXPECT_TRUE(torch::equal(actual.predictions, exact.predictions)) << what;
      }
    }
  }
}

TEST_F(LinearCrossEntropyOp, AnotherFactorThanTheScaleIsRight) {
  const auto in = random_inputs(9, 30, 4, at::kFloat);
  const auto gradient = [&](double scale, double factor) {
    const auto loss =
        linear_cross_entropy(in.x, in.weight, in.targets, in.token_weights, {.scale = scale}).loss;
    return torch::autograd::grad({loss * factor}, {in.x, in.weight});
  };
  const auto right = gradient(3.0, 3.0);
  const auto other = gradient(0.5, 3.0);
  EXPECT_TRUE(torch::allclose(right[0], other[0], 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(right[1], other[1], 1e-5, 1e-6));
}

TEST_F(LinearCrossEntropyOp, PaddingCostsNothingWhateverItHolds) {
  auto in = random_inputs(6, 20, 4, at::kFloat);
  in.token_weights = torch::tensor({1.0F, 0.0F, 1.0F, 0.0F, 1.0F, 0.0F});
  const auto run = [&](const at::Tensor& x) {
    const auto loss = linear_cross_entropy(x, in.weight, in.targets, in.token_weights, {}).loss;
    return std::pair(loss, torch::autograd::grad({loss}, {x, in.weight}));
  };
  auto changed = in.x.detach().clone();
  changed[1].fill_(std::numeric_limits<float>::infinity());
  changed[3].fill_(1e4F);
  const auto before = run(in.x);
  const auto after = run(leaf(changed));
  EXPECT_TRUE(torch::equal(before.first, after.first));
  EXPECT_EQ(after.second[0][3].abs().max().item<float>(), 0.0F);
}

TEST_F(LinearCrossEntropyOp, LargeLogitsNeitherOverflowNorLoseTheTarget) {
  const auto weight = torch::tensor({{1e4F}, {-1e4F}, {9.99e3F}});
  const auto result = linear_cross_entropy(torch::ones({2, 1}), weight, torch::tensor({0, 2}),
                                           torch::ones({2}), {});
  EXPECT_NEAR(result.nll.item<double>(), 10.0, 1e-2);
}

TEST_F(LinearCrossEntropyOp, TheFirstOfEqualLogitsIsPredicted) {
  auto weight = torch::zeros({2000, 1});
  for (const int64_t place : {777, 778, 1500}) weight[place] = 1.0F;
  const auto result =
      linear_cross_entropy(torch::ones({1, 1}), weight, torch::tensor({0}), torch::ones({1}), {});
  EXPECT_EQ(result.predictions.item<int64_t>(), 777);
}

TEST_F(LinearCrossEntropyOp, GradientsAreThoseOfFiniteDifferences) {
  const auto in = random_inputs(4, 6, 3, at::kDouble);
  const auto loss = [&] {
    return linear_cross_entropy(in.x, in.weight, in.targets, in.token_weights,
                                {.scale = 1.0, .z_loss = 0.1, .label_smoothing = 0.2})
        .loss;
  };
  EXPECT_TRUE(testing::gradients_match(loss, {in.x, in.weight}));
}

TEST_F(LinearCrossEntropyOp, UnderAutocastTheWeightKeepsItsGradientsType) {
  const auto in = random_inputs(5, 12, 4, at::kFloat);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto loss = linear_cross_entropy(in.x, in.weight, in.targets, in.token_weights, {}).loss;
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  const auto gradients = torch::autograd::grad({loss}, {in.x, in.weight});
  EXPECT_EQ(gradients[0].scalar_type(), at::kFloat);
  EXPECT_EQ(gradients[1].scalar_type(), at::kFloat);
}

TEST_F(LinearCrossEntropyOp, RefusesWhatDoesNotFit) {
  const auto message = [](const at::Tensor& x, const at::Tensor& targets) -> std::string {
    try {
      linear_cross_entropy(x, at::randn({7, 3}), targets, at::ones({2}), {});
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  EXPECT_THAT(message(at::randn({2, 4}), torch::tensor({0, 1})), ::testing::HasSubstr("one width"));
  EXPECT_THAT(message(at::randn({2, 3}), torch::tensor({0, 7})),
              ::testing::HasSubstr("target 7 of row 1 is not in [0, 7)"));
  EXPECT_THAT(message(at::randn({2, 3}), torch::tensor({0.0F, 1.0F})),
              ::testing::HasSubstr("targets must be int64"));
}

}  // namespace
}  // namespace altup
