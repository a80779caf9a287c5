// Which of attention's weights are dropped: the draws that dropout_factors() of attention.h
// describes, made again in the backward pass. Included by kernel files only.
#pragma once

#include <cstdint>

#include "altup/ops/attention_kernels.h"
#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// A number for each row, from which those of its keys are made.
inline std::uint32_t dropout_row(const AttentionDropout& dropout, std::int64_t row) {
  const auto mix = [](std::uint32_t x) {
    x = (x ^ x >> 16) * 0x85ebca6bU;
    x = (x ^ x >> 13) * 0xc2b2ae35U;
    return x ^ x >> 16;
  };
  const auto number = static_cast<std::uint64_t>(dropout.first_row + row);
  // Mixed first: else the rows of one seed would be those of the next, moved by one.
  const std::uint32_t seed = mix(static_cast<std::uint32_t>(dropout.seed));
  const std::uint32_t low = mix(static_cast<std::uint32_t>(number) + seed);
  return mix(low ^ static_cast<std::uint32_t>(number >> 32) ^
             static_cast<std::uint32_t>(dropout.seed >> 32));
}

/// What the weights of keys [at, at + lanes) of a row are multiplied with: 0 or dropout.scale.
ALTUP_INLINE Vector dropout_factors(const AttentionDropout& dropout, std::uint32_t row,
                                    std::int64_t at) {
  typedef std::uint32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  typedef std::int32_t Signed __attribute__((vector_size(ALTUP_VECTOR_BYTES)));
  Words x;
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = lane;
  x = (x + static_cast<std::uint32_t>(at)) * 0x9e3779b1U + row;
  x = (x ^ x >> 16) * 0x85ebca6bU;
  x = (x ^ x >> 13) * 0xc2b2ae35U;
  x ^= x >> 16;
  const Signed draw = reinterpret_cast<Signed>(x >> 8);
  return draw >= static_cast<std::int32_t>(dropout.threshold) ? Vector{} + dropout.scale : Vector{};
}

}  // namespace
}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
