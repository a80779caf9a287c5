// What the kernels and their callers share. A kernel file, *_kernels.cpp, is compiled once for each
// vector width (see CMakeLists.txt) with that processor's flags, and therefore includes nothing
// that could leave an inline function in the object file: the linker might pick it for a processor
// without those instructions. Its functions stand in a namespace for each width:
//
//   vector16   SSE2, NEON: every processor
//   vector32   AVX2 and FMA
//   vector64   AVX-512
//   vector64_bf16  AVX-512 with its bfloat16 instructions; attention only
//   vector64_vnni  AVX-512 with its neural network instructions; linear_few_rows in int8 only
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

}  // namespace altup::internal
