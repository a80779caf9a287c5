// What a training step's cost depends on beside the model: how many examples of which lengths, in
// which precision, on how many threads. Read from a run, so that the predictions of memory and time
// speak of the same step as `altup bench step` measures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "trainers/run_config.h"

namespace altup {

struct StepShape {
  int64_t batch = 0;          ///< examples at once, a micro-batch
  int64_t micro_batches = 1;  ///< of a step; their gradients are added up
  int64_t input_length = 0;
  int64_t target_length = 0;
  bool bf16 = false;           ///< products and what they read; else fp32
  bool checkpointing = false;  ///< layers are computed again in the backward pass
  int64_t threads = 1;

  int64_t input_tokens() const { return batch * input_length; }
  int64_t target_tokens() const { return batch * target_length; }
  /// Bytes of a number that a product reads or writes.
  double product_bytes() const { return bf16 ? 2.0 : 4.0; }

  /// Positions of an input that a layer of the encoder computes, and that the decoder sees.
  int64_t computed_length(const T5Config& model, int64_t layer) const {
    const bool few = model.strides_layer(layer) || (model.pools_memory() && layer > 0);
    return few ? shortened_length(model) : input_length;
  }
  int64_t memory_length(const T5Config& model) const {
    return model.pools_memory() ? shortened_length(model) : input_length;
  }

  /// Places that one expert of a mixture has, of so many tokens in all; see expert_capacity() of
  /// altup/modules/routing.h.
  static int64_t capacity(const MoeConfig& moe, int64_t tokens) {
    constexpr double kRounding = 1e-9;
    const double share =
        static_cast<double>(tokens) * moe.capacity_factor / static_cast<double>(moe.experts);
    return static_cast<int64_t>(std::ceil(share - kRounding));
  }

  /// The logits are made a chunk of target tokens at a time, each of up to 64 MiB; see
  /// altup/ops/cross_entropy_cpu.cpp.
  int64_t logit_chunks(int64_t vocabulary) const {
    constexpr int64_t kChunkBytes = 64 << 20;
    const int64_t bytes = target_tokens() * vocabulary * (bf16 ? 2 : 4);
    return std::max<int64_t>(1, (bytes + kChunkBytes - 1) / kChunkBytes);
  }
  /// Tokens of a chunk.
  int64_t logit_rows(int64_t vocabulary) const {
    const int64_t chunks = logit_chunks(vocabulary);
    return (target_tokens() + chunks - 1) / chunks;
  }

 private:
  int64_t shortened_length(const T5Config& model) const {
    return (input_length + model.altup.stride - 1) / model.altup.stride;
  }
};

/// `precision` is resolved, see resolve_precision().
inline StepShape step_shape(const RunConfig& config, Precision precision, int64_t threads) {
  const auto lengths = config.maximum_lengths();
  const int64_t batch = config.train.batch_size;
  const int64_t micro = config.train.micro_batch_size > 0 ? config.train.micro_batch_size : batch;
  return {.batch = micro,
          .micro_batches = batch / micro,
          .input_length = lengths.input,
          .target_length = lengths.target,
          .bf16 = precision == Precision::kBf16,
          .checkpointing = config.train.activation_checkpointing,
          .threads = threads};
}

}  // namespace altup
