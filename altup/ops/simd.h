// The vectors that the kernels are written with, for one width, ALTUP_VECTOR_BYTES. They are the
// vector types of GCC and Clang, since compilers may not vectorise a floating-point sum by
// themselves: that would reorder it. Included by kernel files only; everything is inlined and has
// no name outside the file.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>  // leaves no function in the object file
#endif

#include "altup/ops/kernel_types.h"

#define ALTUP_CONCATENATE_(a, b) a##b
#define ALTUP_CONCATENATE(a, b) ALTUP_CONCATENATE_(a, b)
#if defined(__AVX512BF16__)
#define ALTUP_VECTOR_NAMESPACE vector64_bf16
#elif defined(__AVX512VNNI__)
#define ALTUP_VECTOR_NAMESPACE vector64_vnni
#else
#define ALTUP_VECTOR_NAMESPACE ALTUP_CONCATENATE(vector, ALTUP_VECTOR_BYTES)
#endif
#define ALTUP_INLINE inline __attribute__((always_inline))
#define ALTUP_INLINE_LAMBDA __attribute__((always_inline))

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

template <typename Scalar>
struct Simd {
  using Sum = SumType<Scalar>;
  static constexpr int kLanes = ALTUP_VECTOR_BYTES / sizeof(Sum);
  typedef Sum Vector __attribute__((vector_size(ALTUP_VECTOR_BYTES)));

  static ALTUP_INLINE Vector load(const Scalar* from) {
    Vector vector;
    __builtin_memcpy(&vector, from, sizeof(vector));
    return vector;
  }
  static ALTUP_INLINE void store(Vector vector, Scalar* to) {
    __builtin_memcpy(to, &vector, sizeof(vector));
  }
};

/// Stores a whole vector, at an address aligned to it, past the caches: what is written and not read
/// soon is then not read from memory first, either. The caller has to fence. Only floats have it.
template <typename Scalar>
ALTUP_INLINE void stream(typename Simd<Scalar>::Vector vector, Scalar* to) {
  Simd<Scalar>::store(vector, to);
}
#if defined(__SSE2__)
template <>
ALTUP_INLINE void stream<float>(Simd<float>::Vector vector, float* to) {
#if ALTUP_VECTOR_BYTES == 64
  _mm512_stream_ps(to, reinterpret_cast<__m512>(vector));
#elif ALTUP_VECTOR_BYTES == 32
  _mm256_stream_ps(to, reinterpret_cast<__m256>(vector));
#else
  _mm_stream_ps(to, reinterpret_cast<__m128>(vector));
#endif
}
#endif

template <>
struct Simd<BFloat16Bits> {
  using Sum = float;
  static constexpr int kLanes = ALTUP_VECTOR_BYTES / sizeof(float);
  typedef float Vector __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  typedef std::uint32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  typedef std::uint16_t Halves __attribute__((vector_size(ALTUP_VECTOR_BYTES / 2)));

  /// A bfloat16 is the upper half of a float.
  static ALTUP_INLINE Vector load(const BFloat16Bits* from) {
    Halves halves;
    __builtin_memcpy(&halves, from, sizeof(halves));
    // GCC would widen such a vector in two parts.
#if ALTUP_VECTOR_BYTES == 64
    const auto words = reinterpret_cast<Words>(
        _mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(halves)));
#elif ALTUP_VECTOR_BYTES == 32
    const auto words =
        reinterpret_cast<Words>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(halves)));
#else
    const auto words = __builtin_convertvector(halves, Words);
#endif
    return reinterpret_cast<Vector>(words << 16);
  }
  /// Rounds to nearest, ties to even, without a branch; a NaN stays one.
  static ALTUP_INLINE void store(Vector vector, BFloat16Bits* to) {
    const Words bits = reinterpret_cast<Words>(vector);
    const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Words quiet_nan = Words{} + 0x7fc0;
    const Halves halves = __builtin_convertvector(vector == vector ? rounded : quiet_nan, Halves);
    __builtin_memcpy(to, &halves, sizeof(halves));
  }
};

/// `count` numbers, of which all but the last step of a row are a whole vector; the missing ones
/// are 0, so that they add nothing to a sum.
template <bool kWhole, typename Scalar>
ALTUP_INLINE typename Simd<Scalar>::Vector load(const Scalar* from, std::int64_t count) {
  if constexpr (kWhole) {
    return Simd<Scalar>::load(from);
  } else {
    Scalar padded[Simd<Scalar>::kLanes] = {};
    __builtin_memcpy(padded, from, count * sizeof(Scalar));
    return Simd<Scalar>::load(padded);
  }
}

template <bool kWhole, typename Scalar>
ALTUP_INLINE void store(typename Simd<Scalar>::Vector vector, Scalar* to, std::int64_t count) {
  if constexpr (kWhole) {
    Simd<Scalar>::store(vector, to);
  } else {
    Scalar padded[Simd<Scalar>::kLanes];
    Simd<Scalar>::store(vector, padded);
    __builtin_memcpy(to, padded, count * sizeof(Scalar));
  }
}

/// A vector of floats, and how many.
using Vector = Simd<float>::Vector;
constexpr int kLanes = Simd<float>::kLanes;

/// Calls step.operator()<kWhole>(at, count) along `size` numbers, a vector at a time; kWhole is
/// false for a last, shorter step.
template <typename Step>
ALTUP_INLINE void along(std::int64_t size, const Step& step) {
  std::int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) step.template operator()<true>(at, kLanes);
  if (at < size) step.template operator()<false>(at, size - at);
}

/// The sum of the lanes, in their order.
template <typename AnyVector>
ALTUP_INLINE double sum_of_lanes(const AnyVector& vector) {
  double sum = 0;
  for (std::size_t lane = 0; lane < sizeof(vector) / sizeof(vector[0]); ++lane) sum += vector[lane];
  return sum;
}

/// The sum of the lanes in floats, the halves added until one lane is left: always in that order.
ALTUP_INLINE float lane_sum(const Vector& vector) {
  float lanes[kLanes];
  __builtin_memcpy(lanes, &vector, sizeof(vector));
  typedef float Quarter __attribute__((vector_size(16)));
  Quarter sum;
  __builtin_memcpy(&sum, lanes, sizeof(sum));
  for (int lane = 4; lane < kLanes; lane += 4) {
    Quarter next;
    __builtin_memcpy(&next, lanes + lane, sizeof(next));
    sum += next;
  }
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/// The largest lane.
ALTUP_INLINE float max_of_lanes(const Vector& vector) {
  float largest = vector[0];
  for (int lane = 1; lane < kLanes; ++lane) {
    largest = vector[lane] > largest ? vector[lane] : largest;
  }
  return largest;
}

/// e^x to 2 units in the last place for x in [-87, 88]; 0 below, so that a hidden score weighs
/// nothing at all, and the value at the bound above. A NaN stays one. By e^x = 2^n e^r with |r| <= ln 2 / 2 and the Taylor polynomial of e^r.
ALTUP_INLINE Vector exp(Vector x) {
  typedef std::int32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  const auto vanishes = x < -87.0F;
  x = vanishes ? Vector{} - 87.0F : x;
  x = x > 88.0F ? Vector{} + 88.0F : x;
  // Adding 1.5 · 2^23 leaves no place for a fraction: the sum is rounded to a whole number.
  constexpr float kRounder = 12582912.0F;
  const Vector n = (x * 1.44269504F + kRounder) - kRounder;
  Vector r = x - n * 0.693359375F;  // ln 2 in two parts, the first exact in few bits
  r += n * 2.12194440e-4F;
  Vector y = Vector{} + 1.0F / 5040;
  y = y * r + 1.0F / 720;
  y = y * r + 1.0F / 120;
  y = y * r + 1.0F / 24;
  y = y * r + 1.0F / 6;
  y = y * r + 0.5F;
  y = y * r + 1.0F;
  y = y * r + 1.0F;
  const Words exponent = (__builtin_convertvector(n, Words) + 127) << 23;
  return vanishes ? Vector{} : y * reinterpret_cast<Vector>(exponent);
}

}  // namespace
}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
