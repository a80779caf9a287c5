#include "altup/modules/activation_checkpoint.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include "altup/modules/feed_forward.h"
#include "tests/support/one_thread.h"

namespace altup {
namespace {

struct Gradients {
  torch::Tensor value, input, weight;
};

// One feed-forward with dropout, twice in a row, so that the second one draws after the first.
Gradients run(bool checkpointed) {
  torch::manual_seed(1);
  FeedForward layer(FeedForwardConfig{.d_model = 8, .d_ff = 16, .dropout = 0.4});
  layer->reset_parameters();
  const auto x = torch::randn({3, 8}).requires_grad_(true);
  const auto once = [&](const torch::Tensor& in) {
    if (!checkpointed) return layer(in);
    return checkpoint_activation(
        [&](const std::vector<torch::Tensor>& inputs) { return layer(inputs[0]); }, {in});
  };
  const auto y = once(once(x));
  torch::rand({5});  // the backward pass must not depend on what was drawn in between
  y.square().sum().backward();
  return {y.detach(), x.grad(), layer->wo->weight.grad()};
}

TEST(ActivationCheckpoint, GivesTheGradientsOfTheSameDropout) {
  const auto plain = run(false);
  const auto checkpointed = run(true);
  EXPECT_TRUE(torch::equal(plain.value, checkpointed.value));
  EXPECT_TRUE(torch::equal(plain.input, checkpointed.input));
  EXPECT_TRUE(torch::allclose(plain.weight, checkpointed.weight, 1e-6, 1e-7));
}

TEST(ActivationCheckpoint, RunsTheBodyAgainAndRestoresTheRandomState) {
  int runs = 0;
  const auto x = torch::randn({4}).requires_grad_(true);
  const auto y = checkpoint_activation(
      [&](const std::vector<torch::Tensor>& inputs) {
        ++runs;
        return inputs[0] * torch::rand({4});
      },
      {x});
  EXPECT_EQ(runs, 1);
  const auto before = at::globalContext().defaultGenerator(torch::kCPU).get_state();
  y.sum().backward();
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(torch::equal(before, at::globalContext().defaultGenerator(torch::kCPU).get_state()));
  EXPECT_TRUE(torch::allclose(x.grad() * x, y));  // y = x r has the gradient r
}

class Bf16 {
 public:
  Bf16() { set(true); }
  ~Bf16() {
    set(false);
    at::autocast::clear_cache();
  }

 private:
  static void set(bool enabled) {
    at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
    at::autocast::set_autocast_enabled(torch::kCPU, enabled);
  }
};

TEST(ActivationCheckpoint, ComputesAgainInTheTypeOfAutocast) {
  std::vector<torch::ScalarType> types;
  const auto w = torch::randn({4, 4}).requires_grad_(true);
  torch::Tensor y;
  {
    Bf16 autocast;
    y = checkpoint_activation(
        [&](const std::vector<torch::Tensor>& inputs) {
          const auto result = torch::matmul(inputs[0], w);
          types.push_back(result.scalar_type());
          return result;
        },
        {torch::randn({2, 4}).requires_grad_(true)});
  }
  y.to(torch::kFloat).sum().backward();
  EXPECT_EQ(types, (std::vector<torch::ScalarType>{torch::kBFloat16, torch::kBFloat16}));
  EXPECT_FALSE(at::autocast::is_autocast_enabled(torch::kCPU));
}

// Autocast keeps lowered copies of weights: none of this step may live on into the next.
TEST(ActivationCheckpoint, SeesTheWeightsAsTheyAreUnderAutocast) {
  const auto w = torch::ones({4, 4}).requires_grad_(true);
  const auto x = torch::ones({2, 4}).requires_grad_(true);
  const auto run = [&] {
    return checkpoint_activation(
        [&](const std::vector<torch::Tensor>& inputs) { return torch::matmul(inputs[0], w); }, {x});
  };
  torch::Tensor y;
  {
    Bf16 autocast;
    y = run();
    y.to(torch::kFloat).sum().backward();  // inside: a copy without gradient would be found here
    EXPECT_TRUE(w.grad().defined());
  }
  {
    Bf16 autocast;
    y = run();
  }
  y.to(torch::kFloat).sum().backward();
  {
    torch::NoGradGuard no_grad;
    w.mul_(2);
  }
  Bf16 autocast;
  EXPECT_EQ(torch::matmul(x, w)[0][0].item<float>(), 8.0F);
}

TEST(ActivationCheckpoint, GivesNoGradientToAnInputThatNeedsNone) {
  const auto x = torch::randn({3}).requires_grad_(true);
  const auto constant = torch::randn({3});
  checkpoint_activation([](const std::vector<torch::Tensor>& in) { return in[0] * in[1]; },
                        {x, constant})
      .sum()
      .backward();
  EXPECT_TRUE(torch::equal(x.grad(), constant));
  EXPECT_FALSE(constant.grad().defined());
}

}  // namespace
}  // namespace altup
