// A block of a large fp32 product, for one vector width: how blocks follow each other and on which
// threads is in product_cpu.cpp.
#include "altup/ops/product_kernels.h"

#include "altup/ops/tile_product.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

void pack_left(MatrixView a, std::int64_t rows, std::int64_t depth, float* to) {
  for (std::int64_t row = 0; row < rows; row += kTileRows, to += depth * kTileRows) {
    const std::int64_t there = smaller(kTileRows, rows - row);
    const MatrixView tile = a.from(row, 0);
    if (there < kTileRows) {
      for (std::int64_t i = 0; i < depth * kTileRows; ++i) to[i] = 0.0F;
    }
    if (a.column_stride == 1) {
      for (std::int64_t r = 0; r < there; ++r) {
        const float* from = tile.data + r * a.row_stride;
        for (std::int64_t i = 0; i < depth; ++i) to[i * kTileRows + r] = from[i];
      }
    } else {
      for (std::int64_t i = 0; i < depth; ++i) {
        const float* from = tile.data + i * a.column_stride;
        for (std::int64_t r = 0; r < there; ++r) to[i * kTileRows + r] = from[r * a.row_stride];
      }
    }
  }
}

void pack_right(MatrixView b, std::int64_t depth, std::int64_t columns, float* to) {
  if (b.column_stride == 1) {
    pack_panels<float>({b.data, b.row_stride}, depth, columns, to);
  } else {
    pack_transposed_panels<float>({b.data, b.column_stride}, columns, depth, to);
  }
}

/// A tile that reaches past the last row or column is made aside.
void multiply_edge(const float* left, const float* right, std::int64_t rows, std::int64_t columns,
                   std::int64_t depth, bool add, float* c, std::int64_t c_stride) {
  float tile[kTileRows * kTileColumns] = {};
  if (add) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < columns; ++j) tile[r * kTileColumns + j] = c[r * c_stride + j];
    }
  }
  tile_product<float, false>({left, kTileRows}, right, depth, add, tile, kTileColumns);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) c[r * c_stride + j] = tile[r * kTileColumns + j];
  }
}

void multiply(const float* left, const float* right, std::int64_t rows, std::int64_t columns,
              std::int64_t depth, bool add, float* c, std::int64_t c_stride) {
  for (std::int64_t column = 0; column < columns; column += kTileColumns) {
    const float* panel = right + column * depth;
    for (std::int64_t row = 0; row < rows; row += kTileRows) {
      const float* tile = left + row * depth;
      float* to = c + row * c_stride + column;
      if (row + kTileRows <= rows && column + kTileColumns <= columns) {
        tile_product<float, false>({tile, kTileRows}, panel, depth, add, to, c_stride);
      } else {
        multiply_edge(tile, panel, smaller(kTileRows, rows - row),
                      smaller(kTileColumns, columns - column), depth, add, to, c_stride);
      }
    }
  }
}

}  // namespace

ProductKernels product_kernels() {
  return {kTileRows, kTileColumns, pack_left, pack_right, multiply};
}

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
