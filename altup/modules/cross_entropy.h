// The training loss, as a sum over tokens: whoever accumulates over micro-batches or ranks divides
// once, by the target tokens of the whole global batch. For a token with logits l, target t and log
// Z = logsumexp(l):
//
//   loss = (1 − s)(log Z − l_t) + s (log Z − mean l) + z (log Z)^2
//
// s: label smoothing; z: z-loss (de Brébisson & Vincent 2016; T5X).
#pragma once

#include <torch/torch.h>

namespace altup {

struct CrossEntropyConfig {
  double z_loss = 0.0;
  double label_smoothing = 0.0;
};

struct CrossEntropySum {
  torch::Tensor
      loss;  ///< scalar fp32, differentiable: the sum above over the tokens where weights is not 0
  torch::Tensor nll;  ///< scalar fp32, no gradient: Σ weights (log Z − l_t), nats
};

/// logits [N, V] of any floating type, targets [N] int64, weights [N] fp32 (1: counts, 0: padding).
CrossEntropySum cross_entropy_sum(const torch::Tensor& logits, const torch::Tensor& targets,
                                  const torch::Tensor& weights, const CrossEntropyConfig& config);

}  // namespace altup
