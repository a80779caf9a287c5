#include "altup/modules/altup.h"

#include <utility>

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

}  // namespace

AltUpUpdateImpl::AltUpUpdateImpl(const AltUpUpdateConfig& config) : config_(config) {
  TORCH_CHECK(config.num_blocks >= 1, "AltUp needs at least one block, got ", config.num_blocks);
  TORCH_CHECK(config.active_block >= 0 && config.active_block < config.num_blocks, "active block ",
              config.active_block, " of ", config.num_blocks, " blocks");
  prediction_coefs =
      register_parameter("prediction_coefs", torch::empty({config.num_blocks, config.num_blocks}));
  correction_coefs = register_parameter("correction_coefs", torch::empty({config.num_blocks}));
  reset_parameters();
}

void AltUpUpdateImpl::reset_parameters() {
  torch::NoGradGuard no_grad;
  torch::nn::init::eye_(prediction_coefs);
  correction_coefs.fill_(config_.only_active ? 0.0 : 1.0);
  correction_coefs[config_.active_block] = 1.0;
}

std::pair<torch::Tensor, torch::Tensor> AltUpUpdateImpl::open(const torch::Tensor& x) const {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return {x, active(x)};
  auto opened = Open::apply(x, config_.active_block);
  return {opened[0], opened[1]};
}

torch::Tensor AltUpUpdateImpl::forward(const torch::Tensor& x, const torch::Tensor& x_tilde) {
  return update(x, x_tilde, prediction_coefs, correction_coefs, config_.active_block);
}

}  // namespace altup
