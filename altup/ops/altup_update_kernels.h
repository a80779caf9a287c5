// The CPU kernels of altup::update as altup_update_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// One call of the operator. The formulas act on each element of a block alone, so [B, T, d] is one
/// row of block_size elements here; coefficients that differ from token to token are set before a
/// kernel is called for the elements of one. The blocks of x and of dy lie *_stride elements apart,
/// those of y and dx block_size.
template <typename Scalar>
struct UpdateArguments {
  int num_blocks = 0;
  int active_block = 0;
  std::int64_t block_size = 0;
  const Scalar* x = nullptr;
  std::int64_t x_stride = 0;
  const Scalar* x_tilde = nullptr;
  const SumType<Scalar>* p = nullptr;  // [K, K]
  const SumType<Scalar>* g = nullptr;  // [K]
  /// Results are written past the caches. Needs all of them, and `begin`, aligned to whole vectors,
  /// and a fence before they are read.
  bool streams = false;

  Scalar* y = nullptr;  // forward

  const Scalar* dy = nullptr;  // backward
  std::int64_t dy_stride = 0;
  Scalar* dx = nullptr;
  Scalar* dx_tilde = nullptr;
};

/// Both work on the elements [begin, end) of every block. The backward kernel writes the share of
/// these elements in dp (K·K numbers) and then dg (K numbers) to `sums`.
template <typename Scalar>
struct UpdateKernels {
  using Forward = void (*)(const UpdateArguments<Scalar>&, std::int64_t begin, std::int64_t end);
  using Backward = void (*)(const UpdateArguments<Scalar>&, std::int64_t begin, std::int64_t end,
                            double* sums);
  Forward forward = nullptr;
  Backward backward = nullptr;
};

/// The kernels exist for 1..kMaxFusedBlocks blocks: as many as keep all sums in registers.
inline constexpr int kMaxFusedBlocks = 4;

// Defined for float, double and BFloat16Bits.
namespace vector16 {
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}
namespace vector32 {
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}
namespace vector64 {
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}

}  // namespace altup::internal
