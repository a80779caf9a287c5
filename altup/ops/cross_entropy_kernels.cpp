// The arithmetic of altup::linear_cross_entropy for one vector width; the formulas are at the top
// of cross_entropy.cpp. Three passes over a row, which stays in the second-level cache: the largest
// logit, the sum of exponentials, the gradient in the place of the logits.
#include "altup/ops/cross_entropy_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

ALTUP_INLINE float to_float(const float& value) {
  return value;
}
ALTUP_INLINE float to_float(const BFloat16Bits& value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof(result));
  return result;
}
ALTUP_INLINE void set(float& value, float to) {
  value = to;
}
ALTUP_INLINE void set(BFloat16Bits& value, float to) {
  BFloat16Bits rounded[kLanes];
  Simd<BFloat16Bits>::store(Vector{} + to, rounded);
  value = rounded[0];
}

struct Largest {
  float value;
  std::int64_t index;  // the first
};

// Goes by blocks, so that only the block of the largest has to be searched for its place.
template <typename Scalar>
ALTUP_INLINE Largest largest(const Scalar* row, std::int64_t size) {
  constexpr std::int64_t kBlock = 512;
  float best = -__builtin_inff();
  std::int64_t best_block = 0;
  for (std::int64_t block = 0; block < size; block += kBlock) {
    const std::int64_t length = size - block < kBlock ? size - block : kBlock;
    float found = to_float(row[block]);
    Vector maxima = Vector{} + found;
    std::int64_t i = 0;
    for (; i + kLanes <= length; i += kLanes) {
      const Vector values = Simd<Scalar>::load(row + block + i);
      maxima = values > maxima ? values : maxima;
    }
    found = max_of_lanes(maxima);
    for (; i < length; ++i) {
      const float value = to_float(row[block + i]);
      found = value > found ? value : found;
    }
    if (found > best) {
      best = found;
      best_block = block;
    }
  }
  const std::int64_t end = best_block + kBlock < size ? best_block + kBlock : size;
  for (std::int64_t i = best_block; i < end; ++i) {
    if (to_float(row[i]) == best) return {best, i};
  }
  return {best, 0};  // no number at all in the row
}

}  // namespace

template <typename Scalar>
void cross_entropy_rows(const CrossEntropyArguments<Scalar>& args, std::int64_t begin,
                        std::int64_t end) {
  const std::int64_t size = args.vocabulary;
  const float smoothing = args.label_smoothing;
  for (std::int64_t r = begin; r < end; ++r) {
    Scalar* row = args.logits + r * size;
    const Largest top = largest(row, size);
    args.predictions[r] = top.index;
    const float weight = args.weights[r];
    if (weight == 0.0F) {  // padding
      args.loss[r] = 0.0F;
      args.nll[r] = 0.0F;
      if (args.gradient) __builtin_memset(row, 0, static_cast<std::size_t>(size) * sizeof(Scalar));
      continue;
    }
    Vector exponentials{};
    Vector logits{};
    along(size, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      Vector values = load<kWhole>(row + at, count);
      logits += values;
      Vector powers = exp(values - top.value);
      if constexpr (!kWhole) {
        for (std::int64_t lane = count; lane < kLanes; ++lane) powers[lane] = 0.0F;
      }
      exponentials += powers;
    });
    const double sum = sum_of_lanes(exponentials);
    const float log_z = top.value + static_cast<float>(__builtin_log(sum));
    const float target_logit = to_float(row[args.targets[r]]);
    const float nll = log_z - target_logit;
    const float mean_nll =
        log_z - static_cast<float>(sum_of_lanes(logits) / static_cast<double>(size));
    args.nll[r] = weight * nll;
    args.loss[r] =
        weight * ((1.0F - smoothing) * nll + smoothing * mean_nll + args.z_loss * log_z * log_z);
    if (!args.gradient) continue;
    const float scale = weight * args.scale;
    const float softmax_scale = scale * (1.0F + 2.0F * args.z_loss * log_z);
    const float uniform = scale * smoothing / static_cast<float>(size);
    along(size, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      const Vector values = load<kWhole>(row + at, count);
      store<kWhole>(exp(values - log_z) * softmax_scale - uniform, row + at, count);
    });
    // From the logit again: a sum of two rounded numbers would lose what is left of a sure target.
    const float target_softmax = exp(Vector{} + (target_logit - log_z))[0];
    set(row[args.targets[r]],
        target_softmax * softmax_scale - uniform - (1.0F - smoothing) * scale);
  }
}

template void cross_entropy_rows<float>(const CrossEntropyArguments<float>&, std::int64_t,
                                        std::int64_t);
template void cross_entropy_rows<BFloat16Bits>(const CrossEntropyArguments<BFloat16Bits>&,
                                               std::int64_t, std::int64_t);

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
