// altup::attention against its twin, by hand and by finite differences, over shapes, strides, biases
// and types.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

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

/// What a case has beside q, k and v.
struct Case {
  bool relative_bias = false;
  bool padded = false;
  bool causal = false;
  double dropout = 0.0;
  std::vector<int64_t> query_offsets = {};
  std::vector<int64_t> key_offsets = {};

  std::string name() const {
    return std::string(relative_bias ? ", bias" : "") + (padded ? ", padded" : "") +
           (causal ? ", causal" : "") + (dropout > 0 ? ", dropout" : "") +
           (query_offsets.empty() ? "" : ", offsets");
  }
};

/// q, k, v and the bias, if any, as inputs of the operator and of its twin.
void expect_equals_twin(const Shape& s, at::ScalarType type, const Case& c) {
  std::vector<at::Tensor> inputs = {
      leaf(at::randn({s.batch, s.queries, s.heads, s.width}).div(std::sqrt(s.width)).to(type)),
      leaf(at::randn({s.batch, s.keys, s.heads, s.width}).to(type)),
      leaf(at::randn({s.batch, s.keys, s.heads, s.width}).to(type))};
  AttentionOptions options{.zero_distance = s.queries + 1,
                           .causal = c.causal,
                           .dropout = c.dropout,
                           .seed = 0x123456789abcdef};
  if (c.relative_bias) {
    // In fp32 beside bf16, as in training; it reaches further than it has to.
    const auto bias_type = type == at::kDouble ? at::kDouble : at::kFloat;
    inputs.push_back(leaf(at::randn({s.heads, s.queries + s.keys + 3}).to(bias_type)));
  }
  if (c.padded) {
    const auto lengths = at::randint(1, s.keys + 1, {s.batch, 1}, at::kLong);
    options.key_bias = (at::arange(s.keys).unsqueeze(0) >= lengths).to(at::kFloat) * -1e9;
  }
  if (!c.query_offsets.empty()) {
    options.query_offsets = at::tensor(c.query_offsets);
    options.key_offsets = at::tensor(c.key_offsets);
  }
  const auto options_of = [&](const auto& in) {
    auto result = options;
    if (in.size() > 3) result.relative_bias = in[3];
    return result;
  };
  const auto op = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{attention(in[0], in[1], in[2], options_of(in))};
  };
  const auto twin = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{reference::attention(in[0], in[1], in[2], options_of(in))};
  };
  // Two products of rounded numbers stand between a gradient and its inputs.
  const double of_gradients = type == at::kBFloat16 ? 3e-2 : testing::tolerance_of(type);
  testing::expect_equals_twin(op, twin, inputs, testing::label(s.queries, type) + c.name(),
                              of_gradients);
}

TEST_F(AttentionOp, ByHand) {
  // One head of width 1: scores 0 and ln 3, so weights 1/4 and 3/4.
  const auto q = torch::ones({1, 1, 1, 1});
  const auto k = torch::tensor({0.0F, std::log(3.0F)}).view({1, 2, 1, 1});
  const auto v = torch::tensor({8.0F, 4.0F}).view({1, 2, 1, 1});
  EXPECT_NEAR(attention(q, k, v).item<float>(), 5.0F, 1e-5);
  // A bias of ln 3 on the first key, at distance 0, makes the weights equal.
  const auto bias = torch::tensor({7.0F, std::log(3.0F), 0.0F}).view({1, 3});
  EXPECT_NEAR(attention(q, k, v, {.relative_bias = bias, .zero_distance = 1}).item<float>(), 6.0F,
              1e-5);
  // The second key is behind the query.
  EXPECT_NEAR(attention(q, k, v, {.causal = true}).item<float>(), 8.0F, 1e-5);
}

TEST_F(AttentionOp, EqualsItsTwin) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const bool relative_bias : {false, true}) {
      for (const bool padded : {false, true}) {
        for (const double dropout : {0.0, 0.3}) {
          const Case c{.relative_bias = relative_bias, .padded = padded, .dropout = dropout};
          expect_equals_twin({6, 5, 19, 2, 8}, type, c);
          expect_equals_twin({1, 1, 33, 3, 4}, type, c);
          expect_equals_twin({4, 7, 3, 1, 3}, type, c);
        }
      }
    }
  }
}

// Whole and broken blocks of queries, and depths of more than one block.
TEST_F(AttentionOp, EqualsItsTwinOverManyBlocks) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    expect_equals_twin({1, 101, 1100, 1, 8}, type, {.relative_bias = true, .padded = true});
    expect_equals_twin({1, 96, 64, 1, 64}, type, {.relative_bias = true});
    expect_equals_twin({1, 50, 70, 2, 80}, type, {.dropout = 0.1});
  }
}

TEST_F(AttentionOp, EqualsItsTwinWhereKeysBehindTheQueryAreHidden) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int64_t length : {2, 6, 47, 48, 49, 100, 131}) {
      expect_equals_twin({2, length, length, 2, 16}, type,
                         {.relative_bias = true, .causal = true, .dropout = 0.1});
    }
    expect_equals_twin({1, 60, 20, 1, 8}, type, {.causal = true});
    expect_equals_twin({1, 20, 60, 1, 8}, type, {.causal = true});
  }
}

TEST_F(AttentionOp, EqualsItsTwinOnSequencesSideBySide) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const bool causal : {false, true}) {
      Case c{.relative_bias = true, .causal = causal, .dropout = 0.2};
      c.query_offsets = {0, 1, 50, 50, 61, 70};
      c.key_offsets = {0, 3, 40, 45, 46, 110};
      expect_equals_twin({1, 70, 110, 3, 8}, type, c);
    }
  }
}

// Each as if it were alone.
TEST_F(AttentionOp, ASequenceSeesNothingOfItsNeighbours) {
  const std::vector<int64_t> offsets = {0, 5, 6, 20};
  const auto q = at::randn({1, 20, 2, 8});
  const auto k = at::randn({1, 20, 2, 8});
  const auto v = at::randn({1, 20, 2, 8});
  AttentionOptions options{.relative_bias = at::randn({2, 27}), .zero_distance = 13};
  options.query_offsets = options.key_offsets = at::tensor(offsets);
  const auto together = attention(q, k, v, options);
  options.query_offsets = options.key_offsets = at::Tensor();
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(1, offsets[i], offsets[i + 1] - offsets[i]);
    };
    EXPECT_TRUE(torch::equal(part(together), attention(part(q), part(k), part(v), options))) << i;
  }
}

TEST_F(AttentionOp, DropoutDropsItsShareAndKeepsTheMean) {
  // Equal scores and values of one: an output is the share of the weights that are kept, scaled up.
  const auto q = at::zeros({8, 64, 4, 4});
  const auto k = at::zeros({8, 100, 4, 4});
  const auto v = at::ones({8, 100, 4, 4});
  const auto out = attention(q, k, v, {.dropout = 0.25, .seed = 7}).select(3, 0);
  // 204,800 draws: the mean's deviation is 0.0013, that of an output of 100 draws 0.058.
  EXPECT_NEAR(out.mean().item<double>(), 1.0, 0.006);
  EXPECT_NEAR(out.std().item<double>(), 0.0577, 0.004);
  const auto same = attention(q, k, v, {.dropout = 0.25, .seed = 7}).select(3, 0);
  const auto other = attention(q, k, v, {.dropout = 0.25, .seed = 8}).select(3, 0);
  EXPECT_TRUE(torch::equal(out, same));
  EXPECT_FALSE(torch::equal(out, other));
}

TEST_F(AttentionOp, StridesAreReadAsTheyAre) {
  const auto packed = at::randn({2, 7, 3, 4, 8});  // q, k and v of one product
  const auto q = packed.select(2, 0);
  const auto k = packed.select(2, 1);
  const auto v = packed.select(2, 2);
  const auto bias = at::randn({4, 26}).slice(1, 0, 26, 2);
  const auto dense = at::empty({4, 7, 2, 8}).permute({2, 1, 0, 3});  // as if by head
  dense.copy_(q);
  const auto expected = attention(q.contiguous(), k.contiguous(), v.contiguous(),
                                  {.relative_bias = bias.contiguous(), .zero_distance = 6});
  const AttentionOptions options{.relative_bias = bias, .zero_distance = 6};
  EXPECT_TRUE(torch::equal(attention(q, k, v, options), expected));
  EXPECT_TRUE(torch::equal(attention(dense, k, v, options), expected));
}

TEST_F(AttentionOp, HiddenKeysAreNotSeen) {
  const auto q = at::randn({2, 3, 2, 4});
  const auto k = at::randn({2, 5, 2, 4});
  const auto v = at::randn({2, 5, 2, 4});
  auto key_bias = at::zeros({2, 5});
  key_bias[1].narrow(0, 3, 2).fill_(-1e9);
  auto changed = v.clone();
  changed[1].narrow(0, 3, 2).fill_(1e6);
  EXPECT_TRUE(torch::equal(attention(q, k, v, {.key_bias = key_bias}),
                           attention(q, k, changed, {.key_bias = key_bias})));
}

TEST_F(AttentionOp, HiddenKeysWeighNothingAtAll) {
  const auto q = leaf(at::randn({1, 3, 2, 4}));
  const auto k = leaf(at::randn({1, 20, 2, 4}));
  const auto v = leaf(at::randn({1, 20, 2, 4}));
  auto key_bias = at::zeros({1, 20});
  key_bias[0].narrow(0, 17, 3).fill_(-1e9);
  const auto out = attention(q, k, v, {.key_bias = key_bias});
  // Large enough for any weight above 0 to leave a trace.
  const auto gradients = torch::autograd::grad({out}, {k, v}, {at::full(out.sizes(), 1e30)});
  for (const auto& gradient : gradients) {
    EXPECT_EQ(gradient[0].narrow(0, 17, 3).abs().max().item<float>(), 0.0F);
  }
}

TEST_F(AttentionOp, GradientsAreThoseOfFiniteDifferences) {
  const auto q = leaf(at::randn({1, 5, 2, 2}, at::kDouble));
  const auto k = leaf(at::randn({1, 6, 2, 2}, at::kDouble));
  const auto v = leaf(at::randn({1, 6, 2, 2}, at::kDouble));
  const auto bias = leaf(at::randn({2, 10}, at::kDouble));
  AttentionOptions options{.relative_bias = bias, .zero_distance = 4, .dropout = 0.2, .seed = 3};
  for (const bool divided : {false, true}) {
    options.causal = divided;
    if (divided) {
      options.query_offsets = at::tensor(std::vector<int64_t>{0, 2, 5});
      options.key_offsets = at::tensor(std::vector<int64_t>{0, 4, 6});
    }
    EXPECT_TRUE(
        testing::gradients_match([&] { return attention(q, k, v, options); }, {q, k, v, bias}));
  }
}

TEST_F(AttentionOp, DoesNotDependOnTheNumberOfThreads) {
  const std::vector<at::Tensor> in = {leaf(at::randn({7, 20, 3, 8})),
                                      leaf(at::randn({7, 20, 3, 8})),
                                      leaf(at::randn({7, 20, 3, 8})), leaf(at::randn({3, 39}))};
  const auto d = at::randn({7, 20, 3, 8});
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const auto out =
        attention(in[0], in[1], in[2],
                  {.relative_bias = in[3], .zero_distance = 19, .dropout = 0.1, .seed = 1});
    return torch::autograd::grad({out}, in, {d});
  };
  const auto one = run(1);
  const auto two = run(2);
  at::set_num_threads(before);
  for (size_t i = 0; i < in.size(); ++i) EXPECT_TRUE(torch::equal(one[i], two[i])) << i;
}

TEST_F(AttentionOp, UnderAutocastTheBiasKeepsItsGradientsType) {
  const auto q = leaf(at::randn({2, 3, 2, 4}));
  const auto bias = leaf(at::randn({2, 5}));
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto out = attention(q, q, q, {.relative_bias = bias, .zero_distance = 2});
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  const auto gradients = torch::autograd::grad({out.sum()}, {q, bias});
  EXPECT_EQ(gradients[0].scalar_type(), at::kFloat);
  EXPECT_EQ(gradients[1].scalar_type(), at::kFloat);
}

TEST_F(AttentionOp, RefusesWhatDoesNotFit) {
  const auto message = [](at::IntArrayRef q, at::IntArrayRef k,
                          const AttentionOptions& options) -> std::string {
    try {
      attention(at::randn(q), at::randn(k), at::randn(k), options);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  const auto offsets = [](std::vector<int64_t> values) { return at::tensor(values); };
  EXPECT_THAT(message({2, 3, 2, 4}, {2, 5, 2, 8}, {}),
              ::testing::HasSubstr("differ in their length"));
  EXPECT_THAT(message({2, 3, 2, 4}, {2, 5, 2, 4}, {.relative_bias = at::randn({2, 6})}),
              ::testing::HasSubstr("relative_bias [2, 6] with distance 0 in column 0 must reach "
                                   "from -2 to 4"));
  EXPECT_THAT(message({2, 3, 2, 4}, {2, 5, 2, 4}, {.relative_bias = at::randn({3, 7})}),
              ::testing::HasSubstr("relative_bias [3, 7] must be [H, distances]"));
  EXPECT_THAT(message({2, 3, 2, 4}, {2, 5, 2, 4}, {.dropout = 1.0}),
              ::testing::HasSubstr("dropout must be in [0, 1), got 1"));
  EXPECT_THAT(message({1, 3, 2, 4}, {1, 5, 2, 4}, {.query_offsets = offsets({0, 3})}),
              ::testing::HasSubstr("given together or not at all"));
  EXPECT_THAT(message({2, 3, 2, 4}, {2, 5, 2, 4},
                      {.query_offsets = offsets({0, 3}), .key_offsets = offsets({0, 5})}),
              ::testing::HasSubstr("divide one row of tokens"));
  EXPECT_THAT(message({1, 3, 2, 4}, {1, 5, 2, 4},
                      {.query_offsets = offsets({0, 2}), .key_offsets = offsets({0, 5})}),
              ::testing::HasSubstr("end with the number of tokens, 3 and 5"));
  EXPECT_THAT(message({1, 3, 2, 4}, {1, 5, 2, 4},
                      {.query_offsets = offsets({0}), .key_offsets = offsets({0})}),
              ::testing::HasSubstr("end with the number of tokens, 3 and 5"));
  EXPECT_THAT(message({1, 3, 2, 4}, {1, 5, 2, 4},
                      {.query_offsets = offsets({0, 2, 3}), .key_offsets = offsets({0, 5, 5})}),
              ::testing::HasSubstr("queries without a key"));
}

}  // namespace
}  // namespace altup
