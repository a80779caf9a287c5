// The CPU kernels of altup::attention as attention_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// Rows of d numbers, `stride` apart.
template <typename Scalar>
struct HeadRows {
  Scalar* data = nullptr;
  std::int64_t stride = 0;
};

/// Dropout of the weights; see dropout_keeps() in attention.h.
struct AttentionDropout {
  std::uint32_t threshold = 0;  // of 2^24; 0: none
  float scale = 1.0F;           // of what is kept
  std::uint64_t seed = 0;
  std::int64_t first_row = 0;  // the number of the head's first query
};

/// One head of one sequence: T queries, S keys, width d.
template <typename Scalar>
struct AttentionHead {
  std::int64_t queries = 0;  // T
  std::int64_t keys = 0;     // S
  std::int64_t width = 0;    // d
  HeadRows<const Scalar> q, k, v;
  const float* relative_bias = nullptr;  // at distance 0 (key - query); null: none
  bool causal = false;                   // keys behind their query only
  const float* key_bias = nullptr;       // [S]; null: none
  AttentionDropout dropout;
  HeadRows<Scalar> out;          // backward reads it
  float* lse = nullptr;          // [T]: log of the sum of exponentials; backward reads it
  std::byte* scratch = nullptr;  // scratch_bytes() of the largest head, aligned to 64 bytes

  // backward
  HeadRows<const Scalar> dout;
  HeadRows<Scalar> dq, dk, dv;
  float* drelative_bias = nullptr;  // at distance 0; added to; null: not wanted
};

template <typename Scalar>
struct AttentionKernels {
  using Kernel = void (*)(const AttentionHead<Scalar>&);
  Kernel forward = nullptr;
  Kernel backward = nullptr;
  /// For up to this many keys of this width.
  std::int64_t (*scratch_bytes)(std::int64_t keys, std::int64_t width) = nullptr;
};

// Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Scalar>
AttentionKernels<Scalar> attention_kernels();
}
namespace vector32 {
template <typename Scalar>
AttentionKernels<Scalar> attention_kernels();
}
namespace vector64 {
template <typename Scalar>
AttentionKernels<Scalar> attention_kernels();
}
namespace vector64_bf16 {
template <typename Scalar>
AttentionKernels<Scalar> attention_kernels();
}

}  // namespace altup::internal
