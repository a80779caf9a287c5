#include "altup/modules/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "altup/modules/initialisation.h"
#include "altup/ops/ops.h"

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

torch::Tensor AttentionImpl::self_attention(const torch::Tensor& x, const torch::Tensor& bias,
                                            const torch::Tensor& key_bias, AttentionCache* cache) {
  const auto queries = by_head(q(x));  // [B, T, H, d_kv]
  const auto keys = by_head(k(x));
  const auto values = by_head(v(x));
  if (cache == nullptr) return attend(queries, keys, values, bias, key_bias);
  cache->append(keys.transpose(1, 2), values.transpose(1, 2));
  return attend_cached(queries, *cache, bias);
}

torch::Tensor AttentionImpl::cross_attention(const torch::Tensor& x, const torch::Tensor& memory,
                                             const torch::Tensor& key_bias, AttentionCache* cache) {
  const bool cached = cache != nullptr && cache->length > 0;
  const int64_t inputs = cached ? cache->keys.size(0) : memory.size(0);
  // To cross-attention, which knows no order, the beams of an input are further queries.
  const auto folded = x.reshape({inputs, -1, x.size(2)});  // [B, n·T, d]
  const auto queries = by_head(q(folded));                 // [B, n·T, H, d_kv]
  if (!cached) {
    const auto keys = by_head(k(memory));
    const auto values = by_head(v(memory));
    if (cache == nullptr) return attend(queries, keys, values, {}, key_bias).view(x.sizes());
    cache->keys = keys.transpose(1, 2).contiguous();
    cache->values = values.transpose(1, 2).contiguous();
    cache->length = keys.size(1);
  }
  const auto bias = key_bias.defined() ? key_bias.unsqueeze(1).unsqueeze(1) : key_bias;
  return attend_cached(queries, *cache, bias).view(x.sizes());
}

torch::Tensor AttentionImpl::attend(const torch::Tensor& queries, const torch::Tensor& keys,
                                    const torch::Tensor& values, const torch::Tensor& bias,
                                    const torch::Tensor& key_bias) {
  if (!is_training() || config_.dropout == 0) {
    return o(attention(queries, keys, values, bias, key_bias).flatten(2));
  }
  // Dropout of the weights needs them spelled out.
  const auto rows = queries.transpose(1, 2);                                // [B, H, T, d_kv]
  auto scores = torch::matmul(rows, keys.transpose(1, 2).transpose(2, 3));  // [B, H, T, S]
  if (bias.defined()) scores = scores + bias;
  if (key_bias.defined()) scores = scores + key_bias.unsqueeze(1).unsqueeze(1);
  const auto weights = torch::dropout(torch::softmax(scores, -1), config_.dropout, true);
  return o(torch::matmul(weights, values.transpose(1, 2)).transpose(1, 2).flatten(2));
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
