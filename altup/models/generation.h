// Turning inputs into output ids, one token at a time, with the decoder's cache.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "altup/models/t5.h"

namespace altup {

struct GenerationConfig {
  int64_t max_new_tokens = 64;  ///< eos included; there is no other limit
  /// Ids from here on are never produced: the rows that pad the embedding past pieces + sentinels.
  /// 0: vocab_size.
  int64_t valid_vocab = 0;
  bool stop_at_eos = true;  ///< false: always max_new_tokens, for timings
};

struct Generation {
  /// Ids of each example, without the leading pad, eos included where it was produced.
  std::vector<std::vector<int64_t>> ids;
  /// Outputs that the limit cut before eos.
  int64_t truncated = 0;
};

/// Greedy decoding. input_ids [B, S] int64, input_mask [B, S] bool or undefined. An example's ids
/// do not depend on the others in its batch. Runs without gradients and in evaluation mode,
/// whatever the model's mode is.
Generation generate_greedy(T5& model, const torch::Tensor& input_ids,
                           const torch::Tensor& input_mask, const GenerationConfig& config);

}  // namespace altup
