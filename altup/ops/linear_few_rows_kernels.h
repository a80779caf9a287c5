// The CPU kernels of altup::linear_few_rows as linear_few_rows_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// y = x W^T · scale, contiguous.
template <typename Weight>
struct LinearFewRowsArguments {
  std::int64_t rows = 0;
  std::int64_t in = 0;
  const float* x = nullptr;        ///< [rows, in]
  const Weight* weight = nullptr;  ///< [out, in]
  const float* scale = nullptr;    ///< [out], of integer weights; else unused
  float* y = nullptr;              ///< row r begins at y + r · y_stride
  std::int64_t y_stride = 0;
};

/// Makes the columns [begin, end) of y.
template <typename Weight>
using LinearFewRowsKernel = void (*)(const LinearFewRowsArguments<Weight>&, std::int64_t begin,
                                     std::int64_t end);

// Defined for float, BFloat16Bits and std::int8_t.
namespace vector16 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
}
namespace vector32 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
}
namespace vector64 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
}

}  // namespace altup::internal
