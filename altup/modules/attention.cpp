#include "altup/modules/attention.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "altup/modules/initialisation.h"

namespace altup {
namespace {

constexpr int64_t kFirstCapacity = 16;
constexpr int64_t kLargestFirstCapacity = 512;

int64_t bytes_of(const torch::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

// Every row's own number. [rows, 1] int64
torch::Tensor row_numbers(int64_t rows, const torch::Device& device) {
  return torch::arange(rows, torch::TensorOptions().dtype(torch::kInt64).device(device))
      .unsqueeze(1);
}

}  // namespace

void AttentionCache::make_room(const torch::Tensor& new_keys, torch::ScalarType type) {
  const int64_t rows = new_keys.size(0);
  const int64_t needed = length + new_keys.size(1);
  const int64_t old_rows = keys.defined() ? keys.size(0) : 0;
  int64_t capacity = keys.defined() ? keys.size(2) : 0;
  if (needed > capacity) {  // doubling keeps appending linear in the number of tokens
    const int64_t first =
        expected_length > 0 ? std::min(expected_length, kLargestFirstCapacity) : kFirstCapacity;
    capacity = std::max({needed, 2 * capacity, first});
  } else if (rows <= old_rows) {
    return;
  }
  const auto options = keys.defined() ? keys.options() : new_keys.options().dtype(type);
  for (auto* buffer : {&keys, &values}) {
    auto larger = torch::empty(
        {std::max(rows, old_rows), new_keys.size(2), capacity, new_keys.size(3)}, options);
    if (length > 0) {
      larger.narrow(0, 0, old_rows).narrow(2, 0, length).copy_(buffer->narrow(2, 0, length));
    }
    *buffer = larger;
  }
  const auto own = row_numbers(rows, keys.device()).expand({rows, capacity}).contiguous();
  if (length > 0) own.narrow(1, 0, length).copy_(sources.narrow(1, 0, length));
  sources = own;
}

void AttentionCache::append(const torch::Tensor& new_keys, const torch::Tensor& new_values,
                            torch::ScalarType type) {
  make_room(new_keys, type);
  append_to_cache(keys, values, new_keys, new_values, length);
  length += new_keys.size(1);
}

void KvCache::select_rows(const torch::Tensor& rows) {
  const auto& self = layers.front().self;
  const auto sources = self.sources.index_select(0, rows);  // [R, capacity]
  // Tokens to come are each row's own.
  sources.narrow(1, self.length, sources.size(1) - self.length)
      .copy_(row_numbers(rows.size(0), rows.device()));
  const auto inputs = layers.front().cross.sources.index_select(0, rows);  // [R]
  for (auto& layer : layers) {
    layer.self.sources = sources;
    layer.cross.sources = inputs;
  }
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

torch::ScalarType AttentionImpl::cached_type() const {
  const auto device = k->weight.device().type();
  if (at::autocast::is_autocast_enabled(device)) return at::autocast::get_autocast_dtype(device);
  return k->is_quantised() ? torch::kBFloat16 : k->weight.scalar_type();
}

torch::Tensor AttentionImpl::cached_self_attention(const torch::Tensor& x,
                                                   const torch::Tensor& bias,
                                                   AttentionCache& cache) {
  const auto projected = project(x, {q, k, v});  // [R, T, H·d_kv] each
  cache.append(by_head(projected[1]), by_head(projected[2]), cached_type());
  return o(cached_attention(by_head(projected[0]), cache.keys, cache.values, cache.length,
                            cache.sources, bias));
}

torch::Tensor AttentionImpl::cached_cross_attention(const torch::Tensor& x,
                                                    const torch::Tensor& memory,
                                                    const torch::Tensor& key_bias,
                                                    AttentionCache& cache) {
  if (cache.length == 0) {
    const auto keep = [&](Linear& projection) {
      const auto made = by_head(projection(memory)).transpose(1, 2);
      return made.to(cached_type()).contiguous();  // [B, H, S, d_kv]
    };
    cache.keys = keep(k);
    cache.values = keep(v);
    cache.length = memory.size(1);
    cache.sources = row_numbers(memory.size(0), x.device())
                        .expand({-1, x.size(0) / memory.size(0)})
                        .flatten();  // [B·n]
  }
  return o(cached_attention(by_head(q(x)), cache.keys, cache.values, cache.length, cache.sources,
                            {}, key_bias));
}

}  // namespace altup
