// altup::update against Algorithm 1 of the paper written out number by number, against its
// reference twin and against finite differences.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <limits>
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

const char* const kNames[] = {"x", "x_tilde", "prediction_coefs", "correction_coefs"};

/// Random, with gradients; the coefficients are those of a type in which sums are done.
Inputs random_inputs(int64_t num_blocks, at::IntArrayRef block_shape,
                     at::ScalarType type = at::kDouble) {
  std::vector<int64_t> state_shape{num_blocks};
  state_shape.insert(state_shape.end(), block_shape.begin(), block_shape.end());
  const auto sums = type == at::kDouble ? at::kDouble : at::kFloat;
  Inputs inputs{at::randn(state_shape).to(type), at::randn(block_shape).to(type),
                at::randn({num_blocks, num_blocks}).to(sums), at::randn({num_blocks}).to(sums)};
  for (auto tensor : inputs.all()) tensor.requires_grad_();
  return inputs;
}

at::Tensor update(const Inputs& in, int64_t active) {
  return altup::update(in.x, in.x_tilde, in.p, in.g, active);
}
at::Tensor reference_update(const Inputs& in, int64_t active) {
  return reference::update(in.x, in.x_tilde, in.p, in.g, active);
}

/// Copies in double, with gradients of their own.
Inputs in_double(const Inputs& in) {
  const auto copy = [](const at::Tensor& t) {
    return t.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_();
  };
  return {copy(in.x), copy(in.x_tilde), copy(in.p), copy(in.g)};
}

/// Algorithm 1, one number at a time: predict, then correct.
at::Tensor algorithm_1(const Inputs& in, int64_t active) {
  const at::NoGradGuard no_grad;
  const auto num_blocks = in.x.size(0);
  const auto x = in.x.to(at::kDouble).contiguous().view({num_blocks, -1});
  const auto x_tilde = in.x_tilde.to(at::kDouble).contiguous().view({-1});
  const auto p = in.p.to(at::kDouble), g = in.g.to(at::kDouble);
  auto y = at::empty_like(x);
  const auto X = x.accessor<double, 2>(), P = p.accessor<double, 2>();
  const auto X_TILDE = x_tilde.accessor<double, 1>(), G = g.accessor<double, 1>();
  auto Y = y.accessor<double, 2>();
  for (int64_t n = 0; n < x.size(1); ++n) {
    std::vector<double> predicted(num_blocks, 0);
    for (int64_t i = 0; i < num_blocks; ++i) {
      for (int64_t j = 0; j < num_blocks; ++j) predicted[i] += P[i][j] * X[j][n];
    }
    for (int64_t i = 0; i < num_blocks; ++i) {
      Y[i][n] = predicted[i] + G[i] * (X_TILDE[n] - predicted[active]);
    }
  }
  return y.view(in.x.sizes());
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) return;
  const auto error = (actual.to(at::kDouble) - expected).abs().max().item<double>();
  EXPECT_LE(error, tolerance * (1 + expected.abs().max().item<double>())) << what;
}

/// Values and gradients of the operator, for its type's rounding, against the twin in double.
void expect_equals_twin(const Inputs& in, int64_t active, const std::string& what) {
  const auto type = in.x.scalar_type();
  // Beyond four blocks, the gradients of the coefficients are a single-precision product of
  // matrices.
  const double single = in.x.size(0) <= 4 ? 2e-6 : 2e-5;
  const auto tolerance = [&](at::ScalarType of) {
    return of == at::kDouble ? 1e-13 : of == at::kFloat ? single : 8e-3;
  };
  const auto exact = in_double(in);
  const auto y = update(in, active);
  const auto y_exact = reference_update(exact, active);
  EXPECT_EQ(y.scalar_type(), type);
  EXPECT_TRUE(y.is_contiguous());
  expect_close(y, y_exact, tolerance(type), what + ": y");

  const auto dy = at::randn(y.sizes()).to(type);
  const auto gradients = torch::autograd::grad({y}, in.all(), {dy});
  const auto exact_gradients = torch::autograd::grad({y_exact}, exact.all(), {dy.to(at::kDouble)});
  for (size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_EQ(gradients[i].scalar_type(), in.all()[i].scalar_type()) << what << ": d " << kNames[i];
    expect_close(gradients[i], exact_gradients[i], tolerance(gradients[i].scalar_type()),
                 what + ": d " + kNames[i]);
  }
}

class AltupUpdate : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_F(AltupUpdate, IsAlgorithm1) {
  for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
    for (int64_t active = 0; active < num_blocks; ++active) {
      const auto in = random_inputs(num_blocks, {2, 3, 7});
      expect_close(update(in, active), algorithm_1(in, active), 1e-14, "operator");
      expect_close(reference_update(in, active), algorithm_1(in, active), 1e-14, "twin");
    }
  }
}

TEST_F(AltupUpdate, EqualsTwinInEveryTypeShapeAndActiveBlock) {
  // Less than a vector; whole vectors and a rest; several pieces, several threads, and a rest; no
  // token at all.
  const std::vector<std::vector<int64_t>> shapes = {
      {1, 1, 1}, {2, 3, 7}, {3, 1, 63}, {2, 5, 512}, {5, 127, 129}, {0, 4, 8}, {2, 0, 8}};
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
      for (const auto& shape : shapes) {
        for (int64_t active = 0; active < num_blocks; ++active) {
          std::ostringstream what;
          what << type << " K = " << num_blocks << " block " << at::IntArrayRef(shape) << " active "
               << active;
          expect_equals_twin(random_inputs(num_blocks, shape, type), active, what.str());
        }
      }
    }
  }
}

TEST_F(AltupUpdate, ReadsAnyStrides) {
  const auto type = at::kFloat;
  auto in = random_inputs(3, {4, 5, 6}, type);
  const auto with_state = [&](const at::Tensor& x) {
    Inputs changed = in;
    changed.x = x.detach().requires_grad_();
    return changed;
  };
  expect_equals_twin(with_state(at::randn({4, 5, 6, 3}).permute({3, 0, 1, 2})), 1,
                     "blocks innermost");
  expect_equals_twin(with_state(at::randn({3, 5, 4, 6}).transpose(1, 2)), 1, "time before batch");
  expect_equals_twin(with_state(at::randn({6, 4, 5, 6}).slice(0, 0, 6, 2)), 1,
                     "every second block");
  expect_equals_twin(with_state(at::randn({3, 4, 5, 9}).slice(3, 2, 8)), 1, "a slice of d");
  expect_equals_twin(with_state(at::randn({4, 5, 6}).expand({3, 4, 5, 6})), 1,
                     "one block expanded");
  expect_equals_twin(with_state(at::randn({5, 4, 6}).transpose(0, 1).expand({3, 4, 5, 6})), 1,
                     "one permuted block expanded");
  in.x_tilde = at::randn({4, 6, 5}).transpose(1, 2).detach().requires_grad_();
  in.p = at::randn({3, 3}).t().detach().requires_grad_();
  in.g = at::randn({6}).slice(0, 0, 6, 2).detach().requires_grad_();
  expect_equals_twin(in, 2, "everything else strided");
}

TEST_F(AltupUpdate, GradientOfAnExpandedStateReachesItsBlock) {
  const auto in = random_inputs(2, {2, 3, 4});
  const auto block = at::randn({2, 3, 4}, at::kDouble).requires_grad_();
  const auto function = [&] {
    return altup::update(block.unsqueeze(0).expand({2, 2, 3, 4}), in.x_tilde, in.p, in.g, 1);
  };
  EXPECT_TRUE(testing::gradients_match(function, {block, in.x_tilde, in.p, in.g}));
}

TEST_F(AltupUpdate, TakesAnExpandedGradient) {
  const auto in = random_inputs(2, {3, 4, 5});
  const auto exact = in_double(in);
  const auto actual = torch::autograd::grad({update(in, 0).sum()}, in.all());
  const auto expected = torch::autograd::grad({reference_update(exact, 0).sum()}, exact.all());
  for (size_t i = 0; i < actual.size(); ++i) {
    expect_close(actual[i], expected[i], 1e-13, kNames[i]);
  }
}

TEST_F(AltupUpdate, PassesGradcheck) {
  for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
    for (int64_t active = 0; active < num_blocks; ++active) {
      const auto in = random_inputs(num_blocks, {2, 2, 3});
      EXPECT_TRUE(testing::gradients_match([&] { return update(in, active); }, in.all()))
          << "K = " << num_blocks << ", active " << active;
    }
  }
}

TEST_F(AltupUpdate, HasASecondDerivative) {
  const auto in = random_inputs(2, {1, 2, 3});
  const auto penalty = [&] {
    const auto first =
        torch::autograd::grad({update(in, 1).pow(2).sum()}, in.all(), {}, true, true);
    return at::stack({first[0].pow(2).sum(), first[1].pow(2).sum(), first[2].pow(2).sum(),
                      first[3].pow(2).sum()});
  };
  const auto checked = [&] {
    const at::AutoGradMode grad(true);  // gradients_match evaluates without; the penalty needs it
    return penalty();
  };
  EXPECT_TRUE(testing::gradients_match(checked, in.all(), 1e-5, 1e-4));
}

TEST_F(AltupUpdate, StartsAsTheDenseLayerBitForBit) {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (int64_t num_blocks : {1, 2, 3, 4, 5}) {
      for (int64_t active = 0; active < num_blocks; ++active) {
        const auto block = at::randn({3, 5, 33}).to(type);
        const auto x_tilde = block + at::randn({3, 5, 33}).to(type);
        const auto x = block.unsqueeze(0).expand({num_blocks, 3, 5, 33});
        const auto p = at::eye(num_blocks), g = at::ones({num_blocks});
        for (const auto& y : {altup::update(x, x_tilde, p, g, active),
                              reference::update(x, x_tilde, p, g, active)}) {
          EXPECT_TRUE(y.equal(x_tilde.expand_as(y))) << type << " K = " << num_blocks;
        }
      }
    }
  }
}

// States of 8 MiB and more are written past the caches, their halves are not.
TEST_F(AltupUpdate, ALargeStateIsItsHalves) {
  for (const int64_t num_blocks : {1, 2, 3, 4}) {
    const int64_t tokens = (8 << 20) / (num_blocks * 512 * 4) + 2;
    auto whole = random_inputs(num_blocks, {1, tokens, 512}, at::kFloat);
    const auto dy = at::randn(whole.x.sizes());
    const auto results = [&](int64_t first, int64_t count) {
      Inputs part{whole.x.detach().narrow(2, first, count).requires_grad_(),
                  whole.x_tilde.detach().narrow(1, first, count).requires_grad_(), whole.p,
                  whole.g};
      const auto y = update(part, 0);
      auto gradients =
          torch::autograd::grad({y}, {part.x, part.x_tilde}, {dy.narrow(2, first, count)});
      return std::vector<at::Tensor>{y, gradients[0], gradients[1].unsqueeze(0)};
    };
    const auto large = results(0, tokens);
    const auto left = results(0, tokens / 2);
    const auto right = results(tokens / 2, tokens - tokens / 2);
    for (size_t i = 0; i < large.size(); ++i) {
      EXPECT_TRUE(torch::equal(large[i], torch::cat({left[i], right[i]}, 2)))
          << num_blocks << " blocks, result " << i;
    }
  }
}

TEST_F(AltupUpdate, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto in = random_inputs(3, {7, 130, 257}, type);
    const auto dy = at::randn(in.x.sizes()).to(type);
    std::vector<std::vector<at::Tensor>> results;
    for (const int count : {1, 2, 3}) {
      at::set_num_threads(count);
      const auto y = update(in, 2);
      results.push_back(torch::autograd::grad({y}, in.all(), {dy}));
      results.back().push_back(y.detach());
    }
    at::set_num_threads(threads);
    for (const auto& result : results) {
      for (size_t i = 0; i < result.size(); ++i) EXPECT_TRUE(result[i].equal(results[0][i])) << i;
    }
  }
}

TEST_F(AltupUpdate, RoundsBf16ToNearestEvenAndKeepsNaNAndInfinity) {
  // K = 1, p = 0, g = 1: y is x_tilde; a factor of the coefficient puts any fp32 number before the
  // rounding.
  const auto x = at::zeros({1, 1, 1, 40}, at::kBFloat16);
  const auto ones = at::ones({1, 1, 40}, at::kBFloat16);
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float value :
       {1.00390625f, 1.01171875f, 1.0039063f, -1.00390625f, 3.4e38f, 1e-40f, 0.0f, nan}) {
    const auto g = at::full({1}, value);
    const auto y = altup::update(x, ones, at::zeros({1, 1}), g, 0);
    const auto expected = g.to(at::kBFloat16).expand_as(y);
    EXPECT_TRUE(at::allclose(y, expected, 0, 0, /*equal_nan=*/true)) << value;
  }
  for (const float value : {inf, -inf}) {
    const auto y = altup::update(x, ones * value, at::zeros({1, 1}), at::ones({1}), 0);
    EXPECT_TRUE(y.equal((ones * value).unsqueeze(0))) << value;
  }
}

TEST_F(AltupUpdate, BringsMixedTypesToTheWider) {
  auto in = random_inputs(2, {2, 3, 9}, at::kFloat);
  in.x_tilde = in.x_tilde.detach().to(at::kBFloat16).requires_grad_();
  expect_equals_twin(in, 1, "fp32 state, bf16 layer output");

  in = random_inputs(2, {2, 3, 9}, at::kBFloat16);
  in.x_tilde = in.x_tilde.detach().to(at::kFloat).requires_grad_();
  EXPECT_EQ(update(in, 0).scalar_type(), at::kFloat);
  const auto block = in.x.detach().select(0, 0).requires_grad_();
  in.x = block.unsqueeze(0).expand({2, 2, 3, 9});
  EXPECT_EQ(torch::autograd::grad({update(in, 0).sum()}, {block})[0].scalar_type(), at::kBFloat16);
}

TEST_F(AltupUpdate, ComposesTypesWithoutAKernel) {
  const auto in = random_inputs(2, {2, 3, 4}, at::kHalf);
  const auto y = update(in, 1);
  EXPECT_EQ(y.scalar_type(), at::kHalf);
  expect_close(y, reference_update(in_double(in), 1), 2e-3, "y");
}

TEST_F(AltupUpdate, AutocastLowersNothing) {
  const auto in = random_inputs(2, {2, 3, 64}, at::kFloat);
  auto mixed = in;
  mixed.x_tilde = in.x_tilde.detach().to(at::kBFloat16);
  const auto expected = update(in, 1), expected_mixed = update(mixed, 1);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto y = update(in, 1), y_mixed = update(mixed, 1), y_twin = reference_update(in, 1);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_TRUE(y.equal(expected));
  EXPECT_TRUE(y_mixed.equal(expected_mixed));
  EXPECT_EQ(y_twin.scalar_type(), at::kFloat);
  expect_close(y_twin, expected.to(at::kDouble), 2e-6, "twin");
}

TEST_F(AltupUpdate, KnowsShapesOnMeta) {
  const auto meta = at::TensorOptions().device(at::kMeta);
  const auto y = altup::update(at::empty({4, 2, 3, 5}, meta.dtype(at::kBFloat16)),
                               at::empty({2, 3, 5}, meta.dtype(at::kFloat)),
                               at::empty({4, 4}, meta), at::empty({4}, meta), 3);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({4, 2, 3, 5}));
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_TRUE(y.is_meta());
}

TEST_F(AltupUpdate, SwitchesToTheTwin) {
  const auto in = random_inputs(2, {2, 3, 4}, at::kFloat);
  EXPECT_FALSE(use_reference_kernels());
  EXPECT_THAT(update(in, 0).grad_fn()->name(), HasSubstr("Update"));
  set_use_reference_kernels(true);
  const auto composed = update(in, 0);
  EXPECT_TRUE(use_reference_kernels());
  set_use_reference_kernels(false);
  EXPECT_THAT(composed.grad_fn()->name(), HasSubstr("Addcmul"));
  EXPECT_TRUE(composed.equal(reference_update(in, 0)));
}

TEST_F(AltupUpdate, NamesWhatIsWrong) {
  const auto x = at::randn({2, 3, 4, 5}), x_tilde = at::randn({3, 4, 5});
  const auto p = at::eye(2), g = at::ones({2});
  const auto message = [](const auto&... arguments) -> std::string {
    try {
      altup::update(arguments...);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_THAT(message(x[0], x_tilde, p, g, 0), HasSubstr("x must be [K, B, T, d], got [3, 4, 5]"));
  EXPECT_THAT(message(x, x, p, g, 0), HasSubstr("x_tilde must be [B, T, d], got [2, 3, 4, 5]"));
  EXPECT_THAT(message(x, at::randn({3, 4, 6}), p, g, 0),
              HasSubstr("x_tilde [3, 4, 6] must have the shape of one block of x [2, 3, 4, 5]"));
  EXPECT_THAT(message(x, x_tilde, at::eye(3), g, 0),
              HasSubstr("prediction_coefs [3, 3] must be [K, K] with the K = 2 of x"));
  EXPECT_THAT(message(x, x_tilde, g, g, 0), HasSubstr("must be [K, K] or [B, T, K, K], got [2]"));
  EXPECT_THAT(message(x, x_tilde, p, at::ones({3}), 0),
              HasSubstr("correction_coefs [3] must be [K] with the K = 2 of x"));
  EXPECT_THAT(message(x, x_tilde, p, g, 2), HasSubstr("active_block must be in [0, 2), got 2"));
  EXPECT_THAT(message(x, x_tilde, p, g, -1), HasSubstr("active_block must be in [0, 2), got -1"));
  EXPECT_THAT(message(x.to(at::kLong), x_tilde, p, g, 0),
              HasSubstr("must be real floating point, got Long"));
  EXPECT_THAT(message(x, x_tilde.to(at::kMeta), p, g, 0),
              HasSubstr("must be on one device, got cpu and meta"));
}

}  // namespace
}  // namespace altup
