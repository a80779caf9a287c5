// altup::attention against its twin, by hand and by finite differences, over shapes, strides, biases
// and types.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/ops/twins.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::leaf;

class AttentionOp : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

struct Shape {
  int64_t batch, queries, keys, heads, width;
};

enum class BiasBatch { kNone, kShared, kEach };

/// q, k, v and the bias, if any, as inputs of the operator and of its twin.
void expect_equals_twin(const Shape& s, at::ScalarType type, BiasBatch biases, bool hide_padding) {
  std::vector<at::Tensor> inputs = {
      leaf(at::randn({s.batch, s.queries, s.heads, s.width}).div(std::sqrt(s.width)).to(type)),
      leaf(at::randn({s.batch, s.keys, s.heads, s.width}).to(type)),
      leaf(at::randn({s.batch, s.keys, s.heads, s.width}).to(type))};
  if (biases != BiasBatch::kNone) {
    const int64_t rows = biases == BiasBatch::kShared ? 1 : s.batch;
    // In fp32 beside bf16, as in training.
    const auto bias_type = type == at::kDouble ? at::kDouble : at::kFloat;
    inputs.push_back(leaf(at::randn({rows, s.heads, s.queries, s.keys}).to(bias_type)));
  }
  at::Tensor key_bias;
  if (hide_padding) {
    const auto lengths = at::randint(1, s.keys + 1, {s.batch, 1}, at::kLong);
    key_bias = (at::arange(s.keys).unsqueeze(0) >= lengths).to(at::kFloat) * -1e9;
  }
  const auto bias_of = [&](const auto& in) { return in.size() > 3 ? in[3] : at::Tensor(); };
  const auto op = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{attention(in[0], in[1], in[2], bias_of(in), key_bias)};
  };
  const auto twin = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{
        reference::attention(in[0], in[1], in[2], bias_of(in), key_bias)};
  };
  // Two products of rounded numbers stand between a gradient and its inputs.
  const double of_gradients = type == at::kBFloat16 ? 3e-2 : testing::tolerance_of(type);
  testing::expect_equals_twin(op, twin, inputs,
                              testing::label(s.queries, type) + (hide_padding ? ", padded" : "") +
                                  ", bias " + std::to_string(static_cast<int>(biases)),
                              of_gradients);
}

TEST_F(AttentionOp, ByHand) {
  // One head of width 1: scores 0 and ln 3, so weights 1/4 and 3/4.
  const auto q = torch::ones({1, 1, 1, 1});
  const auto k = torch::tensor({0.0F, std::log(3.0F)}).view({1, 2, 1, 1});
  const auto v = torch::tensor({8.0F, 4.0F}).view({1, 2, 1, 1});
  EXPECT_NEAR(attention(q, k, v).item<float>(), 5.0F, 1e-5);
  // A bias of ln 3 on the first key makes the weights equal.
  const auto bias = torch::tensor({std::log(3.0F), 0.0F}).view({1, 1, 1, 2});
  EXPECT_NEAR(attention(q, k, v, bias).item<float>(), 6.0F, 1e-5);
}

TEST_F(AttentionOp, EqualsItsTwin) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const auto biases : {BiasBatch::kNone, BiasBatch::kShared, BiasBatch::kEach}) {
      for (const bool hide_padding : {false, true}) {
        expect_equals_twin({6, 5, 19, 2, 8}, type, biases, hide_padding);
        expect_equals_twin({1, 1, 33, 3, 4}, type, biases, hide_padding);
      }
    }
  }
}

// 1,100 queries of 1,000 keys are two tiles.
TEST_F(AttentionOp, EqualsItsTwinInTiles) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    expect_equals_twin({1, 1100, 1000, 1, 8}, type, BiasBatch::kShared, true);
  }
}

TEST_F(AttentionOp, StridesAreReadAsTheyAre) {
  const auto packed = at::randn({2, 7, 3, 4, 8});  // q, k and v of one product
  const auto q = packed.select(2, 0);
  const auto k = packed.select(2, 1);
  const auto v = packed.select(2, 2);
  const auto bias = at::randn({1, 4, 7, 14}).slice(3, 0, 14, 2);
  EXPECT_TRUE(torch::allclose(
      attention(q, k, v, bias),
      attention(q.contiguous(), k.contiguous(), v.contiguous(), bias.contiguous()), 1e-6, 1e-6));
}

TEST_F(AttentionOp, HiddenKeysAreNotSeen) {
  const auto q = at::randn({2, 3, 2, 4});
  const auto k = at::randn({2, 5, 2, 4});
  const auto v = at::randn({2, 5, 2, 4});
  auto key_bias = at::zeros({2, 5});
  key_bias[1].narrow(0, 3, 2).fill_(-1e9);
  auto changed = v.clone();
  changed[1].narrow(0, 3, 2).fill_(1e6);
  EXPECT_TRUE(
      torch::equal(attention(q, k, v, {}, key_bias), attention(q, k, changed, {}, key_bias)));
}

TEST_F(AttentionOp, HiddenKeysWeighNothingAtAll) {
  const auto q = leaf(at::randn({1, 3, 2, 4}));
  const auto k = leaf(at::randn({1, 20, 2, 4}));
  const auto v = leaf(at::randn({1, 20, 2, 4}));
  auto key_bias = at::zeros({1, 20});
  key_bias[0].narrow(0, 17, 3).fill_(-1e9);
  const auto out = attention(q, k, v, {}, key_bias);
  // Large enough for any weight above 0 to leave a trace.
  const auto gradients = torch::autograd::grad({out}, {k, v}, {at::full(out.sizes(), 1e30)});
  for (const auto& gradient : gradients) {
    EXPECT_EQ(gradient[0].narrow(0, 17, 3).abs().max().item<float>(), 0.0F);
  }
}

TEST_F(AttentionOp, GradientsAreThoseOfFiniteDifferences) {
  const auto q = leaf(at::randn({2, 3, 2, 2}, at::kDouble));
  const auto k = leaf(at::randn({2, 4, 2, 2}, at::kDouble));
  const auto v = leaf(at::randn({2, 4, 2, 2}, at::kDouble));
  const auto bias = leaf(at::randn({1, 2, 3, 4}, at::kDouble));
  EXPECT_TRUE(testing::gradients_match([&] { return attention(q, k, v, bias); }, {q, k, v, bias}));
}

TEST_F(AttentionOp, DoesNotDependOnTheNumberOfThreads) {
  const std::vector<at::Tensor> in = {
      leaf(at::randn({7, 20, 3, 8})), leaf(at::randn({7, 20, 3, 8})),
      leaf(at::randn({7, 20, 3, 8})), leaf(at::randn({1, 3, 20, 20}))};
  const auto d = at::randn({7, 20, 3, 8});
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    return torch::autograd::grad({attention(in[0], in[1], in[2], in[3])}, in, {d});
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < in.size(); ++i) EXPECT_TRUE(torch::equal(one[i], two[i])) << i;
}

TEST_F(AttentionOp, UnderAutocastTheBiasKeepsItsGradientsType) {
  const auto q = leaf(at::randn({2, 3, 2, 4}));
  const auto bias = leaf(at::randn({1, 2, 3, 3}));
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto out = attention(q, q, q, bias);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  const auto gradients = torch::autograd::grad({out.sum()}, {q, bias});
  EXPECT_EQ(gradients[0].scalar_type(), at::kFloat);
  EXPECT_EQ(gradients[1].scalar_type(), at::kFloat);
}

TEST_F(AttentionOp, RefusesWhatDoesNotFit) {
  const auto message = [](at::IntArrayRef k, at::IntArrayRef bias) -> std::string {
    try {
      attention(at::randn({2, 3, 2, 4}), at::randn(k), at::randn(k), at::randn(bias));
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  EXPECT_THAT(message({2, 5, 2, 8}, {1, 2, 3, 5}), ::testing::HasSubstr("differ in their length"));
  EXPECT_THAT(message({2, 5, 2, 4}, {1, 2, 5, 3}),
              ::testing::HasSubstr("bias [1, 2, 5, 3] must be [1 or B, H, T, S]"));
}

}  // namespace
}  // namespace altup
