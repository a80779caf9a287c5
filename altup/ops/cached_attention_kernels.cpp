// The arithmetic of altup::cached_attention for one vector width. What a query gets depends on its
// own tokens only, in their order, not on which other queries there are.
#include "altup/ops/cached_attention_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// Tokens whose products with the query are summed side by side.
constexpr std::int64_t kTokens = 4;
/// Vectors of the output that are summed side by side.
constexpr std::int64_t kVectors = 8;

template <typename Cached>
ALTUP_INLINE const Cached* token(const CachedAttentionArguments<Cached>& args, const Cached* first,
                                 std::int64_t t) {
  return first + args.sources[t * args.source_stride] * args.row_stride + t * args.width;
}

/// The scores of tokens [t, t + kCount).
template <std::int64_t kCount, typename Cached>
ALTUP_INLINE void scores(const CachedAttentionArguments<Cached>& args, std::int64_t t) {
  const Cached* keys[kCount];
  Vector sums[kCount];
  for (std::int64_t i = 0; i < kCount; ++i) {
    keys[i] = token(args, args.keys, t + i);
    sums[i] = Vector{};
  }
  along(args.width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    const Vector q = load<kWhole>(args.q + at, count);
    for (std::int64_t i = 0; i < kCount; ++i) sums[i] += q * load<kWhole>(keys[i] + at, count);
  });
  for (std::int64_t i = 0; i < kCount; ++i) {
    float score = lane_sum(sums[i]);
    if (args.bias != nullptr) score += args.bias[t + i];
    if (args.key_bias != nullptr) {
      score +=
          args.key_bias[args.sources[(t + i) * args.source_stride] * args.key_bias_stride + t + i];
    }
    args.weights[t + i] = score;
  }
}

/// weights = e^(scores − their largest); returns one over their sum.
ALTUP_INLINE float exponentiate(float* weights, std::int64_t length) {
  float largest = weights[0];
  for (std::int64_t t = 1; t < length; ++t) largest = weights[t] > largest ? weights[t] : largest;
  Vector sums{};
  along(length, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    Vector power = exp(load<kWhole>(weights + at, count) - largest);
    store<kWhole>(power, weights + at, count);
    if constexpr (!kWhole) {
      for (std::int64_t lane = count; lane < kLanes; ++lane) power[lane] = 0.0F;
    }
    sums += power;
  });
  return 1.0F / lane_sum(sums);
}

/// kCount whole vectors of the output from `at` on.
template <std::int64_t kCount, typename Cached>
ALTUP_INLINE void outputs(const CachedAttentionArguments<Cached>& args, std::int64_t at,
                          float scale) {
  Vector sums[kCount];
  for (std::int64_t i = 0; i < kCount; ++i) sums[i] = Vector{};
  for (std::int64_t t = 0; t < args.length; ++t) {
    const Cached* values = token(args, args.values, t) + at;
    const float weight = args.weights[t];
    for (std::int64_t i = 0; i < kCount; ++i) {
      sums[i] += weight * Simd<Cached>::load(values + i * kLanes);
    }
  }
  for (std::int64_t i = 0; i < kCount; ++i) {
    Simd<float>::store(sums[i] * scale, args.out + at + i * kLanes);
  }
}

template <typename Cached>
void attend(const CachedAttentionArguments<Cached>& args) {
  std::int64_t t = 0;
  for (; t + kTokens <= args.length; t += kTokens) scores<kTokens>(args, t);
  for (; t < args.length; ++t) scores<1>(args, t);
  const float scale = exponentiate(args.weights, args.length);
  std::int64_t at = 0;
  for (; at + kVectors * kLanes <= args.width; at += kVectors * kLanes) {
    outputs<kVectors>(args, at, scale);
  }
  for (; at + kLanes <= args.width; at += kLanes) outputs<1>(args, at, scale);
  if (at == args.width) return;
  const std::int64_t count = args.width - at;
  Vector sum{};
  for (t = 0; t < args.length; ++t) {
    sum += args.weights[t] * load<false>(token(args, args.values, t) + at, count);
  }
  store<false>(sum * scale, args.out + at, count);
}

template <typename Cached>
void convert(const float* from, Cached* to, std::int64_t size) {
  along(size, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    store<kWhole>(load<kWhole>(from + at, count), to + at, count);
  });
}

}  // namespace

template <typename Cached>
CachedAttentionKernels<Cached> cached_attention_kernels() {
  return {attend<Cached>, convert<Cached>};
}

template CachedAttentionKernels<float> cached_attention_kernels<float>();
template CachedAttentionKernels<BFloat16Bits> cached_attention_kernels<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
