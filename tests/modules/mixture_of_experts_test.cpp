// The mixture against the same thing said slowly: a loop over tokens and experts, in double, values
// and gradients; and what it must keep: padding, capacity, jitter, types.
#include "altup/modules/mixture_of_experts.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "altup/modules/activation_checkpoint.h"
#include "altup/modules/feed_forward.h"
#include "altup/ops/ops.h"
#include "tests/modules/slow_mixture.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

struct Kind {
  std::string name;
  MixtureConfig config;
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

MixtureConfig small_mixture() {
  return {.d_model = 6, .d_ff = 5, .experts = 4, .capacity_factor = 1.0, .jitter = 0.0};
}

std::vector<Kind> kinds() {
  std::vector<Kind> kinds = {{"Switch", small_mixture()},
                             {"SwitchRelu", small_mixture()},
                             {"BatchPrioritised", small_mixture()},
                             {"ExpertChoice", small_mixture()}};
  kinds[1].config.gated_gelu = false;
  kinds[2].config.batch_prioritised = true;
  kinds[3].config.expert_choice = true;
  return kinds;
}

// Three sequences of which the first is whole; 11 tokens in 15 places. With a capacity of 1 there
// are ⌈11 / 4⌉ = 3 places an expert.
const std::vector<int64_t> kLengths = {5, 4, 2};

torch::Tensor mask() {
  return torch::arange(5).unsqueeze(0) < torch::tensor(kLengths).unsqueeze(1);  // [3, 5]
}

RoutedTokens tokens_for(const MixtureConfig& config, const torch::Tensor& mask) {
  auto tokens = routed_tokens(mask);
  if (config.expert_choice) {
    let_experts_choose(tokens, mask.sum(1), config.experts, config.capacity_factor);
  }
  return tokens;
}

MixtureOfExperts make_mixture(const MixtureConfig& config, uint64_t seed = 1) {
  torch::manual_seed(seed);
  MixtureOfExperts mixture(config);
  mixture->reset_parameters();
  torch::NoGradGuard no_grad;
  mixture->router->weight.mul_(10);  // so that it has opinions
  mixture->to(torch::kDouble);
  return mixture;
}

class Mixture : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Mixture, ::testing::ValuesIn(kinds()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Mixture, IsTheLoopOverTokensInValuesAndGradients) {
  auto config = GetParam().config;
  config.load_balance_loss = 0.3;
  config.router_z_loss = 0.2;
  const auto gradients = [](const torch::Tensor& output, const torch::Tensor& loss,
                            const std::vector<torch::Tensor>& inputs) {
    torch::manual_seed(9);
    return torch::autograd::grad({(output * torch::rand_like(output)).sum() + loss}, inputs);
  };
  int64_t dropped = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    auto mixture = make_mixture(config, seed);
    const auto x = torch::randn({3, 5, 6}, torch::kDouble).requires_grad_(true);
    for (const bool training : {true, false}) {
      mixture->train(training);
      Routing routing;
      const auto output = mixture->forward(x, tokens_for(config, mask()), &routing);
      const auto slow = testing::slow_mixture(mixture, config, x, kLengths, training);
      EXPECT_TRUE(torch::allclose(output, slow.output, 1e-10, 1e-12));
      ASSERT_EQ(routing.loss.defined(), training);
      const auto none = torch::zeros({}, torch::kDouble);
      if (training) {
        EXPECT_NEAR(routing.loss.item<double>(), slow.loss.item<double>(), 1e-12);
        EXPECT_NEAR(routing.statistics[3].item<double>(),
                    100.0 * static_cast<double>(slow.dropped) / 11, 1e-4);
        dropped += slow.dropped;
      }
      auto inputs = mixture->parameters();
      inputs.push_back(x);
      const auto fast_gradients = gradients(output, training ? routing.loss : none, inputs);
      const auto slow_gradients = gradients(slow.output, training ? slow.loss : none, inputs);
      for (size_t i = 0; i < inputs.size(); ++i) {
        EXPECT_TRUE(torch::allclose(fast_gradients[i], slow_gradients[i], 1e-9, 1e-11)) << i;
      }
    }
  }
  EXPECT_GT(dropped, 0) << "no token was ever dropped: the capacity was not tested";
}

TEST_P(Mixture, HasTheGradientsOfFiniteDifferences) {
  auto config = GetParam().config;
  config.load_balance_loss = 0.3;
  config.router_z_loss = 0.2;
  auto mixture = make_mixture(config);
  const auto x = torch::randn({3, 5, 6}, torch::kDouble).requires_grad_(true);
  auto inputs = mixture->parameters();
  inputs.push_back(x);
  EXPECT_TRUE(testing::gradients_match(
      [&] {
        Routing routing;
        const auto output = mixture->forward(x, tokens_for(config, mask()), &routing);
        return torch::cat({output.flatten(), routing.loss.view({1})});
      },
      inputs, 1e-5, 1e-6));
}

TEST_P(Mixture, PaddingIsNeitherRoutedNorCounted) {
  auto config = GetParam().config;
  config.jitter = 0.3;
  auto mixture = make_mixture(config);
  const auto run = [&](const torch::Tensor& x, const torch::Tensor& real) {
    Routing routing;
    torch::manual_seed(4);
    const auto output = mixture->forward(x, tokens_for(config, real), &routing);
    return std::pair{output, routing};
  };
  const auto x = torch::randn({3, 5, 6}, torch::kDouble);
  const auto [output, routing] = run(x, mask());
  EXPECT_TRUE((output.masked_select(mask().logical_not().unsqueeze(2)) == 0).all().item<bool>());
  // Other padding, and more of it.
  const auto other = torch::where(mask().unsqueeze(2), x, torch::full_like(x, 100.0));
  const auto longer = torch::cat({other, torch::randn({3, 4, 6}, torch::kDouble)}, 1);
  const auto longer_mask = torch::cat({mask(), torch::zeros({3, 4}, torch::kBool)}, 1);
  const auto [padded, padded_routing] = run(longer, longer_mask);
  EXPECT_TRUE(torch::equal(padded.narrow(1, 0, 5), output));
  EXPECT_TRUE(torch::equal(padded_routing.loss, routing.loss));
  EXPECT_TRUE(torch::allclose(padded_routing.statistics, routing.statistics, 0, 0, true));
}

TEST_P(Mixture, WithoutAnyTokenIsZero) {
  auto mixture = make_mixture(GetParam().config);
  const auto x = torch::randn({1, 4, 6}, torch::kDouble);
  const auto none = torch::zeros({1, 4}, torch::kBool);
  EXPECT_TRUE(
      torch::equal(mixture->forward(x, tokens_for(GetParam().config, none)), torch::zeros_like(x)));
}

TEST_P(Mixture, OfCapacityZeroAddsNothing) {
  auto config = GetParam().config;
  config.capacity_factor = 0.0;
  auto mixture = make_mixture(config);
  const auto x = torch::randn({3, 5, 6}, torch::kDouble).requires_grad_(true);
  Routing routing;
  const auto output = mixture->forward(x, tokens_for(config, mask()), &routing);
  EXPECT_TRUE(torch::equal(output, torch::zeros_like(x)));
  EXPECT_EQ(routing.statistics[3].item<double>(), 100.0);
  (output.sum() + routing.loss).backward();
  EXPECT_TRUE(mixture->router->weight.grad().defined());
}

TEST_P(Mixture, RecomputedDrawsTheSameJitterAndDropout) {
  auto config = GetParam().config;
  config.jitter = 0.5;
  config.dropout = 0.3;
  config.load_balance_loss = 0.3;
  config.router_z_loss = 0.2;
  const auto run = [&](bool recompute) {
    auto mixture = make_mixture(config);
    const auto x = torch::randn({3, 5, 6}, torch::kDouble).requires_grad_(true);
    const auto tokens = tokens_for(config, mask());
    const auto body = [&](const std::vector<torch::Tensor>& in) {
      Routing routing;
      const auto output = mixture->forward(in[0], tokens, &routing);
      return std::vector<torch::Tensor>{output, routing.loss, routing.statistics};
    };
    const auto outputs = recompute ? checkpoint_activation(body, {x}) : body({x});
    torch::rand({7});
    (outputs[0].square().sum() + 2 * outputs[1]).backward();
    return std::tuple{outputs, x.grad(), mixture};
  };
  const auto [outputs, gradient, mixture] = run(false);
  const auto [outputs_again, gradient_again, recomputed] = run(true);
  EXPECT_TRUE(torch::equal(outputs[0], outputs_again[0]));
  EXPECT_TRUE(torch::equal(outputs[1], outputs_again[1]));
  EXPECT_TRUE(torch::allclose(gradient, gradient_again, 1e-10, 1e-12));
  for (const auto& item : mixture->named_parameters()) {
    EXPECT_TRUE(torch::allclose(item.value().grad(),
                                recomputed->named_parameters()[item.key()].grad(), 1e-10, 1e-12))
        << item.key();
  }
}

TEST_P(Mixture, InBf16RoutesInFp32) {
  auto config = GetParam().config;
  auto mixture = make_mixture(config);
  mixture->to(torch::kFloat);
  const auto x = torch::randn({3, 5, 6}).to(torch::kBFloat16);
  const auto run = [&](const torch::Tensor& in) {
    Routing routing;
    const auto output = mixture->forward(in, tokens_for(config, mask()), &routing);
    return std::pair{output, routing};
  };
  const auto [expected, expected_routing] = run(x.to(torch::kFloat));
  at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
  for (const bool training : {true, false}) {
    mixture->train(training);
    at::autocast::set_autocast_enabled(torch::kCPU, true);
    const auto [output, routing] = run(x);
    EXPECT_TRUE(at::autocast::is_autocast_enabled(torch::kCPU));
    at::autocast::set_autocast_enabled(torch::kCPU, false);
    at::autocast::clear_cache();
    EXPECT_EQ(output.scalar_type(), torch::kBFloat16);
    if (!training) continue;
    // The router sees the same numbers, so that its losses are those of fp32 to the last bit.
    EXPECT_TRUE(torch::equal(routing.loss, expected_routing.loss));
    EXPECT_LT((output - expected).abs().max().item<double>(),
              0.05 * expected.abs().max().item<double>());
  }
}

TEST_P(Mixture, QuantisedReadsTheInt8CopiesInInferenceOnly) {
  auto mixture = make_mixture(GetParam().config);
  mixture->to(torch::kFloat);
  mixture->eval();
  const auto x = torch::randn({3, 5, 6});
  const auto tokens = tokens_for(GetParam().config, mask());
  const auto infer = [&] {
    const c10::InferenceMode inference;
    return mixture->forward(x, tokens);
  };
  const auto exact = infer();
  EXPECT_TRUE(torch::allclose(exact, mixture->forward(x, tokens), 1e-5, 1e-6));
  mixture->experts->quantise();
  {
    torch::NoGradGuard no_grad;
    mixture->experts->wo.zero_();  // which the copies do not follow
  }
  const auto near = infer();
  const double scale = exact.abs().max().item<double>();
  EXPECT_LT((near - exact).abs().max().item<double>(), 0.03 * scale);
  EXPECT_GT((near - exact).abs().max().item<double>(), 1e-5 * scale);
  EXPECT_EQ(mixture->forward(x, tokens).abs().max().item<double>(), 0.0);
}

// A part of a parameter, one expert's, would be cast anew at every step of decoding.
TEST(MixtureOfExperts, UnderAutocastWeightsAreCastOnce) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no bf16 instructions: project() says what is lowered";
  auto mixture = make_mixture(small_mixture());
  mixture->to(torch::kFloat);
  mixture->eval();
  const auto x = torch::randn({3, 5, 6});
  c10::InferenceMode inference;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto first = mixture(x, RoutedTokens{});
  mixture->experts->wo.mul_(2.0);
  const auto second = mixture(x, RoutedTokens{});
  at::autocast::clear_cache();
  const auto cast_anew = mixture(x, RoutedTokens{});
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_TRUE(torch::equal(second, first));
  EXPECT_LT(
      (cast_anew.to(torch::kFloat) - 2.0 * first.to(torch::kFloat)).abs().max().item<double>(),
      1e-3);
}

TEST(MixtureOfExperts, JitterIsOnTheRoutersInputOnly) {
  auto config = small_mixture();
  config.experts = 1;  // its gate is 1, whatever the router says
  config.jitter = 0.9;
  auto mixture = make_mixture(config);
  const auto x = torch::randn({11, 6}, torch::kDouble);
  Routing first;
  Routing second;
  const auto output = mixture->forward(x, {}, &first);
  EXPECT_TRUE(torch::equal(output, mixture->forward(x, {}, &second)));
  EXPECT_FALSE(torch::equal(first.loss, second.loss));
  mixture->eval();
  EXPECT_TRUE(torch::allclose(output, mixture->forward(x, {})));
}

TEST(MixtureOfExperts, OfOneExpertIsAFeedForward) {
  for (const bool gated : {true, false}) {
    auto config = small_mixture();
    config.experts = 1;
    config.gated_gelu = gated;
    auto mixture = make_mixture(config);
    FeedForward dense(FeedForwardConfig{.d_model = 6, .d_ff = 5, .gated_gelu = gated});
    dense->to(torch::kDouble);
    torch::NoGradGuard no_grad;
    for (const auto& item : mixture->experts->named_parameters()) {
      dense->named_parameters()[item.key() + ".weight"].copy_(item.value()[0]);
    }
    const auto x = torch::randn({2, 7, 6}, torch::kDouble);
    EXPECT_TRUE(torch::allclose(mixture->forward(x, {}), dense(x)));
  }
}

TEST(MixtureOfExperts, InEvaluationATokenDependsOnNoOther) {
  auto config = small_mixture();
  config.capacity_factor = 0.25;  // in training, most tokens would be dropped
  auto mixture = make_mixture(config);
  mixture->eval();
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({9, 6}, torch::kDouble);
  const auto together = mixture->forward(x, {});
  for (int64_t t = 0; t < 9; ++t) {
    EXPECT_TRUE(torch::allclose(mixture->forward(x.narrow(0, t, 1), {}), together.narrow(0, t, 1)));
    EXPECT_GT(together[t].abs().max().item<double>(), 0.0);
  }
}

TEST(MixtureOfExperts, AnExpertThatNobodyWantsHasAZeroGradient) {
  auto mixture = make_mixture(small_mixture());
  {
    torch::NoGradGuard no_grad;
    mixture->router->weight.zero_();
    mixture->router->weight[2].fill_(1.0);
  }
  const auto x = torch::rand({8, 6}, torch::kDouble);  // positive: all prefer expert 2
  for (const bool training : {true, false}) {
    mixture->train(training);
    mixture->zero_grad();
    Routing routing;
    mixture->forward(x, {}, &routing).sum().backward();
    for (int64_t e = 0; e < 4; ++e) {
      const bool is_zero = (mixture->experts->wo.grad()[e] == 0).all().item<bool>();
      EXPECT_EQ(is_zero, e != 2) << e;
    }
    if (!training) continue;
    EXPECT_EQ(routing.statistics[3].item<double>(), 75.0);  // two of eight have a place
    EXPECT_EQ(routing.statistics[4].item<double>(), 4.0);
    EXPECT_EQ(routing.statistics[5].item<double>(), 0.0);
  }
}

TEST(MixtureOfExperts, StatisticsOfAnIndifferentRouter) {
  auto mixture = make_mixture(small_mixture());
  torch::NoGradGuard no_grad;
  mixture->router->weight.zero_();
  Routing routing;
  mixture->forward(torch::rand({8, 6}, torch::kDouble), {}, &routing);
  const auto expected = torch::tensor(
      {1.0, std::pow(std::log(4.0), 2), std::log(4.0), 75.0, 4.0, 0.0});  // all go to expert 0
  EXPECT_TRUE(torch::allclose(routing.statistics, expected, 1e-6, 1e-6)) << routing.statistics;
  EXPECT_FALSE(routing.statistics.requires_grad());
  auto choosing = small_mixture();
  choosing.expert_choice = true;
  auto other = make_mixture(choosing);
  const auto x = torch::rand({3, 5, 6}, torch::kDouble);
  other->forward(x, tokens_for(choosing, mask()), &routing);
  EXPECT_TRUE(std::isnan(routing.statistics[0].item<double>()));
}

}  // namespace
}  // namespace altup
