// altup::gated_gelu against its twin, by hand and by finite differences.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/ops/twins.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::expect_equals_twin;
using testing::leaf;

std::vector<at::Tensor> op(const std::vector<at::Tensor>& in) {
  return {gated_gelu(in[0], in[1])};
}
std::vector<at::Tensor> twin(const std::vector<at::Tensor>& in) {
  return {reference::gated_gelu(in[0], in[1])};
}

class GatedGeluOp : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_F(GatedGeluOp, ByHand) {
  const double u = std::sqrt(2.0 / M_PI) * (0.5 + 0.044715 * 0.125);
  const double gelu = 0.5 * 0.5 * (1.0 + std::tanh(u));
  EXPECT_NEAR(gated_gelu(torch::tensor({0.5F}), torch::tensor({3.0F})).item<double>(), 3.0 * gelu,
              1e-6);
}

TEST_F(GatedGeluOp, EqualsItsTwin) {
  for (const int64_t size : {1, 15, 16, 17, 4096}) {
    for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      const auto gate = leaf(at::randn({5, size}).mul(3.0).to(type));
      const auto value = leaf(at::randn({5, size}).to(type));
      expect_equals_twin(op, twin, {gate, value}, testing::label(size, type));
    }
  }
}

TEST_F(GatedGeluOp, FarOutItIsTheValueOrNothing) {
  const auto gate = torch::tensor({-1e30F, -60.0F, -20.0F, 20.0F, 60.0F, 1e12F});
  const auto value = torch::full({6}, 2.0F);
  const auto y = gated_gelu(gate, value);
  EXPECT_TRUE(torch::isfinite(y).all().item<bool>()) << y;
  EXPECT_TRUE(torch::allclose(y.narrow(0, 0, 3), torch::zeros({3}), 0, 1e-6)) << y;
  EXPECT_TRUE(torch::allclose(y.narrow(0, 3, 3), 2.0F * gate.narrow(0, 3, 3))) << y;
}

TEST_F(GatedGeluOp, GradientsAreThoseOfFiniteDifferences) {
  const auto gate = leaf(at::randn({3, 5}, at::kDouble));
  const auto value = leaf(at::randn({3, 5}, at::kDouble));
  EXPECT_TRUE(testing::gradients_match([&] { return gated_gelu(gate, value); }, {gate, value}));
}

TEST_F(GatedGeluOp, RefusesWhatDoesNotFit) {
  EXPECT_THROW(gated_gelu(at::randn({2, 3}), at::randn({3, 2})), c10::Error);
  EXPECT_THROW(gated_gelu(at::randn({2}), at::randn({2}).to(at::kBFloat16)), c10::Error);
}

}  // namespace
}  // namespace altup
