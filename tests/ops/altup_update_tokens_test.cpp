// altup::update with coefficients of each token against Algorithm 1 written out number by number, and
// against its twin and finite differences; what both kinds share is tested in altup_update_test.cpp.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <sstream>
#include <string>
#include <vector>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using ::testing::HasSubstr;

struct Inputs {
  at::Tensor x, x_tilde, p, g;
  std::vector<at::Tensor> all() const { return {x, x_tilde, p, g}; }
};

Inputs random_inputs(int64_t num_blocks, int64_t batch, int64_t length, int64_t width,
                     at::ScalarType type = at::kDouble) {
  const auto sums = type == at::kDouble ? at::kDouble : at::kFloat;
  Inputs inputs{at::randn({num_blocks, batch, length, width}).to(type),
                at::randn({batch, length, width}).to(type),
                at::randn({batch, length, num_blocks, num_blocks}).to(sums),
                at::randn({batch, length, num_blocks}).to(sums)};
  for (auto tensor : inputs.all()) tensor.requires_grad_();
  return inputs;
}

Inputs in_double(const Inputs& in) {
  const auto copy = [](const at::Tensor& t) {
    return t.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_();
  };
  return {copy(in.x), copy(in.x_tilde), copy(in.p), copy(in.g)};
}

at::Tensor update(const Inputs& in, int64_t active) {
  return altup::update(in.x, in.x_tilde, in.p, in.g, active);
}

// One number at a time: predict, then correct.
at::Tensor algorithm_1(const Inputs& in, int64_t active) {
  const at::NoGradGuard no_grad;
  auto y = at::empty_like(in.x);
  const auto X = in.x.accessor<double, 4>(), P = in.p.accessor<double, 4>();
  const auto TILDE = in.x_tilde.accessor<double, 3>(), G = in.g.accessor<double, 3>();
  auto Y = y.accessor<double, 4>();
  const auto num_blocks = in.x.size(0);
  for (int64_t b = 0; b < in.x.size(1); ++b) {
    for (int64_t t = 0; t < in.x.size(2); ++t) {
      for (int64_t n = 0; n < in.x.size(3); ++n) {
        std::vector<double> predicted(static_cast<size_t>(num_blocks), 0);
        for (int64_t i = 0; i < num_blocks; ++i) {
          for (int64_t j = 0; j < num_blocks; ++j) {
            predicted[static_cast<size_t>(i)] += P[b][t][i][j] * X[j][b][t][n];
          }
        }
        const double innovation = TILDE[b][t][n] - predicted[static_cast<size_t>(active)];
        for (int64_t i = 0; i < num_blocks; ++i) {
          Y[i][b][t][n] = predicted[static_cast<size_t>(i)] + G[b][t][i] * innovation;
        }
      }
    }
  }
  return y;
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) return;
  const auto error = (actual.to(at::kDouble) - expected).abs().max().item<double>();
  EXPECT_LE(error, tolerance * (1 + expected.abs().max().item<double>())) << what;
}

class AltupUpdateOfTokens : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_F(AltupUpdateOfTokens, IsAlgorithm1) {
  for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
    for (int64_t active = 0; active < num_blocks; ++active) {
      const auto in = random_inputs(num_blocks, 2, 3, 7);
      expect_close(update(in, active), algorithm_1(in, active), 1e-14, "operator");
      expect_close(reference::update(in.x, in.x_tilde, in.p, in.g, active), algorithm_1(in, active),
                   1e-14, "twin");
    }
  }
}

TEST_F(AltupUpdateOfTokens, OfEqualTokensIsThatOfTheLayer) {
  auto in = random_inputs(3, 2, 4, 33, at::kFloat);
  const auto p = at::randn({3, 3}), g = at::randn({3});
  EXPECT_TRUE(altup::update(in.x, in.x_tilde, p.expand({2, 4, 3, 3}), g.expand({2, 4, 3}), 1)
                  .equal(altup::update(in.x, in.x_tilde, p, g, 1)));
}

TEST_F(AltupUpdateOfTokens, EqualsTwinInEveryTypeAndShape) {
  const std::vector<std::vector<int64_t>> shapes = {
      {1, 1, 1}, {2, 3, 7}, {3, 1, 63}, {2, 5, 512}, {5, 67, 129}, {0, 4, 8}, {2, 0, 8}, {2, 3, 0}};
  const auto tolerance = [](at::ScalarType of) {
    return of == at::kDouble ? 1e-13 : of == at::kFloat ? 5e-6 : 8e-3;
  };
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
      for (const auto& shape : shapes) {
        const int64_t active = num_blocks / 2;
        std::ostringstream what;
        what << type << " K = " << num_blocks << " block " << at::IntArrayRef(shape);
        const auto in = random_inputs(num_blocks, shape[0], shape[1], shape[2], type);
        const auto exact = in_double(in);
        const auto y = update(in, active);
        const auto y_exact = reference::update(exact.x, exact.x_tilde, exact.p, exact.g, active);
        EXPECT_EQ(y.scalar_type(), type);
        EXPECT_TRUE(y.is_contiguous());
        expect_close(y, y_exact, tolerance(type), what.str());
        const auto dy = at::randn(y.sizes()).to(type);
        const auto actual = torch::autograd::grad({y}, in.all(), {dy});
        const auto expected = torch::autograd::grad({y_exact}, exact.all(), {dy.to(at::kDouble)});
        for (size_t i = 0; i < actual.size(); ++i) {
          EXPECT_EQ(actual[i].scalar_type(), in.all()[i].scalar_type()) << what.str() << i;
          expect_close(actual[i], expected[i], tolerance(actual[i].scalar_type()),
                       what.str() + ", gradient " + std::to_string(i));
        }
      }
    }
  }
}

TEST_F(AltupUpdateOfTokens, ReadsAnyStrides) {
  auto in = random_inputs(2, 3, 4, 6, at::kFloat);
  in.x = at::randn({3, 4, 6, 2}).permute({3, 0, 1, 2}).detach().requires_grad_();
  in.x_tilde = at::randn({3, 6, 4}).transpose(1, 2).detach().requires_grad_();
  in.p = at::randn({2, 2, 3, 4}).permute({2, 3, 0, 1}).detach().requires_grad_();
  in.g = at::randn({4, 3, 2}).transpose(0, 1).detach().requires_grad_();
  const auto exact = in_double(in);
  const auto y = update(in, 1);
  expect_close(y, algorithm_1(exact, 1), 2e-6, "y");
  const auto actual = torch::autograd::grad({y.sum()}, in.all());
  const auto expected = torch::autograd::grad({update(exact, 1).sum()}, exact.all());
  for (size_t i = 0; i < 4; ++i) expect_close(actual[i], expected[i], 2e-6, "gradient");
}

TEST_F(AltupUpdateOfTokens, PassesGradcheck) {
  for (int64_t num_blocks : {1, 2, 4, 5}) {
    const auto in = random_inputs(num_blocks, 2, 2, 3);
    EXPECT_TRUE(testing::gradients_match([&] { return update(in, num_blocks - 1); }, in.all()))
        << "K = " << num_blocks;
  }
}

TEST_F(AltupUpdateOfTokens, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  const auto in = random_inputs(3, 7, 130, 257, at::kFloat);
  const auto dy = at::randn(in.x.sizes());
  std::vector<std::vector<at::Tensor>> results;
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    const auto y = update(in, 2);
    results.push_back(torch::autograd::grad({y}, in.all(), {dy}));
    results.back().push_back(y.detach());
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(results[0][i].equal(results[1][i])) << i;
  }
}

TEST_F(AltupUpdateOfTokens, KnowsShapesOnMeta) {
  const auto meta = at::TensorOptions().device(at::kMeta);
  const auto y =
      altup::update(at::empty({4, 2, 3, 5}, meta.dtype(at::kBFloat16)), at::empty({2, 3, 5}, meta),
                    at::empty({2, 3, 4, 4}, meta), at::empty({2, 3, 4}, meta), 3);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({4, 2, 3, 5}));
  EXPECT_EQ(y.scalar_type(), at::kFloat);
}

TEST_F(AltupUpdateOfTokens, NamesWhatIsWrong) {
  const auto in = random_inputs(2, 3, 4, 5);
  const auto message = [&](const at::Tensor& p, const at::Tensor& g) -> std::string {
    try {
      altup::update(in.x, in.x_tilde, p, g, 0);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_THAT(message(in.p, at::ones({2})),
              HasSubstr("correction_coefs must be [B, T, K], as prediction_coefs is [B, T, K, K], "
                        "got [2]"));
  EXPECT_THAT(message(at::eye(2), in.g), HasSubstr("correction_coefs must be [K], got [3, 4, 2]"));
  EXPECT_THAT(message(at::randn({3, 4, 2, 3}), in.g),
              HasSubstr("prediction_coefs [3, 4, 2, 3] must be [B, T, K, K] with the K = 2 of x"));
  EXPECT_THAT(message(at::randn({3, 5, 2, 2}), in.g),
              HasSubstr("prediction_coefs [3, 5, 2, 2] and correction_coefs [3, 4, 2] must begin "
                        "with the [B, T] of x_tilde [3, 4, 5]"));
}

}  // namespace
}  // namespace altup
