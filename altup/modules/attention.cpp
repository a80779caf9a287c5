#include "altup/modules/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "altup/modules/initialisation.h"

namespace altup {
namespace {

// A buffer like `old` for `rows` rows and `capacity` tokens. [rows, H, capacity, d_kv]
torch::Tensor new_buffer(const torch::Tensor& old, int64_t rows, int64_t capacity) {
  return torch::empty({rows, old.size(1), capacity, old.size(3)}, old.options());
}

int64_t bytes_of(const torch::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

}  // namespace

void AttentionCache::append(const torch::Tensor& new_keys, const torch::Tensor& new_values) {
  const int64_t needed = length + new_keys.size(2);
  const int64_t capacity = keys.defined() ? keys.size(2) : 0;
  if (needed > capacity) {  // doubling keeps appending linear in the number of tokens
    const int64_t grown = std::max(needed, std::max<int64_t>(2 * capacity, 16));
    for (auto [buffer, added] : {std::pair(&keys, &new_keys), std::pair(&values, &new_values)}) {
      auto larger = new_buffer(*added, added->size(0), grown);
      if (length > 0) larger.narrow(2, 0, length).copy_(buffer->narrow(2, 0, length));
      *buffer = larger;
    }
  }
  keys.narrow(2, length, new_keys.size(2)).copy_(new_keys);
  values.narrow(2, length, new_values.size(2)).copy_(new_values);
  length = needed;
}

void AttentionCache::select_rows(const torch::Tensor& rows) {
  for (auto* buffer : {&keys, &values}) {
    auto selected = new_buffer(*buffer, rows.size(0), buffer->size(2));
    auto set = selected.narrow(2, 0, length);  // what was not written need not be copied
    torch::index_select_out(set, buffer->narrow(2, 0, length), 0, rows);
    *buffer = selected;
  }
}

void KvCache::select_rows(const torch::Tensor& rows) {
  for (auto& layer : layers) layer.self.select_rows(rows);
}

void KvCache::select_inputs(const torch::Tensor& inputs) {
  for (auto& layer : layers) layer.cross.select_rows(inputs);
  if (memory_bias.defined()) memory_bias = memory_bias.index_select(0, inputs);
}

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  for (const auto& layer : layers) {
    for (const auto* cache : {&layer.self, &layer.cross}) {
      sum += bytes_of(cache->keys) + bytes_of(cache->values);
    }
  }
  return sum;
}

torch::Tensor mask_to_bias(const torch::Tensor& mask, torch::ScalarType dtype) {
  constexpr double kHidden = -1e9;
  return torch::zeros(mask.sizes(), mask.options().dtype(dtype))
      .masked_fill_(mask.logical_not(), kHidden);
}

AttentionImpl::AttentionImpl(const AttentionConfig& config) : config_(config) {
  const int64_t inner = config.num_heads * config.d_kv;
  q = register_module("q", Linear(config.d_model, inner));
  k = register_module("k", Linear(config.memory_width, inner));
  v = register_module("v", Linear(config.memory_width, inner));
  o = register_module("o", Linear(inner, config.d_model));
}

void AttentionImpl::reset_parameters() {
  const auto inverse_root = [](int64_t n) { return 1.0 / std::sqrt(static_cast<double>(n)); };
  // Keys and values read a memory of one block of d_model or of several.
  const int64_t block = config_.memory_width % config_.d_model == 0 ? config_.d_model : 0;
  draw_normal(q->weight, inverse_root(config_.d_model * config_.d_kv));
  draw_normal(k->weight, inverse_root(config_.memory_width), block);
  draw_normal(v->weight, inverse_root(config_.memory_width), block);
  draw_normal(o->weight, inverse_root(config_.num_heads * config_.d_kv));
}

torch::Tensor AttentionImpl::by_head(const torch::Tensor& projected) const {
  return projected.view({projected.size(0), projected.size(1), config_.num_heads, config_.d_kv});
}

torch::Tensor AttentionImpl::self_attention(const torch::Tensor& x,
                                            const AttentionOptions& options) {
  return attend(x, x, options);
}

torch::Tensor AttentionImpl::cross_attention(const torch::Tensor& x, const torch::Tensor& memory,
                                             const AttentionOptions& options) {
  return attend(x, memory, options);
}

torch::Tensor AttentionImpl::attend(const torch::Tensor& x, const torch::Tensor& memory,
                                    AttentionOptions options) {
  if (is_training() && config_.dropout > 0) {
    options.dropout = config_.dropout;
    // From the generator of the device, which activation checkpointing sets back.
    options.seed = torch::randint(std::numeric_limits<int64_t>::max(), {},
                                  torch::dtype(torch::kInt64).device(x.device()))
                       .item<int64_t>();
  }
  return o(attention(by_head(q(x)), by_head(k(memory)), by_head(v(memory)), options).flatten(2));
}

torch::Tensor AttentionImpl::cached_self_attention(const torch::Tensor& x,
                                                   const torch::Tensor& bias,
                                                   AttentionCache& cache) {
  const auto queries = by_head(q(x));  // [B, T, H, d_kv]
  cache.append(by_head(k(x)).transpose(1, 2), by_head(v(x)).transpose(1, 2));
  return attend_cached(queries, cache, bias);
}

torch::Tensor AttentionImpl::cached_cross_attention(const torch::Tensor& x,
                                                    const torch::Tensor& memory,
                                                    const torch::Tensor& key_bias,
                                                    AttentionCache& cache) {
  if (cache.length == 0) {
    cache.keys = by_head(k(memory)).transpose(1, 2).contiguous();
    cache.values = by_head(v(memory)).transpose(1, 2).contiguous();
    cache.length = memory.size(1);
  }
  // To cross-attention, which knows no order, the beams of an input are further queries.
  const auto folded = x.reshape({cache.keys.size(0), -1, x.size(2)});  // [B, n·T, d]
  const auto bias = key_bias.defined() ? key_bias.unsqueeze(1).unsqueeze(1) : key_bias;
  return attend_cached(by_head(q(folded)), cache, bias).view(x.sizes());
}

// Few queries and many keys: ATen's own fused attention, on the cache as it lies.
torch::Tensor AttentionImpl::attend_cached(const torch::Tensor& queries,
                                           const AttentionCache& cache, const torch::Tensor& bias) {
  std::optional<torch::Tensor> mask;
  if (bias.defined()) mask = bias.to(queries.scalar_type());
  const auto context = torch::scaled_dot_product_attention(
      queries.transpose(1, 2), cache.current_keys(), cache.current_values(), mask,
      /*dropout_p=*/0.0, /*is_causal=*/false, /*scale=*/1.0);  // [B, H, T, d_kv]
  return o(context.transpose(1, 2).flatten(2));
}

}  // namespace altup
