// The CPU kernels of altup::gated_gelu as gated_gelu_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// All of one size, contiguous.
template <typename Scalar>
struct GatedGeluArguments {
  const Scalar* gate = nullptr;
  const Scalar* value = nullptr;
  Scalar* y = nullptr;  // forward: gelu(gate) · value

  const Scalar* dy = nullptr;  // backward
  Scalar* dgate = nullptr;
  Scalar* dvalue = nullptr;
};

/// Both work on the elements [begin, end).
template <typename Scalar>
struct GatedGeluKernels {
  using Kernel = void (*)(const GatedGeluArguments<Scalar>&, std::int64_t begin, std::int64_t end);
  Kernel forward = nullptr;
  Kernel backward = nullptr;
};

// Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Scalar>
GatedGeluKernels<Scalar> gated_gelu_kernels();
}
namespace vector32 {
template <typename Scalar>
GatedGeluKernels<Scalar> gated_gelu_kernels();
}
namespace vector64 {
template <typename Scalar>
GatedGeluKernels<Scalar> gated_gelu_kernels();
}

}  // namespace altup::internal
