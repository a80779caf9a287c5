#include "altup/modules/attention.h"

#include <algorithm>
#include <cmath>

namespace altup {
void AttentionCache::append(const torch::Tensor& new_keys, const torch::Tensor& new_values) {
  const int64_t needed = length + new_keys.size(2);
  const int64_t capacity = keys.defined() ? keys.size(2) : 0;
  if (needed > capacity) {  // doubling keeps appending linear in the number of tokens
    auto sizes = new_keys.sizes().vec();
    sizes[2] = std::max(needed, std::max<int64_t>(2 * capacity, 16));
    auto grown_keys = torch::empty(sizes, new_keys.options());
    auto grown_values = torch::empty(sizes, new_values.options());
    if (length > 0) {
      grown_keys.narrow(2, 0, length).copy_(current_keys());
      grown_values.narrow(2, 0, length).copy_(current_values());
    }
    keys = grown_keys;
    values = grown_values;
  }
  keys.narrow(2, length, new_keys.size(2)).copy_(new_keys);
  values.narrow(2, length, new_values.size(2)).copy_(new_values);
  length = needed;
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
  const auto queries = split_heads(q(x));  // [B, H, T, d_kv]
  if (cache != nullptr && cache->length > 0) {
    return attend(queries, cache->current_keys(), cache->current_values(), bias);
  }
  const auto keys = split_heads(k(memory));
  const auto values = split_heads(v(memory));
  if (cache != nullptr) {
    cache->keys = keys.contiguous();
    cache->values = values.contiguous();
    cache->length = keys.size(2);
  }
  return attend(queries, keys, values, bias);
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
