// The CPU kernels of the fp32 matrix product as product_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// A matrix in memory: element (i, j) is data[i * row_stride + j * column_stride]; column_stride is
/// 1, or else row_stride.
struct MatrixView {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;

  MatrixView from(std::int64_t row, std::int64_t column) const {
    return {data + row * row_stride + column * column_stride, row_stride, column_stride};
  }
};

/// C (+)= A B by tiles of tile_rows x tile_columns. Packed, A is [row tiles, depth, tile_rows] and B
/// [panels, depth, tile_columns]; what is missing in a last tile is 0.
struct ProductKernels {
  std::int64_t tile_rows = 0;
  std::int64_t tile_columns = 0;
  void (*pack_left)(MatrixView a, std::int64_t rows, std::int64_t depth, float* to) = nullptr;
  void (*pack_right)(MatrixView b, std::int64_t depth, std::int64_t columns, float* to) = nullptr;
  /// c [rows, columns], c_stride apart; `add`: to what is there.
  void (*multiply)(const float* left, const float* right, std::int64_t rows, std::int64_t columns,
                   std::int64_t depth, bool add, float* c, std::int64_t c_stride) = nullptr;
};

namespace vector16 {
ProductKernels product_kernels();
}
namespace vector32 {
ProductKernels product_kernels();
}
namespace vector64 {
ProductKernels product_kernels();
}

}  // namespace altup::internal
