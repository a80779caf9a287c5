// A mixture of experts in place of a layer's feed-forward: E feed-forwards (Experts) and a router
// that says, token by token, which of them compute it (routing.h):
//   y_t = Σ_e g_te expert_e(x_t)          over the experts that have token t; none: y_t = 0
// The router is computed in fp32 (double for double), whatever the activations' type; its gates
// carry its gradient. Padding is neither routed nor counted.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <vector>

#include "altup/modules/linear.h"
#include "altup/modules/routing.h"

namespace altup {

struct MixtureConfig {
  int64_t d_model = 512;
  int64_t d_ff = 1024;
  bool gated_gelu = true;  ///< false: relu
  double dropout = 0.0;    ///< inside the experts, before wo
  int64_t experts = 8;
  bool expert_choice = false;  ///< false: Switch
  double capacity_factor = 1.25;
  bool batch_prioritised = false;   ///< Switch
  double load_balance_loss = 0.01;  ///< weight; Switch
  double router_z_loss = 0.001;     ///< weight
  double jitter =
      0.01;  ///< in training, the router's input is times a number in [1 - jitter, 1 + jitter)
};

/// E feed-forwards of one shape, without biases. Their weights are one tensor, so that in training a
/// product is one grouped product over all experts; in c10::InferenceMode it is one for each expert
/// that has tokens, by project().
class ExpertsImpl : public torch::nn::Module {
 public:
  explicit ExpertsImpl(const MixtureConfig& config);
  /// Standard deviations as in FeedForward; expert by expert, so that mixtures of one seed have the same
  /// ones as far as both go.
  void reset_parameters();
  /// As many tokens for each expert: [E, C, d] -> [E, C, d].
  torch::Tensor forward(const torch::Tensor& x);
  /// counts[e] rows for expert e, one after another: [N, d] -> [N, d].
  torch::Tensor forward_rows(const torch::Tensor& x, const std::vector<int64_t>& counts);
  /// As Linear's.
  void quantise();

  torch::Tensor wi_0, wi_1;  ///< [E, d_ff, d], gated
  torch::Tensor wi;          ///< [E, d_ff, d], relu
  torch::Tensor wo;          ///< [E, d, d_ff]

 private:
  torch::Tensor drop(const torch::Tensor& hidden) const;

  MixtureConfig config_;
  Int8Weight int8_in_0_, int8_in_1_, int8_out_;  // as the weights, and scales [E, out]
};
TORCH_MODULE(Experts);

/// What a mixture leaves in training besides its output.
struct Routing {
  torch::Tensor loss;        ///< scalar, differentiable: the weighted sum of the routing losses
  torch::Tensor statistics;  ///< those of kRoutingStatistics, fp32, without a gradient
};

class MixtureOfExpertsImpl : public torch::nn::Module {
 public:
  explicit MixtureOfExpertsImpl(const MixtureConfig& config);
  /// The router's standard deviation is (0.1 / d_model)^1/2 (Fedus et al. 2021, section 2.4): at the
  /// start, it prefers no expert much.
  void reset_parameters();
  /// x [..., d_model] -> the same shape, 0 for padding. With Switch, the capacity counts in training
  /// only: in evaluation every token has its expert, so that what comes out for it depends on no other
  /// token. `routing`, where given, is filled in training.
  torch::Tensor forward(const torch::Tensor& x, const RoutedTokens& tokens,
                        Routing* routing = nullptr);

  Linear router{nullptr};  ///< [E, d_model]
  Experts experts{nullptr};

 private:
  torch::Tensor router_logits(const torch::Tensor& x);
  torch::Tensor run_assigned(const torch::Tensor& x, const Assignment& assignment);
  torch::Tensor run_all(const torch::Tensor& x, const torch::Tensor& probabilities);
  Routing describe(const torch::Tensor& logits, const torch::Tensor& probabilities,
                   const Assignment& assignment) const;

  MixtureConfig config_;
};
TORCH_MODULE(MixtureOfExperts);

}  // namespace altup
