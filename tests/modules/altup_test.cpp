#include "altup/modules/altup.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/support/gradcheck.h"

namespace altup {
namespace {

constexpr int64_t kTokenModel = 5;

// In double, with maps away from their start of 0.
AltUpUpdate token_update(int64_t num_blocks, int64_t active, bool only_active) {
  torch::manual_seed(4);
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = num_blocks,
                                       .active_block = active,
                                       .only_active = only_active,
                                       .of_token = true,
                                       .d_model = kTokenModel});
  update->reset_parameters();
  update->to(torch::kDouble);
  torch::NoGradGuard no_grad;
  for (auto* map : {&update->prediction_coefs, &update->correction_coefs}) map->normal_();
  update->router_norm->weight.uniform_(0.5, 1.5);
  return update;
}

// The equations of Gemma 3n's coefficients, one number at a time. v: a token.
std::vector<double> route(const AltUpUpdate& update, const torch::Tensor& v) {
  double mean_square = 0;
  for (int64_t i = 0; i < kTokenModel; ++i) mean_square += std::pow(v[i].item<double>(), 2);
  mean_square /= kTokenModel;
  std::vector<double> routed;
  for (int64_t k = 0; k < update->router->weight.size(0); ++k) {
    double sum = 0;
    for (int64_t i = 0; i < kTokenModel; ++i) {
      const double normed = v[i].item<double>() / std::sqrt(mean_square + 1e-6) *
                            update->router_norm->weight[i].item<double>();
      sum += update->router->weight[k][i].item<double>() * normed / kTokenModel;
    }
    routed.push_back(std::tanh(sum));
  }
  return routed;
}

TEST(AltUpUpdate, StartsAsTheIdentityPlusTheResidualForEveryBlock) {
  torch::manual_seed(1);
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 3, .active_block = 1});
  const auto x = torch::randn({3, 2, 4, 5});
  const auto computed = torch::randn({2, 4, 5});
  const auto y = update(x, computed);
  EXPECT_TRUE(torch::allclose(y[1], computed, 1e-5, 1e-6));
  for (const int64_t inactive : {0, 2}) {
    EXPECT_TRUE(torch::allclose(y[inactive], x[inactive] + (computed - x[1]), 1e-5, 1e-6));
  }
}

TEST(AltUpUpdate, CanStartWithOnlyTheActiveBlockMoving) {
  torch::manual_seed(2);
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 3, .active_block = 2, .only_active = true});
  const auto x = torch::randn({3, 2, 4, 5});
  const auto computed = torch::randn({2, 4, 5});
  const auto y = update(x, computed);
  EXPECT_TRUE(torch::allclose(y[2], computed, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(y[0], x[0]));
  EXPECT_TRUE(torch::allclose(y[1], x[1]));
}

TEST(AltUpUpdate, PredictsAndCorrectsWithItsCoefficients) {
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 2, .active_block = 0});
  torch::NoGradGuard no_grad;
  update->prediction_coefs.copy_(torch::tensor({{1.0, 2.0}, {3.0, 4.0}}));
  update->correction_coefs.copy_(torch::tensor({0.5, -1.0}));
  const auto x = torch::tensor({10.0F, 100.0F}).view({2, 1, 1, 1});
  // Predicted: 210 and 430. Innovation: 200 − 210 = −10. Corrected: 210 − 5, 430 + 10.
  const auto y = update(x, torch::full({1, 1, 1}, 200.0));
  EXPECT_FLOAT_EQ(y[0].item<float>(), 205.0F);
  EXPECT_FLOAT_EQ(y[1].item<float>(), 440.0F);
}

class TokenCoefficients : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Starts, TokenCoefficients, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Active" : "Identity"; });

TEST_P(TokenCoefficients, FollowTheEquationsTokenByToken) {
  const torch::NoGradGuard no_grad;
  for (const int64_t blocks : {1, 2, 3}) {
    const int64_t active = blocks - 1;
    auto update = token_update(blocks, active, GetParam());
    const auto x = torch::randn({blocks, 2, 4, kTokenModel}, torch::kDouble);
    const auto x_tilde = torch::randn({2, 4, kTokenModel}, torch::kDouble);
    const auto y = update(x, x_tilde);
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t t = 0; t < 4; ++t) {
        const auto before = route(update, x[active][b][t]);
        const auto after = route(update, x_tilde[b][t]);
        std::vector<torch::Tensor> predicted;
        for (int64_t i = 0; i < blocks; ++i) {
          auto sum = x[i][b][t].clone();
          for (int64_t j = 0; j < blocks; ++j) {
            double p = 0;
            for (int64_t k = 0; k < blocks; ++k) {
              p += update->prediction_coefs[i * blocks + j][k].item<double>() *
                   before[static_cast<size_t>(k)];
            }
            sum += p * x[j][b][t];
          }
          predicted.push_back(sum);
        }
        const auto innovation = x_tilde[b][t] - predicted[static_cast<size_t>(active)];
        for (int64_t i = 0; i < blocks; ++i) {
          double g = !GetParam() || i == active ? 1.0 : 0.0;
          for (int64_t k = 0; k < blocks; ++k) {
            g += update->correction_coefs[i][k].item<double>() * after[static_cast<size_t>(k)];
          }
          EXPECT_TRUE(torch::allclose(
              y[i][b][t], predicted[static_cast<size_t>(i)] + g * innovation, 1e-11, 1e-12))
              << blocks << " blocks, block " << i;
        }
      }
    }
  }
}

TEST_P(TokenCoefficients, HaveTheGradientsOfTheEquations) {
  auto update = token_update(2, 1, GetParam());
  auto x = torch::randn({2, 1, 3, kTokenModel}, torch::kDouble).requires_grad_();
  auto x_tilde = torch::randn({1, 3, kTokenModel}, torch::kDouble).requires_grad_();
  std::vector<torch::Tensor> inputs = {x, x_tilde};
  for (const auto& parameter : update->parameters()) inputs.push_back(parameter);
  ASSERT_EQ(inputs.size(), 6U);
  EXPECT_TRUE(testing::gradients_match([&] { return update(x, x_tilde); }, inputs));
}

TEST_P(TokenCoefficients, StartAsThoseOfTheLayerBitForBit) {
  torch::manual_seed(5);
  AltUpUpdateConfig config{.num_blocks = 3,
                           .active_block = 2,
                           .only_active = GetParam(),
                           .of_token = true,
                           .d_model = 64};
  AltUpUpdate of_token(config);
  of_token->reset_parameters();
  config.of_token = false;
  AltUpUpdate of_layer(config);
  const auto x = torch::randn({3, 2, 40, 64});
  const auto x_tilde = torch::randn({2, 40, 64});
  EXPECT_TRUE(torch::equal(of_token(x, x_tilde), of_layer(x, x_tilde)));
  // What tanh is given has a standard deviation of 1.
  const auto given =
      torch::linear(torch::rms_norm(x_tilde, {64}, {}, 1e-6) / 64.0, of_token->router->weight);
  EXPECT_NEAR(given.std().item<double>(), 1.0, 0.2);
}

TEST(AltUpUpdate, MakesTokenCoefficientsInFp32UnderAutocastToo) {
  auto update = token_update(2, 0, false);
  update->to(torch::kFloat);
  const auto x = torch::randn({2, 3, 40, kTokenModel});
  const auto x_tilde = torch::randn({3, 40, kTokenModel});
  const auto expected = update(x, x_tilde);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto lowered = update(x, x_tilde);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_TRUE(torch::equal(lowered, expected));
}

TEST(AltUpUpdate, GivesTheLayerAViewOfTheActiveBlock) {
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 3, .active_block = 2});
  const auto x = torch::randn({3, 2, 4, 5});
  EXPECT_EQ(update->active(x).data_ptr(), x[2].data_ptr());
}

TEST(AltUpUpdate, OpensIntoTheStateAndItsBlockWithTheGradientOfBoth) {
  torch::manual_seed(3);
  for (const int64_t active : {0, 2}) {
    AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 3, .active_block = active});
    const auto x = torch::randn({3, 2, 4, 5}, torch::requires_grad());
    const auto weights = torch::randn({3, 2, 4, 5});
    const auto loss = [&](const torch::Tensor& whole, const torch::Tensor& block) {
      return (update(whole, torch::tanh(block)) * weights).sum();
    };
    const auto expected = torch::autograd::grad({loss(x, x[active])}, {x})[0];
    const auto [whole, block] = update->open(x);
    EXPECT_TRUE(torch::equal(whole, x));
    EXPECT_TRUE(torch::equal(block, x[active]));
    whole.retain_grad();
    loss(whole, block).backward();
    EXPECT_TRUE(torch::allclose(x.grad(), expected, 1e-5, 1e-6));
    // What others hold is not written to.
    const auto of_whole = torch::autograd::grad({loss(x, x[active].detach())}, {x})[0];
    EXPECT_TRUE(torch::allclose(whole.grad(), of_whole, 1e-5, 1e-6));
    EXPECT_FALSE(torch::allclose(whole.grad(), expected, 1e-2, 1e-2));

    x.mutable_grad() = torch::Tensor();
    const auto [again, same_block] = update->open(x);
    loss(again, same_block).backward();
    EXPECT_TRUE(torch::allclose(x.grad(), expected, 1e-5, 1e-6));
  }
}

TEST(AltUpUpdate, RefusesABlockThatIsNotThere) {
  EXPECT_THROW(AltUpUpdate(AltUpUpdateConfig{.num_blocks = 2, .active_block = 2}), c10::Error);
}

}  // namespace
}  // namespace altup
