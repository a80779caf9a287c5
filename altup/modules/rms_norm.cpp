#include "altup/modules/rms_norm.h"

namespace altup {

RmsNormImpl::RmsNormImpl(int64_t width, double epsilon) : epsilon_(epsilon) {
  weight = register_parameter("weight", torch::ones({width}));
}

void RmsNormImpl::reset_parameters() {
  torch::nn::init::ones_(weight);
}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& x) {
  return torch::rms_norm(x, weight.sizes(), weight, epsilon_);
}

}  // namespace altup
