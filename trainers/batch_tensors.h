// A batch as tensors on the model's device: the one place where ids become tensors.
#pragma once

#include <torch/torch.h>

#include "altup/data/batch.h"

namespace altup {

struct BatchTensors {
  torch::Tensor input_ids;    ///< [B, S] int64
  torch::Tensor input_mask;   ///< [B, S] bool, true where a token is real; undefined where all are
  torch::Tensor decoder_ids;  ///< [B, T] int64: the targets shifted right behind a pad
  torch::Tensor targets;      ///< [B·T] int64
  torch::Tensor weights;      ///< [B·T] fp32: 1 for a real target, 0 for padding
  int64_t target_tokens = 0;  ///< sum of the weights
};

/// Examples [first, first + count) of `batch`, padded to the longest of them only.
BatchTensors to_tensors(const Batch& batch, int64_t first, int64_t count,
                        const torch::Device& device);

/// [B, S] bool of the lengths, or an undefined tensor where every length is S.
torch::Tensor length_mask(const std::vector<int64_t>& lengths, int64_t longest,
                          const torch::Device& device);

}  // namespace altup
