// Matrix products of a few dozen rows and columns, C (+)= A B, for operands that stay in the first
// two caches: what attention is made of, and too small for a library's product, which packs and
// splits anew at each call. The caller packs B once into panels of kTileColumns columns; a product
// holds a tile of kTileRows x kTileColumns sums in registers. Included by kernel files only.
//
// Operands are Packed<Scalar>: floats, or pairs of bfloat16 along the direction that is summed over
// ("depth"), which processors with AVX-512 bf16 multiply and add in one instruction. One element of
// depth is a "step": one float, or two bfloat16. Sums are fp32.
#pragma once

#include <cstdint>

#include "altup/ops/simd.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// Rows and columns of the tile of sums: 12 of the 16 vector registers, or 24 of the 32.
constexpr std::int64_t kTileRows = ALTUP_VECTOR_BYTES == 64 ? 12 : 6;
constexpr std::int64_t kTileColumns = 2 * kLanes;
/// Steps of a panel that are worked on at a time: 16 KB, half of a small first-level cache.
constexpr std::int64_t kDepthBlock = 16384 / (kTileColumns * 4);

constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

template <typename Scalar>
struct Packed;

template <>
struct Packed<float> {
  using Step = float;
  static constexpr std::int64_t kPerStep = 1;
  static ALTUP_INLINE Vector load(const float* from) { return Simd<float>::load(from); }
  static ALTUP_INLINE Vector multiply_add(float a, Vector b, Vector sum) { return sum + a * b; }
};

template <>
struct Packed<BFloat16Bits> {
  using Step = std::uint32_t;  // the first of the two in the lower half
  typedef std::uint32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  static constexpr std::int64_t kPerStep = 2;
  static ALTUP_INLINE Words load(const Step* from) {
    Words words;
    __builtin_memcpy(&words, from, sizeof(words));
    return words;
  }
  static ALTUP_INLINE Vector multiply_add(Step a, Words b, Vector sum) {
    const Words pair = Words{} + a;
#if defined(__AVX512BF16__)
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pair, (__m512bh)b);
#else
    const Words upper = Words{} + 0xffff0000U;
    sum += reinterpret_cast<Vector>(pair << 16) * reinterpret_cast<Vector>(b << 16);
    return sum + reinterpret_cast<Vector>(pair & upper) * reinterpret_cast<Vector>(b & upper);
#endif
  }
};

/// Steps that `n` numbers take.
template <typename Scalar>
constexpr std::int64_t steps_of(std::int64_t n) {
  return (n + Packed<Scalar>::kPerStep - 1) / Packed<Scalar>::kPerStep;
}

/// A factor A, its steps `depth` apart in one direction and its rows in the other.
template <typename Scalar>
struct Factor {
  const typename Packed<Scalar>::Step* steps;
  std::int64_t stride;
};

/// One tile of sums over `depth` steps. With kAlongRows a row of A is contiguous (rows `stride`
/// apart); without, a step of all rows is (steps `stride` apart): A is then the transpose of what
/// lies in memory.
template <typename Scalar, bool kAlongRows>
ALTUP_INLINE void tile_product(Factor<Scalar> a, const typename Packed<Scalar>::Step* panel,
                               std::int64_t depth, bool add, float* c, std::int64_t c_stride) {
  Vector sums[kTileRows][2] = {};
  for (std::int64_t i = 0; i < depth; ++i) {
    const auto left = Packed<Scalar>::load(panel + i * kTileColumns);
    const auto right = Packed<Scalar>::load(panel + i * kTileColumns + kLanes);
#pragma GCC unroll 12
    for (std::int64_t r = 0; r < kTileRows; ++r) {
      const auto x = kAlongRows ? a.steps[r * a.stride + i] : a.steps[i * a.stride + r];
      sums[r][0] = Packed<Scalar>::multiply_add(x, left, sums[r][0]);
      sums[r][1] = Packed<Scalar>::multiply_add(x, right, sums[r][1]);
    }
  }
  // What C holds is added last: nothing waits for it to come from memory.
#pragma GCC unroll 12
  for (std::int64_t r = 0; r < kTileRows; ++r) {
    float* row = c + r * c_stride;
    if (add) {
      sums[r][0] += Simd<float>::load(row);
      sums[r][1] += Simd<float>::load(row + kLanes);
    }
    Simd<float>::store(sums[r][0], row);
    Simd<float>::store(sums[r][1], row + kLanes);
  }
}

/// C [rows, columns] = (or, with `add`, +=) A [rows, depth] B [depth, columns], B in panels that are
/// panel_steps steps long. Rows and columns are rounded up to whole tiles, so A's rows and C have
/// to be there up to that.
template <typename Scalar, bool kAlongRows>
void product(Factor<Scalar> a, const typename Packed<Scalar>::Step* panels,
             std::int64_t panel_steps, std::int64_t rows, std::int64_t columns, std::int64_t depth,
             bool add, float* c, std::int64_t c_stride) {
  for (std::int64_t from = 0; from < depth; from += kDepthBlock) {
    const std::int64_t count = smaller(kDepthBlock, depth - from);
    for (std::int64_t column = 0; column < columns; column += kTileColumns) {
      const auto* panel = panels + (column * panel_steps + from * kTileColumns);
      for (std::int64_t row = 0; row < rows; row += kTileRows) {
        const Factor<Scalar> tile{
            a.steps + (kAlongRows ? row * a.stride + from : from * a.stride + row), a.stride};
        tile_product<Scalar, kAlongRows>(tile, panel, count, add || from > 0,
                                         c + row * c_stride + column, c_stride);
      }
    }
  }
}

/// Rows of numbers in memory: [rows, width], `stride` apart.
template <typename Scalar>
struct Rows {
  const Scalar* data;
  std::int64_t stride;
};

/// Step `step` of `count` numbers that are `stride` apart; 0 stands for those past the end.
ALTUP_INLINE float step_of(const float* from, std::int64_t stride, std::int64_t step,
                           std::int64_t count) {
  return step < count ? from[step * stride] : 0.0F;
}
ALTUP_INLINE std::uint32_t step_of(const BFloat16Bits* from, std::int64_t stride, std::int64_t step,
                                   std::int64_t count) {
  const auto bits = [&](std::int64_t i) -> std::uint32_t {
    return i < count ? from[i * stride].bits : 0;
  };
  return bits(2 * step) | bits(2 * step + 1) << 16;
}

/// The same where nothing is missing.
ALTUP_INLINE float whole_step(const float* from, std::int64_t stride, std::int64_t step) {
  return from[step * stride];
}
ALTUP_INLINE std::uint32_t whole_step(const BFloat16Bits* from, std::int64_t stride,
                                      std::int64_t step) {
  const BFloat16Bits* pair = from + 2 * step * stride;
  return pair[0].bits | static_cast<std::uint32_t>(pair[stride].bits) << 16;
}

typedef std::uint32_t FourSteps __attribute__((vector_size(16)));
/// Steps of a line of the cache.
constexpr std::int64_t kLineSteps = 16;

/// Four by four steps, transposed.
ALTUP_INLINE void transpose(FourSteps (&x)[4]) {
  const FourSteps low01 = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
  const FourSteps high01 = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
  const FourSteps low23 = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  const FourSteps high23 = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  x[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  x[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  x[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/// kCount rows of which nothing is missing, a step of all of them after the other:
/// to[i * kCount + r] is step i of row r.
template <std::int64_t kCount, typename Scalar>
ALTUP_INLINE void interleave(Rows<Scalar> x, std::int64_t steps,
                             typename Packed<Scalar>::Step* to) {
  constexpr std::int64_t kPerStep = Packed<Scalar>::kPerStep;
  constexpr std::int64_t kFours = kCount / 4 * 4;
  const std::int64_t whole = steps / kLineSteps * kLineSteps;
  // A line of memory of a row at a time: rows that lie a power of two apart share few places of the
  // cache, and would drive each other out before their next step.
  for (std::int64_t line = 0; line < whole; line += kLineSteps) {
    for (std::int64_t r = 0; r < kFours; r += 4) {
      for (std::int64_t i = line; i < line + kLineSteps; i += 4) {
        FourSteps four[4];
        for (std::int64_t j = 0; j < 4; ++j) {
          __builtin_memcpy(&four[j], x.data + (r + j) * x.stride + i * kPerStep, sizeof(FourSteps));
        }
        transpose(four);
        for (std::int64_t j = 0; j < 4; ++j) {
          __builtin_memcpy(to + (i + j) * kCount + r, &four[j], sizeof(FourSteps));
        }
      }
    }
    for (std::int64_t r = kFours; r < kCount; ++r) {
      for (std::int64_t i = line; i < line + kLineSteps; ++i) {
        to[i * kCount + r] = whole_step(x.data + r * x.stride, 1, i);
      }
    }
  }
  for (std::int64_t i = whole; i < steps; ++i) {
    for (std::int64_t r = 0; r < kCount; ++r) {
      to[i * kCount + r] = whole_step(x.data + r * x.stride, 1, i);
    }
  }
}

/// X as a factor A with contiguous rows: [round_up(rows), steps of width]; rows that are not there
/// are 0.
template <typename Scalar>
void pack_factor(Rows<Scalar> x, std::int64_t rows, std::int64_t width,
                 typename Packed<Scalar>::Step* to) {
  const std::int64_t steps = steps_of<Scalar>(width);
  for (std::int64_t r = 0; r < rows; ++r, to += steps) {
    to[steps - 1] = 0;  // may be half there
    __builtin_memcpy(to, x.data + r * x.stride, width * sizeof(Scalar));
  }
  for (std::int64_t i = 0; i < (round_up(rows, kTileRows) - rows) * steps; ++i) to[i] = 0;
}

/// X [depth, width] as B: a step of all whole panels after the other, so that what is read is
/// contiguous.
template <typename Scalar>
void pack_panels(Rows<Scalar> x, std::int64_t depth, std::int64_t width,
                 typename Packed<Scalar>::Step* to) {
  const std::int64_t steps = steps_of<Scalar>(depth);
  const std::int64_t whole_steps = depth / Packed<Scalar>::kPerStep;
  const std::int64_t whole_width = width / kTileColumns * kTileColumns;
  for (std::int64_t i = 0; i < whole_steps; ++i) {
    for (std::int64_t column = 0; column < whole_width; column += kTileColumns) {
      auto* step = to + column * steps + i * kTileColumns;
      for (std::int64_t j = 0; j < kTileColumns; ++j) {
        step[j] = whole_step(x.data + column + j, x.stride, i);
      }
    }
  }
  // What is left: a last step that is half there, and a last panel that is narrower.
  for (std::int64_t column = 0; column < width; column += kTileColumns) {
    const std::int64_t there = smaller(kTileColumns, width - column);
    for (std::int64_t i = column < whole_width ? whole_steps : 0; i < steps; ++i) {
      auto* step = to + column * steps + i * kTileColumns;
      for (std::int64_t j = 0; j < kTileColumns; ++j) {
        step[j] = j < there ? step_of(x.data + column + j, x.stride, i, depth) : 0;
      }
    }
  }
}

/// The transpose of X [columns, depth] as B.
template <typename Scalar>
void pack_transposed_panels(Rows<Scalar> x, std::int64_t columns, std::int64_t depth,
                            typename Packed<Scalar>::Step* to) {
  const std::int64_t steps = steps_of<Scalar>(depth);
  const std::int64_t whole = depth / Packed<Scalar>::kPerStep;
  for (std::int64_t column = 0; column < columns; column += kTileColumns) {
    const std::int64_t there = smaller(kTileColumns, columns - column);
    const Scalar* from = x.data + column * x.stride;
    std::int64_t i = 0;
    if (there == kTileColumns) {
      interleave<kTileColumns, Scalar>({from, x.stride}, whole, to);
      to += whole * kTileColumns;
      i = whole;
    }
    for (; i < steps; ++i, to += kTileColumns) {
      for (std::int64_t j = 0; j < kTileColumns; ++j) {
        to[j] = j < there ? step_of(from + j * x.stride, 1, i, depth) : 0;
      }
    }
  }
}

}  // namespace
}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
