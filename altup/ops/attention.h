// What the files of the operator `altup::attention` share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "altup/ops/ops.h"
#include "altup/ops/optional_tensor.h"

namespace altup::internal {

using AttentionOutputs = std::tuple<at::Tensor, at::Tensor>;  ///< out, lse [B, H, T]
using AttentionGradients =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;  ///< dq, dk, dv, drelative_bias

/// What decides beside q, k and v; see AttentionOptions of ops.h.
struct AttentionTerms {
  OptionalTensor relative_bias;  // [H, L]
  int64_t zero_distance = 0;
  bool causal = false;
  OptionalTensor key_bias;       // [B, S]
  OptionalTensor query_offsets;  // [n + 1]
  OptionalTensor key_offsets;    // [n + 1]
  double dropout = 0.0;
  int64_t seed = 0;
};

inline AttentionTerms terms_of(const AttentionOptions& options) {
  return {optional(options.relative_bias),
          options.zero_distance,
          options.causal,
          optional(options.key_bias),
          optional(options.query_offsets),
          optional(options.key_offsets),
          options.dropout,
          options.seed};
}

/// Checks shapes, types and devices, as ops.h promises; not what the offsets hold.
void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionTerms& terms);
void check_attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const AttentionTerms& terms,
                              const at::Tensor& out, const at::Tensor& lse, bool bias_gradient);

/// A run of queries and the keys that they attend to.
struct AttentionSequence {
  int64_t first_query, queries, first_key, keys;
};
/// The sequences of every example: those between the offsets, or one. Checks them, and that the
/// relative bias reaches their longest distances.
std::vector<AttentionSequence> attention_sequences(const at::Tensor& q, const at::Tensor& k,
                                                   const AttentionTerms& terms);

/// The relative bias of T queries on S keys, spelled out: a view. [H, T, S]
at::Tensor spelled_out_bias(const at::Tensor& relative_bias, int64_t zero_distance, int64_t queries,
                            int64_t keys);

/// A draw of 24 bits keeps a weight unless it is below this.
uint32_t dropout_threshold(double dropout);
/// 0 or 1 / (1 - dropout) for every weight of a sequence that begins at row `first_query` of
/// all_queries. The draw of a weight is a hash of (seed, the number of its row (b H + h)
/// all_queries + t, the number of its key in the sequence), so that the backward pass, another
/// number of threads and another device make the same. fp32 [B, H, T, S] on the CPU
at::Tensor dropout_factors(int64_t batch, int64_t heads, const AttentionSequence& sequence,
                           int64_t all_queries, double dropout, int64_t seed);

/// Composed of ATen operators: what devices and types without a kernel run.
AttentionOutputs attention_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionTerms& terms);
AttentionGradients attention_backward_composed(const at::Tensor& dout, const at::Tensor& q,
                                               const at::Tensor& k, const at::Tensor& v,
                                               const AttentionTerms& terms, const at::Tensor& out,
                                               const at::Tensor& lse, bool bias_gradient);

/// The registered operator, through the dispatcher.
AttentionOutputs dispatch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionTerms& terms);

// The operator's schema has the terms one by one; these hand them to a function as a struct.
template <auto kFunction>
AttentionOutputs from_schema(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const OptionalTensor& relative_bias, int64_t zero_distance,
                             bool causal, const OptionalTensor& key_bias,
                             const OptionalTensor& query_offsets, const OptionalTensor& key_offsets,
                             double dropout, int64_t seed) {
  return kFunction(q, k, v,
                   AttentionTerms{relative_bias, zero_distance, causal, key_bias, query_offsets,
                                  key_offsets, dropout, seed});
}
template <auto kFunction>
AttentionGradients backward_from_schema(const at::Tensor& dout, const at::Tensor& q,
                                        const at::Tensor& k, const at::Tensor& v,
                                        const OptionalTensor& relative_bias, int64_t zero_distance,
                                        bool causal, const OptionalTensor& key_bias,
                                        const OptionalTensor& query_offsets,
                                        const OptionalTensor& key_offsets, double dropout,
                                        int64_t seed, const at::Tensor& out, const at::Tensor& lse,
                                        bool bias_gradient) {
  return kFunction(dout, q, k, v,
                   AttentionTerms{relative_bias, zero_distance, causal, key_bias, query_offsets,
                                  key_offsets, dropout, seed},
                   out, lse, bias_gradient);
}

}  // namespace altup::internal
