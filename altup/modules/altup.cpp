#include "altup/modules/altup.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <utility>

#include "altup/modules/initialisation.h"
#include "altup/modules/without_autocast.h"
#include "altup/ops/ops.h"

namespace altup {
namespace {

// Whether nothing but `gradient` sees its numbers, so that it may be written to.
bool is_sole_owner(const torch::Tensor& gradient) {
  return !at::GradMode::is_enabled() && gradient.use_count() == 1 &&
         gradient.storage().use_count() == 1 && gradient.is_non_overlapping_and_dense();
}

struct Open : torch::autograd::Function<Open> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const torch::Tensor& x, int64_t block) {
    context->saved_data["block"] = block;
    return {x.alias(), x.select(0, block)};
  }
  // The engine hands them over in `gradients`: they are in no other hands unless something else,
  // such as a hook, keeps them.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list& gradients) {
    auto whole = std::exchange(gradients[0], {});
    if (!is_sole_owner(whole)) whole = whole.clone();
    whole.select(0, context->saved_data["block"].toInt()).add_(gradients[1]);
    return {whole, {}};
  }
};

// p and g of a layer before anything is learnt: the identity [K, K]; ones, or a one for the active
// block alone, [K].
torch::Tensor first_prediction(const AltUpUpdateConfig& config,
                               const torch::TensorOptions& options) {
  return torch::eye(config.num_blocks, options);
}

torch::Tensor first_correction(const AltUpUpdateConfig& config,
                               const torch::TensorOptions& options) {
  if (!config.only_active) return torch::ones({config.num_blocks}, options);
  return first_prediction(config, options)[config.active_block];
}

}  // namespace

AltUpUpdateImpl::AltUpUpdateImpl(const AltUpUpdateConfig& config) : config_(config) {
  const int64_t blocks = config.num_blocks;
  TORCH_CHECK(blocks >= 1, "AltUp needs at least one block, got ", blocks);
  TORCH_CHECK(config.active_block >= 0 && config.active_block < blocks, "active block ",
              config.active_block, " of ", blocks, " blocks");
  if (config.of_token) {
    TORCH_CHECK(config.d_model >= 1, "a router needs the width of a block, got ", config.d_model);
    router_norm = register_module("router_norm", RmsNorm(config.d_model, config.norm_epsilon));
    router = register_module("router", Linear(config.d_model, blocks));
    prediction_coefs =
        register_parameter("prediction_coefs", torch::empty({blocks * blocks, blocks}));
    correction_coefs = register_parameter("correction_coefs", torch::empty({blocks, blocks}));
  } else {
    prediction_coefs = register_parameter("prediction_coefs", torch::empty({blocks, blocks}));
    correction_coefs = register_parameter("correction_coefs", torch::empty({blocks}));
  }
  if (!config.of_token) reset_parameters();  // else there is something to draw, by who owns this
}

void AltUpUpdateImpl::reset_parameters() {
  torch::NoGradGuard no_grad;
  if (router.is_empty()) {
    prediction_coefs.copy_(first_prediction(config_, prediction_coefs.options()));
    correction_coefs.copy_(first_correction(config_, correction_coefs.options()));
    return;
  }
  router_norm->reset_parameters();
  // What tanh is given then has a standard deviation of 1: RMSNorm(v) / d has a length of d^-1/2.
  draw_normal(router->weight, std::sqrt(static_cast<double>(config_.d_model)));
  prediction_coefs.zero_();
  correction_coefs.zero_();
}

// [B, T, d] -> [B, T, K]
torch::Tensor AltUpUpdateImpl::route(const torch::Tensor& tokens) {
  const auto type = tokens.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const auto normed = router_norm(tokens.to(type));
  return torch::tanh(project(normed / static_cast<double>(config_.d_model), router->weight));
}

std::pair<torch::Tensor, torch::Tensor> AltUpUpdateImpl::open(const torch::Tensor& x) const {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return {x, active(x)};
  auto opened = Open::apply(x, config_.active_block);
  return {opened[0], opened[1]};
}

torch::Tensor AltUpUpdateImpl::forward(const torch::Tensor& x, const torch::Tensor& x_tilde) {
  if (router.is_empty()) {
    return update(x, x_tilde, prediction_coefs, correction_coefs, config_.active_block);
  }
  const WithoutAutocast without_autocast(x.device().type());
  const int64_t blocks = config_.num_blocks;
  const auto learnt_p = project(route(active(x)), prediction_coefs);  // [B, T, K·K]
  const auto learnt_g = project(route(x_tilde), correction_coefs);    // [B, T, K]
  const auto p = learnt_p.unflatten(-1, {blocks, blocks}) +
                 first_prediction(config_, learnt_p.options());  // [B, T, K, K]
  const auto g = learnt_g + first_correction(config_, learnt_g.options());
  return update(x, x_tilde, p, g, config_.active_block);
}

}  // namespace altup
