// The CPU kernels of altup::update as altup_update_cpu.cpp sees them. They are compiled once for
// each vector width (see CMakeLists.txt) with that processor's flags, and therefore include nothing
// that could leave an inline function in the object file: the linker might pick it for a processor
// without those instructions.
#pragma once

#include <cstdint>
#include <type_traits>

namespace altup::internal {

/// c10::BFloat16, bit for bit.
struct BFloat16Bits {
  std::uint16_t bits;
};

/// What the sums over activations of type Scalar are done in.
template <typename Scalar>
using SumType = std::conditional_t<std::is_same_v<Scalar, double>, double, float>;

/// One call of the operator. The formulas act on each element of a block alone, with the same
/// coefficients, so [B, T, d] is one row of block_size elements here. (Coefficients that differ
/// from token to token would make it rows of d.) The blocks of x and of dy lie *_stride elements
/// apart, those of y and dx block_size.
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

// One namespace per vector width. Defined for float, double and BFloat16Bits.
namespace vector16 {  // SSE2, NEON: every processor
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}
namespace vector32 {  // AVX2 and FMA
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}
namespace vector64 {  // AVX-512
template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks);
}

}  // namespace altup::internal
