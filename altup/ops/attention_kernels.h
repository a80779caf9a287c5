// The CPU kernels of altup::attention as attention_cpu.cpp sees them; see kernel_types.h. The
// products around them are ATen's.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// The queries of one head and example: rows of `keys` scores.
template <typename Scalar>
struct AttentionRows {
  std::int64_t keys = 0;        // S
  Scalar* scores = nullptr;     // [rows, S]: q K^T; replaced
  const float* bias = nullptr;  // [rows, S], rows bias_stride apart; null: none
  std::int64_t bias_stride = 0;
  const float* key_bias = nullptr;  // [S]; null: none
  float* lse = nullptr;             // [rows]: log of the sum of exponentials; forward writes it

  Scalar* dweights = nullptr;  // backward, [rows, S]: dO V^T; replaced by the scores' gradient
  const float* dot = nullptr;  // backward, [rows]: Σ_S weights · dweights, from dO · O
  float* dbias = nullptr;      // backward, [rows, S], added to; null: not wanted
};

/// Both work on the rows [begin, end) and leave the weights, softmax(scores), in `scores`.
template <typename Scalar>
struct AttentionKernels {
  using Kernel = void (*)(const AttentionRows<Scalar>&, std::int64_t begin, std::int64_t end);
  Kernel forward = nullptr;
  Kernel backward = nullptr;
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

}  // namespace altup::internal
