// A batch as tensors on the model's device: the one place where ids become tensors, and where they
// are padded if they are.
#pragma once

#include <torch/types.h>

#include "altup/data/batch.h"
#include "altup/models/t5.h"
#include "trainers/run_config.h"

namespace altup {

/// Padded: B rows. Unpadded: one row of all tokens, B = 1, S and T the sums of the lengths.
struct BatchTensors {
  torch::Tensor input_ids;    ///< [B, S] int64
  torch::Tensor input_mask;   ///< [B, S] bool, true where a token is real; undefined where all are
  torch::Tensor decoder_ids;  ///< [B, T] int64: the targets shifted right behind a pad
  torch::Tensor targets;      ///< [B·T] int64
  torch::Tensor weights;      ///< [B·T] fp32: 1 for a real target, 0 for padding
  SequenceOffsets offsets;    ///< where the examples begin; undefined where they are rows
  int64_t target_tokens = 0;  ///< sum of the weights
};

/// Examples [first, first + count) of `batch` as `config.train.padding` says. Where nothing is to be
/// padded since all lengths are equal, they are rows in any case: the same arithmetic, and the
/// simpler form.
BatchTensors to_tensors(const Batch& batch, int64_t first, int64_t count, const RunConfig& config,
                        const torch::Device& device);

/// Examples [first, first + count) without padding.
BatchTensors to_unpadded(const Batch& batch, int64_t first, int64_t count,
                         const torch::Device& device);

/// Examples [first, first + count), padded to the longest of them, or to `input_length` and
/// `target_length` where those are longer.
BatchTensors to_padded(const Batch& batch, int64_t first, int64_t count,
                       const torch::Device& device, int64_t input_length = 0,
                       int64_t target_length = 0);

/// The inputs of a batch alone, padded to the longest.
struct InputTensors {
  torch::Tensor ids;   ///< [B, S] int64
  torch::Tensor mask;  ///< [B, S] bool; undefined where every token is real
};
InputTensors to_padded_inputs(const Batch& batch, const torch::Device& device);

}  // namespace altup
