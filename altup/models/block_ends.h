// Where a token's K blocks begin and end (AltUp paper, sections 3 and 4; the table in
// docs/architecture.md): how an embedding becomes the state [K, B, T, d] of a stack, and how that
// state becomes one vector a token again.
#pragma once

#include <torch/types.h>

#include "altup/models/t5_config.h"

namespace altup {

/// embedded [B, T, embedding width] -> state [K, B, T, d]. Dense: the embedding. AltUp: split into
/// its K blocks. Recycled: the embedding K times, as a view. Sum: its K parts added, K = 1.
torch::Tensor enter_blocks(const torch::Tensor& embedded, const T5Config& config);

/// state [K, B, T, d] -> [B, T, K·d], the blocks side by side, where `wide`; else [B, T, d], their
/// mean. (The paper sums; the RMSNorm that follows removes the factor K, and the mean of equal
/// blocks is that block, bit for bit, so that Recycled starts as the dense model.)
torch::Tensor leave_blocks(const torch::Tensor& state, bool wide);

}  // namespace altup
