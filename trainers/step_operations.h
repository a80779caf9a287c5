// A training step as a list of operations, each with the memory that it holds: read from the
// autograd functions of altup/ops and from how altup/models puts them together. It speaks of the CPU
// kernels and of examples without padding. Not counted is what is small: ids, the biases by distance,
// the gradients of norms and of AltUp's coefficients, the workspaces of products.
#pragma once

#include "altup/models/t5_config.h"
#include "trainers/backward_walk.h"
#include "trainers/step_shape.h"

namespace altup {

/// Encoder and decoder, from the embedding to what the head reads, in the order of the forward pass.
/// Parts are "ends" (embeddings and final norms), "norms", "attention", "feed_forward", "altup",
/// "lowered_weights" (bf16 copies) and, with activation checkpointing, "layer_inputs".
Operations step_operations(const T5Config& model, const StepShape& shape);

/// The head and the loss, which make their gradients in the forward pass already.
struct LossMemory {
  double head_gradient = 0;  ///< there until the optimiser
  double temporary = 0;      ///< beside it and what the operations above keep
};
LossMemory loss_memory(const T5Config& model, const StepShape& shape);

}  // namespace altup
