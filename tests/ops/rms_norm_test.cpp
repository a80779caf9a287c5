// altup::rms_norm and altup::add_rms_norm against their twins, by hand and by finite differences.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/ops/twins.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::expect_equals_twin;
using testing::leaf;

constexpr double kEpsilon = 1e-6;

std::vector<at::Tensor> norm(const std::vector<at::Tensor>& in) {
  return {rms_norm(in[0], in[1], kEpsilon)};
}
std::vector<at::Tensor> norm_twin(const std::vector<at::Tensor>& in) {
  return {reference::rms_norm(in[0], in[1], kEpsilon)};
}
std::vector<at::Tensor> add_norm(const std::vector<at::Tensor>& in) {
  const auto [sum, y] = add_rms_norm(in[0], in[1], in[2], kEpsilon);
  return {sum, y};
}
std::vector<at::Tensor> add_norm_twin(const std::vector<at::Tensor>& in) {
  const auto [sum, y] = reference::add_rms_norm(in[0], in[1], in[2], kEpsilon);
  return {sum, y};
}

class RmsNormOp : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_F(RmsNormOp, ByHand) {
  const auto x = torch::tensor({3.0F, -4.0F, 0.0F, 0.0F});  // mean of squares 25 / 4
  const auto weight = torch::tensor({1.0F, 2.0F, 1.0F, 1.0F});
  const auto y = rms_norm(x, weight, 0.0);
  EXPECT_TRUE(torch::allclose(y, torch::tensor({1.2F, -3.2F, 0.0F, 0.0F}), 1e-6));
}

TEST_F(RmsNormOp, EqualsItsTwin) {
  for (const int64_t width : {1, 7, 16, 33, 512}) {
    for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      const auto x = leaf(at::randn({3, 50, width}).to(type));
      const auto weight = leaf(at::rand({width}).add(0.5).to(type));
      expect_equals_twin(norm, norm_twin, {x, weight}, testing::label(width, type));
    }
  }
}

TEST_F(RmsNormOp, WithAResidualEqualsItsTwin) {
  for (const int64_t width : {1, 7, 16, 33, 512}) {
    for (const auto delta_type : {at::kFloat, at::kBFloat16}) {
      const auto x = leaf(at::randn({2, 150, width}));
      const auto delta = leaf(at::randn({2, 150, width}).to(delta_type));
      const auto weight = leaf(at::rand({width}).add(0.5));
      expect_equals_twin(add_norm, add_norm_twin, {x, delta, weight},
                         testing::label(width, delta_type));
    }
  }
}

TEST_F(RmsNormOp, SumAloneHasAGradient) {
  const auto x = leaf(at::randn({4, 8}));
  const auto delta = leaf(at::randn({4, 8}).to(at::kBFloat16));
  const auto sum = add_norm({x, delta, leaf(at::ones({8}))})[0];
  const auto d = at::randn({4, 8});
  const auto gradients = torch::autograd::grad({sum}, {x, delta}, {d});
  EXPECT_TRUE(torch::equal(gradients[0], d));
  EXPECT_TRUE(torch::equal(gradients[1], d.to(at::kBFloat16)));
}

TEST_F(RmsNormOp, StridesAndEmptyTensors) {
  const auto base = at::randn({6, 4, 40});
  const auto weight = at::rand({20});
  const auto strided = base.transpose(0, 1).slice(2, 0, 40, 2);
  EXPECT_TRUE(torch::equal(rms_norm(strided, weight, kEpsilon),
                           rms_norm(strided.contiguous(), weight, kEpsilon)));
  EXPECT_EQ(rms_norm(at::randn({0, 20}), weight, kEpsilon).sizes(), at::IntArrayRef({0, 20}));
}

TEST_F(RmsNormOp, GradientsAreThoseOfFiniteDifferences) {
  const auto x = leaf(at::randn({3, 5}, at::kDouble));
  const auto delta = leaf(at::randn({3, 5}, at::kDouble));
  const auto weight = leaf(at::rand({5}, at::kDouble).add(0.5));
  EXPECT_TRUE(testing::gradients_match(
      [&] {
        const auto out = add_norm({x, delta, weight});
        return out[0] + 2.0 * out[1];
      },
      {x, delta, weight}));
}

TEST_F(RmsNormOp, DoesNotDependOnTheNumberOfThreads) {
  const auto x = leaf(at::randn({1000, 64}));
  const auto weight = leaf(at::rand({64}));
  const auto dy = at::randn({1000, 64});
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    return torch::autograd::grad({norm({x, weight})[0]}, {x, weight}, {dy});
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(one[0], two[0]));
  EXPECT_TRUE(torch::equal(one[1], two[1]));
}

TEST_F(RmsNormOp, UnderAutocastMakesTheTypeOfTheNextProduct) {
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto x = at::randn({4, 8});
  const auto y = rms_norm(x, at::ones({8}), kEpsilon);
  const auto [sum, z] = add_rms_norm(x, y, at::ones({8}), kEpsilon);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(sum.scalar_type(), at::kFloat);
  EXPECT_EQ(z.scalar_type(), at::kBFloat16);
}

TEST_F(RmsNormOp, RefusesWhatDoesNotFit) {
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  EXPECT_THAT(message([] {
                rms_norm(at::randn({2, 3}), at::ones({4}), kEpsilon);
              }),
              ::testing::HasSubstr("weight [4] must have the last size of x [2, 3]"));
  EXPECT_THAT(message([] {
                add_rms_norm(at::randn({2, 3}), at::randn({3, 3}), at::ones({3}), kEpsilon);
              }),
              ::testing::HasSubstr("delta [3, 3] must have the shape of x [2, 3]"));
  EXPECT_THAT(message([] {
                rms_norm(at::ones({2, 3}, at::kLong), at::ones({3}), kEpsilon);
              }),
              ::testing::HasSubstr("floating point"));
}

}  // namespace
}  // namespace altup
