#include "altup/modules/rms_norm.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

namespace altup {
namespace {

torch::Tensor by_hand(const torch::Tensor& x, const torch::Tensor& weight, double epsilon) {
  const auto wide = x.to(torch::kDouble);
  return wide / (wide.square().mean(-1, /*keepdim=*/true) + epsilon).sqrt() *
         weight.to(torch::kDouble);
}

TEST(RmsNorm, FollowsItsFormulaWithEpsilonInsideTheRoot) {
  torch::manual_seed(1);
  const double epsilon = 0.3;  // large enough to be seen
  RmsNorm norm(7, epsilon);
  torch::NoGradGuard no_grad;
  norm->weight.copy_(torch::randn({7}));
  const auto x = torch::randn({2, 3, 7});
  const auto y = norm(x);
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
  EXPECT_TRUE(torch::allclose(y.to(torch::kDouble), by_hand(x, norm->weight, epsilon), 1e-5, 1e-6));
}

TEST(RmsNorm, TakesTheMeanSquareOfBf16InFp32) {
  torch::manual_seed(2);
  RmsNorm norm(512, 1e-6);
  torch::NoGradGuard no_grad;
  const auto x = (torch::randn({4, 512}) * 30).to(torch::kBFloat16);
  ASSERT_EQ(norm(x).scalar_type(), torch::kBFloat16);
  const auto y = norm(x).to(torch::kDouble);
  // Only the result is rounded to 8 bits: half a unit in the last place is 2^-9.
  const auto expected = by_hand(x, norm->weight, 1e-6);
  EXPECT_LE(((y - expected).abs() / expected.abs().clamp_min(1e-3)).max().item<double>(), 0x1p-8);
}

TEST(RmsNorm, RoundsOnlyItsResultUnderAutocast) {
  torch::manual_seed(3);
  RmsNorm norm(64, 1e-6);
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({4, 64});
  const auto expected = norm(x);
  at::autocast::set_autocast_enabled(torch::kCPU, true);
  at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
  const auto y = norm(x);
  at::autocast::set_autocast_enabled(torch::kCPU, false);
  EXPECT_TRUE(torch::equal(y, expected.to(torch::kBFloat16)));
}

}  // namespace
}  // namespace altup
