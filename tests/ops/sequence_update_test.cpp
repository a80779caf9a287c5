// altup::sequence_update against Algorithm 2 of the paper written out number by number, and against
// finite differences.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using ::testing::HasSubstr;

struct Inputs {
  at::Tensor x, x_tilde, places, anchors, p, b;
  std::vector<at::Tensor> floating() const { return {x, x_tilde, p, b}; }
};

// Two sequences side by side, of 7 and 3 rows with every third computed: anchors 0 0 0 1 1 1 2, 3 3 3.
Inputs random_inputs(at::ScalarType type = at::kDouble, int64_t width = 5) {
  const auto sums = type == at::kDouble ? at::kDouble : at::kFloat;
  Inputs in{at::randn({10, width}).to(type),
            at::randn({4, width}).to(type),
            torch::tensor(std::vector<int64_t>{0, 3, 6, 7}),
            torch::tensor(std::vector<int64_t>{0, 0, 0, 1, 1, 1, 2, 3, 3, 3}),
            at::randn({2}).to(sums),
            at::randn({1}).to(sums)};
  for (auto tensor : in.floating()) tensor.requires_grad_();
  return in;
}

Inputs in_double(const Inputs& in) {
  const auto copy = [](const at::Tensor& t) {
    return t.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_();
  };
  return {copy(in.x), copy(in.x_tilde), in.places, in.anchors, copy(in.p), copy(in.b)};
}

at::Tensor update(const Inputs& in) {
  return sequence_update(in.x, in.x_tilde, in.places, in.anchors, in.p, in.b);
}

// Predict all rows, then correct each by its anchor.
at::Tensor algorithm_2(const Inputs& in) {
  const at::NoGradGuard no_grad;
  const auto x = in.x.to(at::kDouble), x_tilde = in.x_tilde.to(at::kDouble);
  const double a1 = in.p[0].item<double>(), a2 = in.p[1].item<double>();
  const double b = in.b[0].item<double>();
  const auto anchors = in.anchors.accessor<int64_t, 1>();
  const auto places = in.places.accessor<int64_t, 1>();
  auto predicted = at::empty_like(x), y = at::empty_like(x);
  for (int64_t n = 0; n < x.size(0); ++n) {
    for (int64_t i = 0; i < x.size(1); ++i) {
      predicted[n][i] = a1 * x[n][i] + a2 * x[places[anchors[n]]][i];
    }
  }
  for (int64_t n = 0; n < x.size(0); ++n) {
    for (int64_t i = 0; i < x.size(1); ++i) {
      y[n][i] = predicted[n][i] + b * (x_tilde[anchors[n]][i] - predicted[places[anchors[n]]][i]);
    }
  }
  return y;
}

// The formula as it stands, with the derivatives that autograd has for it.
at::Tensor algorithm_2_by_index(const Inputs& in) {
  const auto own = in.x.index_select(0, in.places).index_select(0, in.anchors);
  const auto predicted = in.p[0] * in.x + in.p[1] * own;
  const auto predicted_own = (in.p[0] + in.p[1]) * own;  // an anchor is its own anchor
  return predicted + in.b[0] * (in.x_tilde.index_select(0, in.anchors) - predicted_own);
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return;
  const auto error = (actual.to(at::kDouble) - expected).abs().max().item<double>();
  EXPECT_LE(error, tolerance * (1 + expected.abs().max().item<double>()));
}

class SequenceUpdateOperator : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_F(SequenceUpdateOperator, IsAlgorithm2InEveryType) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {1, 7, 64}) {
      const auto in = random_inputs(type, width);
      const auto y = update(in);
      EXPECT_EQ(y.scalar_type(), type);
      EXPECT_TRUE(y.is_contiguous());
      expect_close(y, algorithm_2(in),
                   type == at::kDouble  ? 1e-14
                   : type == at::kFloat ? 1e-6
                                        : 8e-3);
      const auto exact = in_double(in);
      const auto dy = at::randn(y.sizes()).to(type);
      const auto actual = torch::autograd::grad({y}, in.floating(), {dy});
      const auto expected = torch::autograd::grad({algorithm_2_by_index(exact)}, exact.floating(),
                                                  {dy.to(at::kDouble)});
      for (size_t i = 0; i < actual.size(); ++i) {
        const auto of = in.floating()[i].scalar_type();
        EXPECT_EQ(actual[i].scalar_type(), of);
        expect_close(actual[i], expected[i],
                     of == at::kDouble  ? 1e-13
                     : of == at::kFloat ? 1e-5
                                        : 8e-3);
      }
    }
  }
}

// Sequences of these lengths, every `stride`-th row computed.
Inputs inputs_of(const std::vector<int64_t>& lengths, int64_t stride, int64_t width) {
  std::vector<int64_t> places, anchors;
  for (const int64_t length : lengths) {
    const auto first = static_cast<int64_t>(anchors.size());
    for (int64_t i = 0; i < length; ++i) {
      if (i % stride == 0) places.push_back(first + i);
      anchors.push_back(static_cast<int64_t>(places.size()) - 1);
    }
  }
  const auto rows = static_cast<int64_t>(anchors.size());
  const auto computed = static_cast<int64_t>(places.size());
  Inputs in{at::randn({rows, width}), at::randn({computed, width}),
            torch::tensor(places),    torch::tensor(anchors),
            at::randn({2}),           at::randn({1})};
  for (auto tensor : in.floating()) tensor.requires_grad_();
  return in;
}

void expect_equals_twin(const Inputs& in) {
  const auto exact = in_double(in);
  const auto y = update(in);
  const auto y_exact = algorithm_2_by_index(exact);
  expect_close(y, y_exact, 1e-6);
  const auto dy = at::randn(y.sizes());
  const auto actual = torch::autograd::grad({y}, in.floating(), {dy});
  const auto expected = torch::autograd::grad({y_exact}, exact.floating(), {dy.to(at::kDouble)});
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].scalar_type(), at::kFloat);
    expect_close(actual[i], expected[i], 5e-6);
  }
}

TEST_F(SequenceUpdateOperator, OfAnySizeEqualsTheFormula) {
  for (const int64_t width : {1, 7, 8, 33, 512}) {
    for (const int64_t stride : {1, 2, 4, 100}) {
      expect_equals_twin(inputs_of({9, 1, 130, 4}, stride, width));
    }
  }
  expect_equals_twin(inputs_of({5}, 2, 0));
}

TEST_F(SequenceUpdateOperator, TakesRowsInAnyOrder) {
  const auto in = inputs_of({9, 1, 13, 4}, 3, 12);
  // The same rows, shuffled: row n is now row order[n].
  const auto order = at::randperm(27);
  const auto inverse = order.argsort();
  auto shuffled = in;
  shuffled.x = in.x.detach().index_select(0, order).requires_grad_();
  shuffled.anchors = in.anchors.index_select(0, order);
  shuffled.places = inverse.index_select(0, in.places);
  expect_equals_twin(shuffled);
  EXPECT_TRUE(update(shuffled).equal(update(in).index_select(0, order)));
  // In order, but one place is among another's rows: which formula it is does not matter.
  auto foreign = in;
  foreign.places = in.places.clone();
  foreign.places[1] = 0;
  expect_equals_twin(foreign);
  // A place of an anchor without rows, and everything strided.
  auto idle = in;
  idle.anchors = in.anchors.masked_fill(in.anchors == 2, 1);
  idle.x = at::randn({12, 27}).t().requires_grad_();
  idle.x_tilde = at::randn({in.x_tilde.size(0), 24}).slice(1, 0, 24, 2).requires_grad_();
  expect_equals_twin(idle);
}

TEST_F(SequenceUpdateOperator, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  const auto in = inputs_of(std::vector<int64_t>(40, 61), 4, 130);
  const auto dy = at::randn(in.x.sizes());
  std::vector<std::vector<at::Tensor>> results;
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    const auto y = update(in);
    results.push_back(torch::autograd::grad({y}, in.floating(), {dy}));
    results.back().push_back(y.detach());
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(results[0][i].equal(results[1][i])) << i;
  }
}

TEST_F(SequenceUpdateOperator, PassesGradcheck) {
  const auto in = random_inputs();
  EXPECT_TRUE(testing::gradients_match([&] { return update(in); }, in.floating()));
}

TEST_F(SequenceUpdateOperator, HasASecondDerivative) {
  const auto in = random_inputs();
  const auto checked = [&] {
    const at::AutoGradMode grad(true);
    const auto first =
        torch::autograd::grad({update(in).pow(2).sum()}, in.floating(), {}, true, true);
    return at::stack({first[0].pow(2).sum(), first[1].pow(2).sum(), first[2].pow(2).sum(),
                      first[3].pow(2).sum()});
  };
  EXPECT_TRUE(testing::gradients_match(checked, in.floating(), 1e-5, 1e-4));
}

TEST_F(SequenceUpdateOperator, StartsWithTheComputedRowsBitForBit) {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    auto in = random_inputs(type, 33);
    in.p = torch::tensor(std::vector<float>{1, 0});
    in.b = torch::tensor(std::vector<float>{1});
    for (const auto& y : {update(in), reference::sequence_update(in.x, in.x_tilde, in.places,
                                                                 in.anchors, in.p, in.b)}) {
      EXPECT_TRUE(y.index_select(0, in.places).equal(in.x_tilde)) << type;
      // The others move as their anchors do.
      const auto moved = in.x.to(at::kDouble) + (in.x_tilde.to(at::kDouble) -
                                                 in.x.to(at::kDouble).index_select(0, in.places))
                                                    .index_select(0, in.anchors);
      expect_close(y, moved.detach(), type == at::kBFloat16 ? 8e-3 : 1e-6);
    }
  }
}

TEST_F(SequenceUpdateOperator, BringsMixedTypesToTheWiderAndIsNotLowered) {
  auto in = random_inputs(at::kFloat, 64);
  in.x_tilde = in.x_tilde.detach().to(at::kBFloat16).requires_grad_();
  const auto expected = update(in);
  EXPECT_EQ(expected.scalar_type(), at::kFloat);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto y = update(in);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_TRUE(y.equal(expected));
  EXPECT_EQ(torch::autograd::grad({y.sum()}, {in.x_tilde})[0].scalar_type(), at::kBFloat16);
}

TEST_F(SequenceUpdateOperator, KnowsShapesOnMeta) {
  const auto in = random_inputs(at::kFloat);
  const auto y =
      sequence_update(in.x.to(at::kMeta), in.x_tilde.to(at::kMeta), in.places.to(at::kMeta),
                      in.anchors.to(at::kMeta), in.p.to(at::kMeta), in.b.to(at::kMeta));
  EXPECT_EQ(y.sizes(), in.x.sizes());
  EXPECT_TRUE(y.is_meta());
}

TEST_F(SequenceUpdateOperator, NamesWhatIsWrong) {
  const auto in = random_inputs();
  const auto message = [](const Inputs& wrong) -> std::string {
    try {
      update(wrong);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const auto with = [&](auto&& change) {
    auto wrong = in;
    change(wrong);
    return message(wrong);
  };
  EXPECT_THAT(with([](Inputs& i) { i.x = i.x.unsqueeze(0); }),
              HasSubstr("x must be [N, d] and x_tilde [M, d], got [1, 10, 5] and [4, 5]"));
  EXPECT_THAT(with([](Inputs& i) {
                i.x_tilde = at::randn({4, 6}, at::kDouble);
              }),
              HasSubstr("x [10, 5] and x_tilde [4, 6] must have one width"));
  EXPECT_THAT(with([](Inputs& i) { i.places = i.places.narrow(0, 0, 3); }),
              HasSubstr("places [3] must have a row of x for each of x_tilde [4, 5]"));
  EXPECT_THAT(with([](Inputs& i) { i.anchors = i.anchors.narrow(0, 0, 3); }),
              HasSubstr("anchors [3] must have one for each row of x [10, 5]"));
  EXPECT_THAT(with([](Inputs& i) { i.places = i.places.to(at::kInt); }),
              HasSubstr("must be int64, got Int"));
  EXPECT_THAT(with([](Inputs& i) { i.p = at::randn({3}); }),
              HasSubstr("prediction_coefs must be [2], got [3]"));
  EXPECT_THAT(with([](Inputs& i) { i.b = at::randn({2}); }),
              HasSubstr("correction_coefs must be [1], got [2]"));
  EXPECT_THAT(with([](Inputs& i) { i.x = i.x.to(at::kLong); }),
              HasSubstr("must be real floating point, got Long"));
  EXPECT_THAT(with([](Inputs& i) {
                i.places = torch::tensor(std::vector<int64_t>{0, 3, 6, 10});
              }),
              HasSubstr("out of range"));
}

}  // namespace
}  // namespace altup
