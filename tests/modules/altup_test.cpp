#include "altup/modules/altup.h"

#include <gtest/gtest.h>

namespace altup {
namespace {

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

    x.mutable_grad() = {};
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
