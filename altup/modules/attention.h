// Multi-head attention as in T5: no biases in the projections, no scaling of the scores (the
// initialisation of q absorbs it), an additive bias that may be learnt, and a cache of keys and
// values for decoding.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <vector>

#include "altup/modules/linear.h"
#include "altup/ops/ops.h"

namespace altup {

struct AttentionConfig {
  int64_t d_model = 512;       ///< width of the queries' tokens and of the output
  int64_t memory_width = 512;  ///< width of the tokens that keys and values are made of
  int64_t d_kv = 64;           ///< width of a head
  int64_t num_heads = 8;
  double dropout = 0.0;  ///< on the attention weights
};

/// Keys and values of the tokens seen so far, of which `length` are set, and where to find a row's.
/// When rows change places their indices do; keys and values stay where they are.
struct AttentionCache {
  torch::Tensor keys;  ///< [N, H, capacity, d_kv]
  torch::Tensor values;
  /// Which of the N each of the R rows reads: [R, capacity] int64, of its tokens one by one, or [R].
  torch::Tensor sources;
  int64_t length = 0;
  int64_t expected_length = 0;  ///< room for as many is made at once, if not too many; 0: unknown

  /// Adds tokens [R, T, H, d_kv] of rows 0 … R − 1, which from then on are theirs. `type`: what an
  /// empty cache keeps them in.
  void append(const torch::Tensor& new_keys, const torch::Tensor& new_values,
              torch::ScalarType type = torch::kFloat);
  torch::Tensor current_keys() const { return keys.narrow(2, 0, length); }  // [N, H, length, d_kv]
  torch::Tensor current_values() const {
    return values.narrow(2, 0, length);
  }  // [N, H, length, d_kv]

 private:
  void make_room(const torch::Tensor& new_keys, torch::ScalarType type);
};

/// Caches of one decoder layer.
struct LayerCache {
  AttentionCache self;
  AttentionCache cross;
};

/// What a decoder keeps from one token to the next. Keys and values have the width heads · d_kv:
/// their size does not depend on the number of AltUp blocks. At first there is a row an input;
/// select_rows() then says which rows there are. All read the cross-attention of their input.
struct KvCache {
  std::vector<LayerCache> layers;
  torch::Tensor memory_bias;  ///< [B, S], or undefined where every token is visible
  /// Bias of a query on the keys up to its own: the last t columns are that of query t − 1.
  torch::Tensor newest_bias;    ///< [1, H, 1, capacity]
  int64_t expected_length = 0;  ///< tokens that will be decoded, see AttentionCache

  /// Tokens decoded so far.
  int64_t length() const { return layers.empty() ? 0 : layers.front().self.length; }
  /// Row i becomes what row rows[i] was. rows [R] int64; a row may be left out or occur often. Only
  /// indices move, also when all rows of an input go.
  void select_rows(const torch::Tensor& rows);
  int64_t bytes() const;  ///< of the keys and values
};

/// Bias that hides: 0 where `mask` is true, a number that no softmax survives elsewhere. Finite, so
/// that a row without any visible key gives a uniform distribution rather than NaN. mask [..] bool
/// -> [..] of `dtype`.
torch::Tensor mask_to_bias(const torch::Tensor& mask, torch::ScalarType dtype);

class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionConfig& config);
  /// Standard deviations of SYSTEM's table: q (d·d_kv)^-1/2, k and v (memory width)^-1/2, o
  /// (heads·d_kv)^-1/2.
  void reset_parameters();

  /// x [B, T, d_model] attends to itself -> [B, T, d_model]. The dropout of `options` is set here.
  torch::Tensor self_attention(const torch::Tensor& x, const AttentionOptions& options);
  /// x [B, T, d_model] attends to memory [B, S, memory_width] -> [B, T, d_model].
  torch::Tensor cross_attention(const torch::Tensor& x, const torch::Tensor& memory,
                                const AttentionOptions& options);

  /// x [B, T, d_model], the tokens after the cached ones, attends to both; its keys and values are
  /// appended. bias [1 or B, H, T, past + T].
  torch::Tensor cached_self_attention(const torch::Tensor& x, const torch::Tensor& bias,
                                      AttentionCache& cache);
  /// x [B·n, T, d_model] attends to memory [B, S, memory_width], n rows in turn to the same one.
  /// key_bias [B, S] or undefined. Keys and values are computed at the first call only; later ones
  /// may leave `memory` undefined, and their rows read what the cache's sources say.
  torch::Tensor cached_cross_attention(const torch::Tensor& x, const torch::Tensor& memory,
                                       const torch::Tensor& key_bias, AttentionCache& cache);

  Linear q{nullptr}, k{nullptr}, v{nullptr}, o{nullptr};

 private:
  torch::Tensor by_head(const torch::Tensor& projected) const;  // [B, T, H·d_kv] -> [B, T, H, d_kv]
  /// Of keys and values in a cache: that which products are lowered to.
  torch::ScalarType cached_type() const;
  torch::Tensor attend(const torch::Tensor& x, const torch::Tensor& memory,
                       AttentionOptions options);

  AttentionConfig config_;
};
TORCH_MODULE(Attention);

}  // namespace altup
