// The CPU kernels of altup::cached_attention as cached_attention.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// One query of one head: out = softmax(q K^T + bias + key_bias) V over `length` tokens, each in the
/// row of the cache that `sources` says.
template <typename Cached>
struct CachedAttentionArguments {
  std::int64_t length = 0;
  std::int64_t width = 0;        ///< of a head
  std::int64_t row_stride = 0;   ///< from a row of the cache to the next; tokens lie `width` apart
  const float* q = nullptr;      ///< [width]
  const Cached* keys = nullptr;  ///< of this head, in row 0
  const Cached* values = nullptr;
  const std::int64_t* sources = nullptr;  ///< of token 0
  std::int64_t source_stride = 0;         ///< 1, or 0: one row for all tokens
  const float* bias = nullptr;            ///< [length] or null
  const float* key_bias = nullptr;        ///< of row 0, tokens side by side; or null
  std::int64_t key_bias_stride = 0;       ///< from a row to the next
  float* weights = nullptr;               ///< [length], scratch
  float* out = nullptr;                   ///< [width]
};

template <typename Cached>
struct CachedAttentionKernels {
  void (*attend)(const CachedAttentionArguments<Cached>&) = nullptr;
  /// `count` numbers into the cache's type.
  void (*convert)(const float* from, Cached* to, std::int64_t count) = nullptr;
};

// Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Cached>
CachedAttentionKernels<Cached> cached_attention_kernels();
}
namespace vector32 {
template <typename Cached>
CachedAttentionKernels<Cached> cached_attention_kernels();
}
namespace vector64 {
template <typename Cached>
CachedAttentionKernels<Cached> cached_attention_kernels();
}

}  // namespace altup::internal
