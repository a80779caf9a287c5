#include "altup/modules/feed_forward.h"

#include <cmath>

#include "altup/modules/initialisation.h"
#include "altup/ops/ops.h"

namespace altup {

FeedForwardImpl::FeedForwardImpl(const FeedForwardConfig& config) : config_(config) {
  if (config.gated_gelu) {
    wi_0 = register_module("wi_0", Linear(config.d_model, config.d_ff));
    wi_1 = register_module("wi_1", Linear(config.d_model, config.d_ff));
  } else {
    wi = register_module("wi", Linear(config.d_model, config.d_ff));
  }
  wo = register_module("wo", Linear(config.d_ff, config.d_model));
}

void FeedForwardImpl::reset_parameters() {
  const double in = 1.0 / std::sqrt(static_cast<double>(config_.d_model));
  for (auto* linear : {&wi_0, &wi_1, &wi}) {
    if (!linear->is_empty()) draw_normal((*linear)->weight, in);
  }
  draw_normal(wo->weight, 1.0 / std::sqrt(static_cast<double>(config_.d_ff)));
}

torch::Tensor FeedForwardImpl::forward(const torch::Tensor& x) {
  torch::Tensor hidden;  // [..., d_ff]
  if (config_.gated_gelu) {
    const auto gate_and_value = project(x, {wi_0, wi_1});
    hidden = gated_gelu(gate_and_value[0], gate_and_value[1]);
  } else {
    hidden = torch::relu(wi(x));
  }
  if (is_training() && config_.dropout > 0) hidden = torch::dropout(hidden, config_.dropout, true);
  return wo(hidden);
}

}  // namespace altup
