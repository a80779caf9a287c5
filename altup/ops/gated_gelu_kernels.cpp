// The arithmetic of altup::gated_gelu for one vector width; the formulas are at the top of
// gated_gelu.cpp.
#include "altup/ops/gated_gelu_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

constexpr float kTwoRootTwoOverPi = 1.5957691216F;  // 2 sqrt(2 / pi)
constexpr float kCubic = 0.044715F;

/// σ(2u), of which gelu(a) is a times.
ALTUP_INLINE Vector gelu_sigmoid(Vector a) {
  const Vector two_u = kTwoRootTwoOverPi * (a + kCubic * a * a * a);
  return 1.0F / (1.0F + exp(-two_u));
}

template <typename Scalar>
void forward(const GatedGeluArguments<Scalar>& args, std::int64_t begin, std::int64_t end) {
  along(end - begin, [&]<bool kWhole>(std::int64_t i, std::int64_t count) ALTUP_INLINE_LAMBDA {
    const std::int64_t at = begin + i;
    const Vector a = load<kWhole>(args.gate + at, count);
    store<kWhole>(a * gelu_sigmoid(a) * load<kWhole>(args.value + at, count), args.y + at, count);
  });
}

template <typename Scalar>
void backward(const GatedGeluArguments<Scalar>& args, std::int64_t begin, std::int64_t end) {
  along(end - begin, [&]<bool kWhole>(std::int64_t i, std::int64_t count) ALTUP_INLINE_LAMBDA {
    const std::int64_t at = begin + i;
    const Vector a = load<kWhole>(args.gate + at, count);
    const Vector dy = load<kWhole>(args.dy + at, count);
    const Vector s = gelu_sigmoid(a);
    const Vector slope = kTwoRootTwoOverPi * (1.0F + 3.0F * kCubic * a * a);  // of 2u
    const Vector dgelu = s + a * s * (1.0F - s) * slope;
    store<kWhole>(dy * load<kWhole>(args.value + at, count) * dgelu, args.dgate + at, count);
    store<kWhole>(dy * a * s, args.dvalue + at, count);
  });
}

}  // namespace

template <typename Scalar>
GatedGeluKernels<Scalar> gated_gelu_kernels() {
  return {forward<Scalar>, backward<Scalar>};
}

template GatedGeluKernels<float> gated_gelu_kernels<float>();
template GatedGeluKernels<BFloat16Bits> gated_gelu_kernels<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
