#include "altup/modules/altup.h"

#include "altup/ops/ops.h"

namespace altup {

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

torch::Tensor AltUpUpdateImpl::forward(const torch::Tensor& x, const torch::Tensor& x_tilde) {
  return update(x, x_tilde, prediction_coefs, correction_coefs, config_.active_block);
}

}  // namespace altup
