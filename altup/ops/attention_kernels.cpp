// The arithmetic of altup::attention between its products, for one vector width; the formulas are at
// the top of attention.cpp.
#include "altup/ops/attention_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// A row's scores with their biases, a vector at a time.
template <typename Scalar>
struct Row {
  const Scalar* scores;
  const float* bias;
  const float* key_bias;

  Row(const AttentionRows<Scalar>& args, std::int64_t row)
      : scores(args.scores + row * args.keys),
        bias(args.bias == nullptr ? nullptr : args.bias + row * args.bias_stride),
        key_bias(args.key_bias) {}

  template <bool kWhole>
  ALTUP_INLINE Vector at(std::int64_t at, std::int64_t count) const {
    Vector score = load<kWhole>(scores + at, count);
    if (bias != nullptr) score += load<kWhole>(bias + at, count);
    if (key_bias != nullptr) score += load<kWhole>(key_bias + at, count);
    return score;
  }
};

/// The missing lanes of a last step hold `value`.
template <bool kWhole>
ALTUP_INLINE void fill_missing(Vector& vector, std::int64_t count, float value) {
  if constexpr (!kWhole) {
    for (std::int64_t lane = count; lane < kLanes; ++lane) vector[lane] = value;
  }
}

template <typename Scalar>
void forward(const AttentionRows<Scalar>& args, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const Row<Scalar> row(args, r);
    Vector largest = Vector{} - __builtin_inff();
    along(args.keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      Vector score = row.template at<kWhole>(at, count);
      fill_missing<kWhole>(score, count, -__builtin_inff());
      largest = score > largest ? score : largest;
    });
    const float top = max_of_lanes(largest);
    Vector sums{};
    Scalar* out = args.scores + r * args.keys;
    along(args.keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      Vector power = exp(row.template at<kWhole>(at, count) - top);
      store<kWhole>(power, out + at, count);
      fill_missing<kWhole>(power, count, 0.0F);
      sums += power;
    });
    const double sum = sum_of_lanes(sums);
    args.lse[r] = top + static_cast<float>(__builtin_log(sum));
    const float scale = static_cast<float>(1.0 / sum);
    along(args.keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      store<kWhole>(load<kWhole>(out + at, count) * scale, out + at, count);
    });
  }
}

template <typename Scalar>
void backward(const AttentionRows<Scalar>& args, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const Row<Scalar> row(args, r);
    const float lse = args.lse[r];
    const float dot = args.dot[r];
    Scalar* weights = args.scores + r * args.keys;
    Scalar* gradients = args.dweights + r * args.keys;
    float* dbias = args.dbias == nullptr ? nullptr : args.dbias + r * args.keys;
    along(args.keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      const Vector weight = exp(row.template at<kWhole>(at, count) - lse);
      const Vector gradient = weight * (load<kWhole>(gradients + at, count) - dot);
      store<kWhole>(weight, weights + at, count);
      store<kWhole>(gradient, gradients + at, count);
      if (dbias != nullptr) {
        store<kWhole>(load<kWhole>(dbias + at, count) + gradient, dbias + at, count);
      }
    });
  }
}

}  // namespace

template <typename Scalar>
AttentionKernels<Scalar> attention_kernels() {
  return {forward<Scalar>, backward<Scalar>};
}

template AttentionKernels<float> attention_kernels<float>();
template AttentionKernels<BFloat16Bits> attention_kernels<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
