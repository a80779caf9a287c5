// The CPU kernels of altup::linear_few_rows as linear_few_rows_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// y = x W^T, contiguous.
template <typename Weight>
struct LinearFewRowsArguments {
  std::int64_t rows = 0;
  std::int64_t in = 0;
  const float* x = nullptr;        ///< [rows, in]
  const Weight* weight = nullptr;  ///< [out, in]
  float* y = nullptr;              ///< row r begins at y + r · y_stride
  std::int64_t y_stride = 0;
};

/// The same in whole numbers: y = (x W^T) x_scale ⊗ scale.
struct LinearInt8Arguments {
  std::int64_t rows = 0;
  std::int64_t in = 0;
  const std::int16_t* x = nullptr;      ///< [rows, in], so small that no sum overflows 32 bits
  const float* x_scale = nullptr;       ///< [rows]
  const std::int8_t* weight = nullptr;  ///< [out, in]
  const float* scale = nullptr;         ///< [out]
  float* y = nullptr;
  std::int64_t y_stride = 0;
};

/// Both make the columns [begin, end) of y.
template <typename Weight>
using LinearFewRowsKernel = void (*)(const LinearFewRowsArguments<Weight>&, std::int64_t begin,
                                     std::int64_t end);
using LinearInt8Kernel = void (*)(const LinearInt8Arguments&, std::int64_t begin, std::int64_t end);
/// x [size] in whole numbers of at most `largest` -> what they are multiples of; NaN where x is not
/// finite.
using RoundRow = float (*)(const float* x, std::int64_t size, float largest, std::int16_t* to);

// Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
LinearInt8Kernel linear_int8_kernel();
RoundRow round_row_kernel();
}  // namespace vector16
namespace vector32 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
LinearInt8Kernel linear_int8_kernel();
RoundRow round_row_kernel();
}  // namespace vector32
namespace vector64 {
template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel();
LinearInt8Kernel linear_int8_kernel();
RoundRow round_row_kernel();
}  // namespace vector64
namespace vector64_vnni {
LinearInt8Kernel linear_int8_kernel();
RoundRow round_row_kernel();
}  // namespace vector64_vnni

}  // namespace altup::internal
