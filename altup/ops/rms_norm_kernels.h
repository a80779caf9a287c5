// The CPU kernels of altup::rms_norm and altup::add_rms_norm as rms_norm_cpu.cpp sees them; see
// kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// Rows of `width` numbers. The residual stream is fp32; Scalar is the type of what a layer makes
/// and reads.
template <typename Scalar>
struct RmsNormArguments {
  std::int64_t width = 0;
  float epsilon = 0;
  const float* x = nullptr;       // forward: before delta is added; backward: the sum
  const Scalar* delta = nullptr;  // added to x; null: nothing
  const float* weight = nullptr;  // [width]
  float* sum = nullptr;           // x + delta; null without delta
  Scalar* y = nullptr;            // (x + delta) · rstd · weight
  float* rstd = nullptr;          // [rows]: 1 / sqrt(mean((x + delta)²) + epsilon)

  const Scalar* dy = nullptr;   // backward
  const float* dsum = nullptr;  // what else depends on the sum; null: nothing
  float* dx = nullptr;
  Scalar* ddelta = nullptr;  // dx in Scalar; null: not wanted
};

/// Both work on the rows [begin, end). The backward kernel adds these rows' share of the weight's
/// gradient to `dweight` [width].
template <typename Scalar>
struct RmsNormKernels {
  using Forward = void (*)(const RmsNormArguments<Scalar>&, std::int64_t begin, std::int64_t end);
  using Backward = void (*)(const RmsNormArguments<Scalar>&, std::int64_t begin, std::int64_t end,
                            float* dweight);
  Forward forward = nullptr;
  Backward backward = nullptr;
};

// Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Scalar>
RmsNormKernels<Scalar> rms_norm_kernels();
}
namespace vector32 {
template <typename Scalar>
RmsNormKernels<Scalar> rms_norm_kernels();
}
namespace vector64 {
template <typename Scalar>
RmsNormKernels<Scalar> rms_norm_kernels();
}

}  // namespace altup::internal
