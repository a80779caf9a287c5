#include "altup/modules/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
  torch::nn::init::normal_(q->weight, 0.0, inverse_root(config_.d_model * config_.d_kv));
  torch::nn::init::normal_(k->weight, 0.0, inverse_root(config_.memory_width));
  torch::nn::init::normal_(v->weight, 0.0, inverse_root(config_.memory_width));
  torch::nn::init::normal_(o->weight, 0.0, inverse_root(config_.num_heads * config_.d_kv));
}

torch::Tensor AttentionImpl::split_heads(const torch::Tensor& projected) const {
  return projected.view({projected.size(0), projected.size(1), config_.num_heads, config_.d_kv})
      .transpose(1, 2);
}

torch::Tensor AttentionImpl::self_attention(const torch::Tensor& x, const torch::Tensor& bias,
                                            AttentionCache* cache) {
  const auto queries = split_heads(q(x));  // [B, H, T, d_kv]
  auto keys = split_heads(k(x));
  auto values = split_heads(v(x));
  if (cache != nullptr) {
    cache->append(keys, values);
    keys = cache->current_keys();
    values = cache->current_values();
  }
  return attend(queries, keys, values, bias);
}

torch::Tensor AttentionImpl::cross_attention(const torch::Tensor& x, const torch::Tensor& memory,
                                             const torch::Tensor& bias, AttentionCache* cache) {
  const bool cached = cache != nullptr && cache->length > 0;
  const int64_t inputs = cached ? cache->keys.size(0) : memory.size(0);
  // To cross-attention, which knows no order, the beams of an input are further queries.
  const auto folded = x.reshape({inputs, -1, x.size(2)});  // [B, n·T, d]
  const auto queries = split_heads(q(folded));             // [B, H, n·T, d_kv]
  if (cached) {
    return attend(queries, cache->current_keys(), cache->current_values(), bias).view(x.sizes());
  }
  const auto keys = split_heads(k(memory));
  const auto values = split_heads(v(memory));
  if (cache != nullptr) {
    cache->keys = keys.contiguous();
    cache->values = values.contiguous();
    cache->length = keys.size(2);
  }
  return attend(queries, keys, values, bias).view(x.sizes());
}

torch::Tensor AttentionImpl::attend(const torch::Tensor& queries, const torch::Tensor& keys,
                                    const torch::Tensor& values, const torch::Tensor& bias) {
  torch::Tensor context;  // [B, H, T, d_kv]
  // ATen's fused attention has no gradient for a bias, so training spells it out; also in the first
  // pass of a checkpointed layer, which runs without gradients and must draw the same dropout.
  if (torch::GradMode::is_enabled() || is_training()) {
    auto scores = torch::matmul(queries, keys.transpose(2, 3));  // [B, H, T, S]
    if (bias.defined()) scores = scores + bias;
    auto weights = torch::softmax(scores, -1);
    if (is_training() && config_.dropout > 0)
      weights = torch::dropout(weights, config_.dropout, true);
    context = torch::matmul(weights, values);
  } else {
    std::optional<torch::Tensor> mask;
    if (bias.defined()) mask = bias.to(queries.scalar_type());
    context = torch::scaled_dot_product_attention(queries, keys, values, mask, /*dropout_p=*/0.0,
                                                  /*is_causal=*/false, /*scale=*/1.0);
  }
  const auto merged = context.transpose(1, 2).reshape(
      {context.size(0), context.size(2), config_.num_heads * config_.d_kv});  // [B, T, H·d_kv]
  return o(merged);
}

}  // namespace altup
