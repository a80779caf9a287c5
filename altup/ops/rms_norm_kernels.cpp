// The arithmetic of altup::rms_norm and altup::add_rms_norm for one vector width; the formulas are
// at the top of rms_norm.cpp. A row is read twice, the second time from the nearest cache.
#include "altup/ops/rms_norm_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

template <typename Scalar>
void forward(const RmsNormArguments<Scalar>& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = args.width;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* in = args.x + row * width;
    Vector squares{};
    if (args.delta != nullptr) {
      const Scalar* delta = args.delta + row * width;
      float* sum = args.sum + row * width;
      along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
        const Vector s = load<kWhole>(in + at, count) + load<kWhole>(delta + at, count);
        store<kWhole>(s, sum + at, count);
        squares += s * s;
      });
      in = sum;
    } else {
      along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
        const Vector s = load<kWhole>(in + at, count);
        squares += s * s;
      });
    }
    const float mean = static_cast<float>(sum_of_lanes(squares) / static_cast<double>(width));
    const float rstd = 1.0F / __builtin_sqrtf(mean + args.epsilon);
    args.rstd[row] = rstd;
    Scalar* y = args.y + row * width;
    along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      const Vector s = load<kWhole>(in + at, count);
      store<kWhole>(s * rstd * load<kWhole>(args.weight + at, count), y + at, count);
    });
  }
}

template <typename Scalar>
void backward(const RmsNormArguments<Scalar>& args, std::int64_t begin, std::int64_t end,
              float* dweight) {
  const std::int64_t width = args.width;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* x = args.x + row * width;
    const Scalar* dy = args.dy + row * width;
    const float rstd = args.rstd[row];
    Vector products{};
    along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      const Vector g = load<kWhole>(dy + at, count);
      const Vector s = load<kWhole>(x + at, count);
      products += g * s * load<kWhole>(args.weight + at, count);
      store<kWhole>(load<kWhole>(dweight + at, count) + g * s * rstd, dweight + at, count);
    });
    const double dot = sum_of_lanes(products);
    const double cube = static_cast<double>(rstd) * rstd * rstd;
    const float slope = static_cast<float>(cube * dot / static_cast<double>(width));
    const float* dsum = args.dsum == nullptr ? nullptr : args.dsum + row * width;
    float* dx = args.dx + row * width;
    Scalar* ddelta = args.ddelta == nullptr ? nullptr : args.ddelta + row * width;
    along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      const Vector g = load<kWhole>(dy + at, count) * load<kWhole>(args.weight + at, count);
      Vector out = g * rstd - load<kWhole>(x + at, count) * slope;
      if (dsum != nullptr) out += load<kWhole>(dsum + at, count);
      store<kWhole>(out, dx + at, count);
      if (ddelta != nullptr) store<kWhole>(out, ddelta + at, count);
    });
  }
}

}  // namespace

template <typename Scalar>
RmsNormKernels<Scalar> rms_norm_kernels() {
  return {forward<Scalar>, backward<Scalar>};
}

template RmsNormKernels<float> rms_norm_kernels<float>();
template RmsNormKernels<BFloat16Bits> rms_norm_kernels<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
