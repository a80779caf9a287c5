#include "altup/modules/feed_forward.h"

#include <gtest/gtest.h>

#include <cmath>

namespace altup {
namespace {

torch::Tensor product(const torch::Tensor& x, const torch::Tensor& weight) {
  return torch::matmul(x, weight.t());
}

TEST(FeedForward, GatesWithTheTanhFormOfGelu) {
  torch::manual_seed(1);
  FeedForward layer(FeedForwardConfig{.d_model = 5, .d_ff = 7, .gated_gelu = true});
  layer->reset_parameters();
  const auto x = torch::randn({2, 3, 5});
  const auto gate = product(x, layer->wi_0->weight);
  const auto gelu =
      0.5 * gate * (1 + torch::tanh(std::sqrt(2 / M_PI) * (gate + 0.044715 * gate.pow(3))));
  const auto expected = product(gelu * product(x, layer->wi_1->weight), layer->wo->weight);
  EXPECT_TRUE(torch::allclose(layer(x), expected, 1e-5, 1e-6));
}

TEST(FeedForward, IsReluWithOneProjectionInT5Version10) {
  torch::manual_seed(2);
  FeedForward layer(FeedForwardConfig{.d_model = 5, .d_ff = 7, .gated_gelu = false});
  layer->reset_parameters();
  ASSERT_TRUE(layer->wi_0.is_empty());
  const auto x = torch::randn({2, 3, 5});
  const auto expected = product(product(x, layer->wi->weight).clamp_min(0), layer->wo->weight);
  EXPECT_TRUE(torch::allclose(layer(x), expected, 1e-5, 1e-6));
}

TEST(FeedForward, DropsOnlyInTraining) {
  torch::manual_seed(3);
  FeedForward layer(FeedForwardConfig{.d_model = 8, .d_ff = 64, .dropout = 0.5});
  layer->reset_parameters();
  const auto x = torch::randn({4, 8});
  EXPECT_FALSE(torch::equal(layer(x), layer(x)));
  layer->eval();
  EXPECT_TRUE(torch::equal(layer(x), layer(x)));
}

}  // namespace
}  // namespace altup
