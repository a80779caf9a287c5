#include <torch/optim/adamw.h>

#include "tests/optim/optim_testing.h"

namespace altup {
namespace {

using testing::adamw_config;
using testing::expect_close;
using testing::transposed_copy;
using testing::with_gradient;

TEST(AdamW, TrajectoryIsPyTorchs) {
  for (const bool fused : {true, false}) {
    torch::manual_seed(1);
    const at::Tensor start = torch::randn({37, 53});
    at::Tensor ours = start.clone();
    if (!fused) ours = transposed_copy(start);
    const at::Tensor theirs = start.clone().requires_grad_();

    auto config = adamw_config();
    config.beta1 = 0.8;
    config.beta2 = 0.95;
    config.epsilon = 1e-6;
    config.weight_decay = 0.1;
    const auto optimizer = make_optimizer(config, {{"w", ours}});
    torch::optim::AdamW reference({theirs}, torch::optim::AdamWOptions(0.0)
                                                .betas({0.8, 0.95})
                                                .eps(1e-6)
                                                .weight_decay(0.1)
                                                .amsgrad(false));
    for (int step = 1; step <= 30; ++step) {
      const double rate = 0.01 * step / 30;
      const at::Tensor gradient = torch::randn({37, 53});
      with_gradient(ours, gradient);
      with_gradient(theirs, gradient.clone());
      reference.param_groups()[0].options().set_lr(rate);
      reference.step();
      optimizer->step(rate);
    }
    EXPECT_GT((ours - start).abs().max().item<double>(), 0.02);
    expect_close(ours, theirs.detach(), 1e-6);
  }
}

TEST(AdamW, CoefficientsAndVectorsAreNotDecayed) {
  const at::Tensor coefs = torch::ones({2, 2});
  const at::Tensor vector = torch::ones({2});
  const at::Tensor matrix = torch::ones({2, 2});
  auto config = adamw_config();
  config.weight_decay = 0.5;
  const auto optimizer = make_optimizer(
      config, {{"a.prediction_coefs", coefs}, {"norm.weight", vector}, {"w", matrix}});
  for (const auto& w : {coefs, vector, matrix}) with_gradient(w, torch::zeros_like(w));
  optimizer->step(0.1);
  EXPECT_TRUE((coefs == 1).all().item<bool>());
  EXPECT_TRUE((vector == 1).all().item<bool>());
  expect_close(matrix, torch::full({2, 2}, 0.95F), 1e-6);
}

}  // namespace
}  // namespace altup
