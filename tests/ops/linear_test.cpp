// altup::linear, with our own product, against ATen's in double: sizes on and off the tiles, rows that
// are views, gradients, threads.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "altup/ops/ops.h"
#include "tests/ops/twins.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::leaf;

class LinearOp : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::manual_seed(1);
    set_product_kernels(ProductKernelChoice::kOwn);
  }
  void TearDown() override { set_product_kernels(ProductKernelChoice::kAuto); }
};

void expect_equals_twin(int64_t rows, int64_t in, int64_t out) {
  const auto op = [](const std::vector<at::Tensor>& t) {
    return std::vector<at::Tensor>{altup::linear(t[0], t[1])};
  };
  const auto twin = [](const std::vector<at::Tensor>& t) {
    return std::vector<at::Tensor>{at::linear(t[0], t[1])};
  };
  testing::expect_equals_twin(
      op, twin, {leaf(at::randn({rows, in})), leaf(at::randn({out, in}))},
      std::to_string(rows) + " x " + std::to_string(in) + " -> " + std::to_string(out));
}

TEST_F(LinearOp, EqualsItsTwin) {
  for (const int64_t rows : {32, 95, 97, 200}) {
    for (const int64_t in : {1, 7, 64, 511}) {
      for (const int64_t out : {1, 15, 33, 96}) expect_equals_twin(rows, in, out);
    }
  }
}

// Depths of several blocks and more columns than a chunk has, in every one of the three products.
TEST_F(LinearOp, EqualsItsTwinOverManyBlocks) {
  expect_equals_twin(33, 1100, 40);
  expect_equals_twin(1100, 33, 40);
  expect_equals_twin(40, 33, 2100);
  expect_equals_twin(40, 2100, 33);
  expect_equals_twin(40, 1100, 2100);
  expect_equals_twin(40, 2100, 330);  // chunks of three blocks, and of two
}

TEST_F(LinearOp, ReadsViewsAsTheyAre) {
  const auto x = at::randn({4, 3, 20, 16}).transpose(1, 2);  // [4, 20, 3, 16]
  const auto weight = at::randn({16, 24}).t();
  const auto expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
  testing::expect_near(altup::linear(x, weight), expected, testing::tolerance_of(at::kFloat),
                       "views");
  const auto every_other = at::randn({24, 32}).slice(1, 0, 32, 2);
  testing::expect_near(altup::linear(x, every_other),
                       at::linear(x.to(at::kDouble), every_other.to(at::kDouble)),
                       testing::tolerance_of(at::kFloat), "a weight with gaps");
}

TEST_F(LinearOp, ARowDoesNotDependOnTheOthers) {
  const auto x = at::randn({100, 600});
  const auto weight = at::randn({50, 600});
  const auto all = altup::linear(x, weight);
  EXPECT_TRUE(torch::equal(all.narrow(0, 3, 40), altup::linear(x.narrow(0, 3, 40), weight)));
}

TEST_F(LinearOp, DoesNotDependOnTheNumberOfThreads) {
  const auto x = leaf(at::randn({130, 700}));
  const auto weight = leaf(at::randn({90, 700}));
  const auto d = at::randn({130, 90});
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    auto out = altup::linear(x, weight);
    auto result = torch::autograd::grad({out}, {x, weight}, {d});
    result.push_back(out);
    return result;
  };
  const auto one = run(1);
  for (const int threads : {2, 3, 5}) {
    const auto several = run(threads);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(torch::equal(one[i], several[i])) << i;
  }
  at::set_num_threads(before);
}

TEST_F(LinearOp, HasASecondDerivative) {
  const auto x = leaf(at::randn({40, 6}));
  const auto weight = leaf(at::randn({5, 6}));
  const auto first = torch::autograd::grad({altup::linear(x, weight).pow(3).sum()}, {x}, {},
                                           std::nullopt, /*create_graph=*/true)[0];
  const auto second = torch::autograd::grad({first.sum()}, {weight})[0];
  const auto exact_first = torch::autograd::grad({at::linear(x, weight).pow(3).sum()}, {x}, {},
                                                 std::nullopt, /*create_graph=*/true)[0];
  const auto exact = torch::autograd::grad({exact_first.sum()}, {weight})[0];
  EXPECT_TRUE(torch::allclose(second, exact, 1e-4, 1e-4));
}

TEST_F(LinearOp, UnderAutocastIsOfItsType) {
  const auto x = leaf(at::randn({40, 6}));
  const auto weight = leaf(at::randn({5, 6}));
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto out = altup::linear(x, weight);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
}

// Whether a processor multiplies bf16 or not: products of bf16 numbers are exact in fp32, and only
// their sum is rounded.
TEST_F(LinearOp, OfBf16IsRoundedOnce) {
  const auto x = leaf(at::randn({40, 70}).to(at::kBFloat16));
  const auto weight = leaf(at::randn({9, 70}).to(at::kBFloat16));
  const auto dy = at::randn({40, 9}).to(at::kBFloat16);
  const auto y = altup::linear(x, weight);
  const auto gradients = torch::autograd::grad({y}, {x, weight}, {dy});
  const auto expect_rounded = [](const at::Tensor& actual, const at::Tensor& exact) {
    EXPECT_EQ(actual.scalar_type(), at::kBFloat16);
    EXPECT_LE(((actual.to(at::kDouble) - exact).abs() / (exact.abs() + 0.01)).max().item<double>(),
              1.01 / 256);
  };
  const auto X = x.detach().to(at::kDouble), W = weight.detach().to(at::kDouble);
  expect_rounded(y, X.mm(W.t()));
  expect_rounded(gradients[0], dy.to(at::kDouble).mm(W));
  expect_rounded(gradients[1], dy.to(at::kDouble).t().mm(X));
}

}  // namespace
}  // namespace altup
