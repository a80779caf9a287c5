// T5's relative position bias (Raffel et al. 2020, section 2.1): a learnt scalar for each head and
// each bucket of the distance key - query, added to the attention scores. Buckets are exact for
// short distances and logarithmic up to max_distance. One bias is shared by all self-attention
// layers of a stack.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace altup {

struct RelativeBiasConfig {
  int64_t num_heads = 1;
  int64_t buckets = 32;
  int64_t max_distance = 128;  ///< tokens
  bool bidirectional = true;   ///< encoder: half of the buckets look ahead
};

class RelativeBiasImpl : public torch::nn::Module {
 public:
  explicit RelativeBiasImpl(const RelativeBiasConfig& config);
  void reset_parameters(double standard_deviation);
  /// Bias of queries at positions [first_query, first_query + num_queries) on keys at [0,
  /// num_keys): [1, num_heads, num_queries, num_keys].
  torch::Tensor forward(int64_t num_queries, int64_t num_keys, int64_t first_query = 0);
  /// Bias of the distances key - query in [first, first + count), or of `stride` times these:
  /// [num_heads, count].
  torch::Tensor by_distance(int64_t first, int64_t count, int64_t stride = 1);

  torch::Tensor weight;  // [buckets, num_heads]

 private:
  RelativeBiasConfig config_;
};
TORCH_MODULE(RelativeBias);

/// Bucket of each distance key - query in [first, first + count), or of `stride` times these: int64
/// [count].
torch::Tensor relative_buckets(int64_t first, int64_t count, const RelativeBiasConfig& config,
                               int64_t stride = 1);

}  // namespace altup
