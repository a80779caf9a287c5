#include "altup/modules/rms_norm.h"

#include "altup/ops/ops.h"

namespace altup {

RmsNormImpl::RmsNormImpl(int64_t width, double epsilon) : epsilon_(epsilon) {
  weight = register_parameter("weight", torch::ones({width}));
}

void RmsNormImpl::reset_parameters() {
  const torch::NoGradGuard no_grad;
  weight.fill_(1.0);
}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& x) {
  return altup::rms_norm(x, weight, epsilon_);
}

std::tuple<torch::Tensor, torch::Tensor> RmsNormImpl::add(const torch::Tensor& x,
                                                          const torch::Tensor& delta) {
  return add_rms_norm(x, delta, weight, epsilon_);
}

}  // namespace altup
