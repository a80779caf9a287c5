#include "altup/modules/attention.h"

#include <gtest/gtest.h>

namespace altup {
namespace {

constexpr int64_t kHeads = 3;
constexpr int64_t kHeadWidth = 4;  // d_kv

Attention make_attention(int64_t memory_width) {
  Attention attention(AttentionConfig{
      .d_model = 10, .memory_width = memory_width, .d_kv = kHeadWidth, .num_heads = kHeads});
  attention->reset_parameters();
  return attention;
}

// Head by head, with no scaling of the scores.
torch::Tensor by_hand(Attention& attention, const torch::Tensor& x, const torch::Tensor& memory,
                      const torch::Tensor& bias) {
  const auto q = torch::matmul(x, attention->q->weight.t());
  const auto k = torch::matmul(memory, attention->k->weight.t());
  const auto v = torch::matmul(memory, attention->v->weight.t());
  std::vector<torch::Tensor> heads;
  for (int64_t h = 0; h < kHeads; ++h) {
    const auto part = [&](const torch::Tensor& all) {
      return all.narrow(2, h * kHeadWidth, kHeadWidth);
    };
    const auto scores = torch::matmul(part(q), part(k).transpose(1, 2)) + bias.select(1, h);
    heads.push_back(torch::matmul(torch::softmax(scores, -1), part(v)));
  }
  return torch::matmul(torch::cat(heads, 2), attention->o->weight.t());
}

class AttentionPath : public ::testing::TestWithParam<bool> {};  // with gradients or without
INSTANTIATE_TEST_SUITE_P(Modes, AttentionPath, ::testing::Bool());

TEST_P(AttentionPath, ComputesUnscaledMultiHeadAttention) {
  torch::manual_seed(1);
  torch::AutoGradMode gradients(GetParam());
  auto self = make_attention(10);
  const auto x = torch::randn({2, 5, 10});
  const auto by_distance = torch::randn({kHeads, 9});
  auto bias = torch::empty({1, kHeads, 5, 5});
  for (int64_t query = 0; query < 5; ++query) {
    for (int64_t key = 0; key < 5; ++key) {
      bias[0].select(1, query).select(1, key).copy_(by_distance.select(1, key - query + 4));
    }
  }
  EXPECT_TRUE(
      torch::allclose(self->self_attention(x, {.relative_bias = by_distance, .zero_distance = 4}),
                      by_hand(self, x, x, bias), 1e-4, 1e-5));

  auto cross = make_attention(20);
  const auto memory = torch::randn({2, 7, 20});
  const auto memory_bias = torch::randn({2, 7});
  EXPECT_TRUE(torch::allclose(
      cross->cross_attention(x, memory, {.key_bias = memory_bias}),
      by_hand(cross, x, memory, memory_bias.view({2, 1, 1, 7}).expand({2, kHeads, 1, 7})), 1e-4,
      1e-5));
}

TEST_P(AttentionPath, GivesFiniteResultsWhereNoKeyIsVisible) {
  torch::manual_seed(2);
  torch::AutoGradMode gradients(GetParam());
  auto attention = make_attention(10);
  const auto x = torch::randn({1, 4, 10});
  const auto hidden = mask_to_bias(torch::zeros({1, 4}, torch::kBool), torch::kFloat);
  EXPECT_TRUE(
      torch::isfinite(attention->cross_attention(x, x, {.key_bias = hidden})).all().item<bool>());
}

TEST(Attention, MaskHidesWhereItIsFalse) {
  const auto bias = mask_to_bias(torch::tensor({1, 0, 1}, torch::kBool), torch::kFloat);
  EXPECT_EQ(bias[0].item<float>(), 0.0F);
  EXPECT_EQ(torch::exp(bias[1]).item<float>(), 0.0F);
  EXPECT_EQ(bias[2].item<float>(), 0.0F);
}

TEST(Attention, CacheKeepsEveryTokenWhileItGrows) {
  torch::manual_seed(3);
  AttentionCache cache;
  std::vector<torch::Tensor> keys;
  std::vector<torch::Tensor> values;
  for (const int64_t tokens : {3, 1, 14, 1, 40}) {
    keys.push_back(torch::randn({2, kHeads, tokens, kHeadWidth}));
    values.push_back(torch::randn({2, kHeads, tokens, kHeadWidth}));
    cache.append(keys.back().transpose(1, 2), values.back().transpose(1, 2));
    EXPECT_TRUE(torch::equal(cache.current_keys(), torch::cat(keys, 2)));
    EXPECT_TRUE(torch::equal(cache.current_values(), torch::cat(values, 2)));
  }
}

TEST(Attention, CrossAttentionReadsTheMemoryOnlyOnceWithACache) {
  torch::manual_seed(4);
  torch::NoGradGuard no_grad;
  auto attention = make_attention(20);
  const auto x = torch::randn({1, 1, 10});
  AttentionCache cache;
  const auto first = attention->cached_cross_attention(x, torch::randn({1, 6, 20}), {}, cache);
  const auto second = attention->cached_cross_attention(x, torch::randn({1, 6, 20}), {}, cache);
  EXPECT_TRUE(torch::equal(first, second));
}

TEST(Attention, IsInitialisedAsInT5) {
  torch::manual_seed(5);
  Attention attention(
      AttentionConfig{.d_model = 128, .memory_width = 256, .d_kv = 32, .num_heads = 8});
  attention->reset_parameters();
  const auto deviation = [](const Linear& linear) { return linear->weight.std().item<double>(); };
  EXPECT_NEAR(deviation(attention->q) * std::sqrt(128 * 32), 1.0, 0.03);
  EXPECT_NEAR(deviation(attention->k) * std::sqrt(256), 1.0, 0.03);
  EXPECT_NEAR(deviation(attention->v) * std::sqrt(256), 1.0, 0.03);
  EXPECT_NEAR(deviation(attention->o) * std::sqrt(8 * 32), 1.0, 0.03);
}

}  // namespace
}  // namespace altup
