// altup::linear_few_rows with int8 weights, for one vector width: products of 16 bits, of which every
// x86 processor adds up pairs in one instruction, twice as many at once as of floats. Whole numbers
// add up exactly: neither the order nor the other rows matter.
#include "altup/ops/linear_few_rows_kernels.h"
#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

typedef std::int32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
typedef std::int16_t Shorts __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
typedef std::int8_t Bytes __attribute__((vector_size(ALTUP_VECTOR_BYTES / 2)));
constexpr std::int64_t kShorts = ALTUP_VECTOR_BYTES / 2;

/// A tile has this many rows, where there are as many, and columns; see linear_few_rows_kernels.cpp.
/// AVX-512 has registers for four columns, whose sums leave them together.
constexpr std::int64_t kTileRows = 4;
constexpr std::int64_t kTileColumns = ALTUP_VECTOR_BYTES == 64 ? 4 : 3;
constexpr std::int64_t kColumnsOfOneRow = 8;
constexpr std::int64_t kBlockBytes = 16 << 10;

template <typename To, typename From>
ALTUP_INLINE To as(From from) {
  return reinterpret_cast<To>(from);
}

ALTUP_INLINE Shorts load_shorts(const std::int16_t* from) {
  Shorts shorts;
  __builtin_memcpy(&shorts, from, sizeof(shorts));
  return shorts;
}

ALTUP_INLINE Shorts load_bytes(const std::int8_t* from) {
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof(bytes));
#if ALTUP_VECTOR_BYTES == 64
  return as<Shorts>(_mm512_cvtepi8_epi16(as<__m256i>(bytes)));
#elif ALTUP_VECTOR_BYTES == 32
  return as<Shorts>(_mm256_cvtepi8_epi16(as<__m128i>(bytes)));
#else
  return __builtin_convertvector(bytes, Shorts);
#endif
}

/// `sums` and the sums of the products of neighbours.
ALTUP_INLINE Words add_products(Words sums, Shorts a, Shorts b) {
#if defined(__AVX512VNNI__)
  return as<Words>(_mm512_dpwssd_epi32(as<__m512i>(sums), as<__m512i>(a), as<__m512i>(b)));
#elif ALTUP_VECTOR_BYTES == 64
  return sums + as<Words>(_mm512_madd_epi16(as<__m512i>(a), as<__m512i>(b)));
#elif ALTUP_VECTOR_BYTES == 32
  return sums + as<Words>(_mm256_madd_epi16(as<__m256i>(a), as<__m256i>(b)));
#elif defined(__SSE2__)
  return sums + as<Words>(_mm_madd_epi16(as<__m128i>(a), as<__m128i>(b)));
#else
  const Words low = (as<Words>(a) << 16 >> 16) * (as<Words>(b) << 16 >> 16);
  return sums + low + (as<Words>(a) >> 16) * (as<Words>(b) >> 16);
#endif
}

typedef std::int32_t Quarter __attribute__((vector_size(16)));
typedef float FourFloats __attribute__((vector_size(16)));

ALTUP_INLINE std::int32_t sum_of_words(const Words& words) {
  std::int32_t lanes[ALTUP_VECTOR_BYTES / 4];
  __builtin_memcpy(lanes, &words, sizeof(words));
  Quarter sum{};
  for (std::size_t lane = 0; lane < ALTUP_VECTOR_BYTES / 4; lane += 4) {
    Quarter next;
    __builtin_memcpy(&next, lanes + lane, sizeof(next));
    sum += next;
  }
  sum += __builtin_shuffle(sum, Quarter{2, 3, 0, 1});
  return sum[0] + sum[1];
}

/// The sums of the words of each of four.
ALTUP_INLINE Quarter sums_of_four(const Words* words) {
#if ALTUP_VECTOR_BYTES >= 32
  // In each 128 bits: the first two beside each other, then all four.
  const auto beside = [](const Words& a, const Words& b) ALTUP_INLINE_LAMBDA {
#if ALTUP_VECTOR_BYTES == 64
    const auto low = _mm512_maskz_unpacklo_epi32(0xffff, as<__m512i>(a), as<__m512i>(b));
    const auto high = _mm512_maskz_unpackhi_epi32(0xffff, as<__m512i>(a), as<__m512i>(b));
#else
    const auto low = _mm256_unpacklo_epi32(as<__m256i>(a), as<__m256i>(b));
    const auto high = _mm256_unpackhi_epi32(as<__m256i>(a), as<__m256i>(b));
#endif
    return as<Words>(low) + as<Words>(high);
  };
  const Words first = beside(words[0], words[1]);
  const Words second = beside(words[2], words[3]);
#if ALTUP_VECTOR_BYTES == 64
  const auto low = _mm512_maskz_unpacklo_epi64(0xff, as<__m512i>(first), as<__m512i>(second));
  const auto high = _mm512_maskz_unpackhi_epi64(0xff, as<__m512i>(first), as<__m512i>(second));
#else
  const auto low = _mm256_unpacklo_epi64(as<__m256i>(first), as<__m256i>(second));
  const auto high = _mm256_unpackhi_epi64(as<__m256i>(first), as<__m256i>(second));
#endif
  const Words all = as<Words>(low) + as<Words>(high);
  Quarter quarters[ALTUP_VECTOR_BYTES / 16];
  __builtin_memcpy(quarters, &all, sizeof(all));
  Quarter sum = quarters[0];
  for (std::size_t i = 1; i < ALTUP_VECTOR_BYTES / 16; ++i) sum += quarters[i];
  return sum;
#else
  return Quarter{sum_of_words(words[0]), sum_of_words(words[1]), sum_of_words(words[2]),
                 sum_of_words(words[3])};
#endif
}

/// Columns [column, column + kColumns) of rows [row, row + kRows). kPrefetch: asks for the weights
/// `ahead` numbers further on. kWholeSteps: `in` is a multiple of kShorts.
template <std::int64_t kRows, std::int64_t kColumns, bool kPrefetch, bool kWholeSteps>
ALTUP_INLINE void tile(const LinearInt8Arguments& args, std::int64_t row, std::int64_t column,
                       std::int64_t ahead) {
  const std::int64_t in = args.in;
  const std::int16_t* x = args.x + row * in;
  const std::int8_t* weight = args.weight + column * in;
  Words sums[kRows][kColumns];
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) sums[r][c] = Words{};
  }
  std::int64_t at = 0;
  for (; at + kShorts <= in; at += kShorts) {
    Shorts weights[kColumns];
    for (std::int64_t c = 0; c < kColumns; ++c) {
      weights[c] = load_bytes(weight + c * in + at);
      if constexpr (kPrefetch) __builtin_prefetch(weight + c * in + at + ahead);
    }
    for (std::int64_t r = 0; r < kRows; ++r) {
      const Shorts activations = load_shorts(x + r * in + at);
      for (std::int64_t c = 0; c < kColumns; ++c) {
        sums[r][c] = add_products(sums[r][c], activations, weights[c]);
      }
    }
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::int64_t c = 0;
    if constexpr (kWholeSteps) {
      for (; c + 4 <= kColumns; c += 4) {
        FourFloats scale;
        __builtin_memcpy(&scale, args.scale + column + c, sizeof(scale));
        const FourFloats four = __builtin_convertvector(sums_of_four(sums[r] + c), FourFloats) *
                                (args.x_scale[row + r] * scale);
        __builtin_memcpy(args.y + (row + r) * args.y_stride + column + c, &four, sizeof(four));
      }
    }
    for (; c < kColumns; ++c) {
      std::int32_t sum = sum_of_words(sums[r][c]);
      if constexpr (!kWholeSteps) {
        for (std::int64_t i = at; i < in; ++i) sum += x[r * in + i] * weight[c * in + i];
      }
      args.y[(row + r) * args.y_stride + column + c] =
          static_cast<float>(sum) * (args.x_scale[row + r] * args.scale[column + c]);
    }
  }
}

template <std::int64_t kRows, std::int64_t kColumns, bool kPrefetch>
ALTUP_INLINE void columns(const LinearInt8Arguments& args, std::int64_t row, std::int64_t begin,
                          std::int64_t end, std::int64_t ahead) {
  std::int64_t column = begin;
  if (args.in % kShorts == 0) {
    for (; column + kColumns <= end; column += kColumns) {
      tile<kRows, kColumns, kPrefetch, true>(args, row, column, ahead);
    }
  }
  for (; column < end; ++column) tile<kRows, 1, false, false>(args, row, column, 0);
}

void forward(const LinearInt8Arguments& args, std::int64_t begin, std::int64_t end) {
  std::int64_t block = kBlockBytes / (args.in > 0 ? args.in : 1) / kTileColumns * kTileColumns;
  block = block < kTileColumns ? kTileColumns : block;
  const std::int64_t ahead = block * args.in;
  if (args.rows == 1) return columns<1, kColumnsOfOneRow, true>(args, 0, begin, end, ahead);
  for (std::int64_t first = begin; first < end; first += block) {
    const std::int64_t last = first + block < end ? first + block : end;
    std::int64_t row = 0;
    if (args.rows >= kTileRows) {
      columns<kTileRows, kTileColumns, true>(args, 0, first, last, ahead);
      row = kTileRows;
    }
    for (; row + kTileRows <= args.rows; row += kTileRows) {
      columns<kTileRows, kTileColumns, false>(args, row, first, last, 0);
    }
    for (; row < args.rows; ++row) columns<1, kTileColumns, true>(args, row, first, last, ahead);
  }
}

float round_row(const float* x, std::int64_t size, float largest, std::int16_t* to) {
  Vector top{};
  Vector zero{};
  along(size, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    const Vector numbers = load<kWhole>(x + at, count);
    const Vector magnitudes = numbers < 0.0F ? -numbers : numbers;
    top = magnitudes > top ? magnitudes : top;
    zero += numbers - numbers;  // NaN for what is not finite
  });
  const float magnitude = max_of_lanes(top);
  const float none = lane_sum(zero);
  if (none != 0.0F || magnitude == 0.0F) {
    __builtin_memset(to, 0, size * sizeof(std::int16_t));
    return none;
  }
  const float factor = largest / magnitude;
  for (std::int64_t i = 0; i < size; ++i) {
    const float scaled = x[i] * factor;
    to[i] = static_cast<std::int16_t>(scaled + (scaled < 0.0F ? -0.5F : 0.5F));
  }
  return magnitude / largest;
}

}  // namespace

LinearInt8Kernel linear_int8_kernel() {
  return forward;
}
RoundRow round_row_kernel() {
  return round_row;
}

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
