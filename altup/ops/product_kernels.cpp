// A block of a large fp32 product, for one vector width: how blocks follow each other and on which
// threads is in product_cpu.cpp.
#include "altup/ops/product_kernels.h"

#include "altup/ops/tile_product.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// Rows that lie in memory one after the other: a tile at a time.
void pack_rows(MatrixView a, std::int64_t rows, std::int64_t depth, float* to) {
  std::int64_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows, to += depth * kTileRows) {
    interleave<kTileRows, float>({a.from(row, 0).data, a.row_stride}, depth, to);
  }
  if (row == rows) return;
  const MatrixView tile = a.from(row, 0);
  for (std::int64_t i = 0; i < depth; ++i) {
    for (std::int64_t r = 0; r < kTileRows; ++r) {
      to[i * kTileRows + r] = row + r < rows ? tile.data[r * tile.row_stride + i] : 0.0F;
    }
  }
}

constexpr std::int64_t kAhead = 16;

/// Columns that lie in memory one after the other: all tiles of a column, so that what is read is
/// contiguous.
void pack_columns(MatrixView a, std::int64_t rows, std::int64_t depth, float* to) {
  for (std::int64_t i = 0; i < depth; ++i) {
    const float* from = a.data + i * a.column_stride;
    // Columns lie on pages of their own, where no processor looks ahead by itself.
    for (std::int64_t row = 0; row < rows; row += 16) {
      __builtin_prefetch(from + kAhead * a.column_stride + row);
    }
    float* step = to + i * kTileRows;
    std::int64_t row = 0;
    for (; row + kTileRows <= rows; row += kTileRows, step += depth * kTileRows) {
      for (std::int64_t r = 0; r < kTileRows; ++r) step[r] = from[row + r];
    }
    if (row == rows) continue;
    for (std::int64_t r = 0; r < kTileRows; ++r) step[r] = row + r < rows ? from[row + r] : 0.0F;
  }
}

void pack_left(MatrixView a, std::int64_t rows, std::int64_t depth, float* to) {
  const auto pack = a.column_stride == 1 ? pack_rows : pack_columns;
  pack(a, rows, depth, to);
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
        for (std::int64_t r = 0; r < kTileRows; ++r) {
          __builtin_prefetch(to + r * c_stride, 1);
          __builtin_prefetch(to + r * c_stride + kTileColumns - 1, 1);
        }
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
