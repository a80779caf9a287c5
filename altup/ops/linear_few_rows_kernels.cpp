// The arithmetic of altup::linear_few_rows for one vector width. Weights are read once, as they lie,
// and widened to floats in registers: with few rows, reading them is most of the work. A number of y
// is the sum of products lane by lane, in the order of `in`, and then of the lanes: the tiles
// below, which keep the sums of several rows and columns in registers, do not change that order.
#include "altup/ops/linear_few_rows_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// A tile has this many rows, where there are as many, and columns.
constexpr std::int64_t kTileRows = 4;
constexpr std::int64_t kTileColumns = 3;
/// With one row: enough sums for the additions of the one not to wait for those of another.
constexpr std::int64_t kColumnsOfOneRow = 8;
/// Weights that all rows go over before the next ones are read: they fit the first-level cache.
constexpr std::int64_t kBlockBytes = 16 << 10;

/// Columns [column, column + kColumns) of rows [row, row + kRows). kWholeSteps: `in` is a multiple of
/// the lanes; the sums then never leave the registers.
template <std::int64_t kRows, std::int64_t kColumns, bool kPrefetch, bool kWholeSteps,
          typename Weight>
ALTUP_INLINE void tile(const LinearFewRowsArguments<Weight>& args, std::int64_t row,
                       std::int64_t column, std::int64_t ahead) {
  const std::int64_t in = args.in;
  const float* x = args.x + row * in;
  const Weight* weight = args.weight + column * in;
  Vector sums[kRows][kColumns];
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) sums[r][c] = Vector{};
  }
  const auto add = [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    Vector weights[kColumns];
    for (std::int64_t c = 0; c < kColumns; ++c) {
      weights[c] = load<kWhole>(weight + c * in + at, count);
      if constexpr (kPrefetch) __builtin_prefetch(weight + c * in + at + ahead);
    }
    for (std::int64_t r = 0; r < kRows; ++r) {
      const Vector activations = load<kWhole>(x + r * in + at, count);
      for (std::int64_t c = 0; c < kColumns; ++c) sums[r][c] += activations * weights[c];
    }
  };
  if constexpr (kWholeSteps) {
    for (std::int64_t at = 0; at < in; at += kLanes) add.template operator()<true>(at, kLanes);
  } else {
    along(in, add);
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      args.y[(row + r) * args.y_stride + column + c] = lane_sum(sums[r][c]);
    }
  }
}

template <std::int64_t kRows, std::int64_t kColumns, bool kPrefetch, typename Weight>
ALTUP_INLINE void columns(const LinearFewRowsArguments<Weight>& args, std::int64_t row,
                          std::int64_t begin, std::int64_t end, std::int64_t ahead) {
  std::int64_t column = begin;
  if (args.in % kLanes == 0) {
    for (; column + kColumns <= end; column += kColumns) {
      tile<kRows, kColumns, kPrefetch, true>(args, row, column, ahead);
    }
  }
  for (; column < end; ++column) tile<kRows, 1, false, false>(args, row, column, 0);
}

template <typename Weight>
void forward(const LinearFewRowsArguments<Weight>& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t row_bytes = args.in * static_cast<std::int64_t>(sizeof(Weight));
  std::int64_t block = kBlockBytes / (row_bytes > 0 ? row_bytes : 1) / kTileColumns * kTileColumns;
  block = block < kTileColumns ? kTileColumns : block;
  const std::int64_t ahead = block * args.in;
  if (args.rows == 1) return columns<1, kColumnsOfOneRow, true>(args, 0, begin, end, ahead);
  for (std::int64_t first = begin; first < end; first += block) {
    const std::int64_t last = first + block < end ? first + block : end;
    std::int64_t row = 0;
    if (args.rows >= kTileRows) {
      columns<kTileRows, kTileColumns, true>(args, row, first, last, ahead);
      row += kTileRows;
    }
    for (; row + kTileRows <= args.rows; row += kTileRows) {
      columns<kTileRows, kTileColumns, false>(args, row, first, last, 0);
    }
    if (row + 3 == args.rows) {
      columns<3, kTileColumns, true>(args, row, first, last, ahead);
    } else if (row + 2 == args.rows) {
      columns<2, kTileColumns, true>(args, row, first, last, ahead);
    } else if (row + 1 == args.rows) {
      columns<1, kTileColumns, true>(args, row, first, last, ahead);
    }
  }
}

}  // namespace

template <typename Weight>
LinearFewRowsKernel<Weight> linear_few_rows_kernel() {
  return forward<Weight>;
}

template LinearFewRowsKernel<float> linear_few_rows_kernel<float>();
template LinearFewRowsKernel<BFloat16Bits> linear_few_rows_kernel<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
