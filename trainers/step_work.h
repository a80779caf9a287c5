// What a training step computes and moves, listed by part: matrix products with their shapes, bytes
// that all else reads and writes, and exponentials. Over a machine's rates it is the time of the
// step, and it is the arithmetic that measured growth is held against.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "altup/models/t5_config.h"
#include "altup/optim/optimizer_config.h"
#include "trainers/step_shape.h"

namespace altup {

/// y = x W^T for x [rows, in]: one product forward (two with checkpointing), and backward one for
/// the gradient of x and one for that of W.
struct LinearWork {
  std::string part;  ///< "projections", "feed_forward" or "head"
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
  int64_t times = 0;  ///< in a step

  /// Of one product: two operations a multiply-add.
  double flops() const;
};

/// altup::attention on [batch, queries, heads, width]. Of every head two products forward and five
/// backward: the scores again, and the gradients of the weights, of q, k and v. A causal one is
/// counted like the others, though it leaves out most of what it hides.
struct AttentionWork {
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t heads = 0;
  int64_t width = 0;  ///< of a head
  int64_t batch = 0;
  bool biased = false;  ///< by distance, with a gradient
  bool causal = false;
  int64_t times = 0;  ///< in a step

  /// Of one product of all heads.
  double flops() const;
};

struct Traffic {
  std::string part;
  double bytes = 0;  ///< read and written
};

struct StepWork {
  int64_t forward_passes = 1;  ///< of a layer: 2 with activation checkpointing
  bool bf16 = false;
  std::vector<LinearWork> linears;
  std::vector<AttentionWork> attentions;
  std::vector<Traffic> traffic;  ///< of all that is not in the above: "norms", "feed_forward", …
  double exponentials = 0;       ///< likewise

  int64_t forward_passes_of(const LinearWork& linear) const;
  double linear_flops(const std::string& part) const;
  double linear_flops() const;
  double attention_flops() const;
  double flops() const { return linear_flops() + attention_flops(); }
  double bytes() const;
};

StepWork step_work(const T5Config& model, const OptimizerConfig& optimizer, const StepShape& shape);

}  // namespace altup
