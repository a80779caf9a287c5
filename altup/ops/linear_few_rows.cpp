// altup::linear_few_rows: y = x W^T for the few rows of a step of decoding, whose cost is that of
// reading W. No gradient. On CPU the threads share the columns of y, so that each weight is read
// once, by one of them; all else is composed of ATen operators.
#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/decoding.h"
#include "altup/ops/linear_few_rows_kernels.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {

void check_linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                           const OptionalTensor& scale) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2,
              "altup::linear_few_rows takes x [..., in] and weight [out, in], got ", x.sym_sizes(),
              " and ", weight.sym_sizes());
  TORCH_SYM_CHECK(x.sym_size(-1).sym_eq(weight.sym_size(1)), "altup::linear_few_rows: x ",
                  x.sym_sizes(), " and weight ", weight.sym_sizes(),
                  " must agree in their last size");
  TORCH_CHECK_TYPE(at::isFloatingType(x.scalar_type()),
                   "altup::linear_few_rows: x must be of a floating type, got ", x.scalar_type());
  const bool scaled = given(scale);
  TORCH_CHECK_TYPE(
      weight.scalar_type() == at::kChar ? scaled
                                        : !scaled && at::isFloatingType(weight.scalar_type()),
      "altup::linear_few_rows: weight must be of a floating type, or int8 with a scale; got ",
      weight.scalar_type(), scaled ? " with a scale" : "");
  if (scaled) {
    TORCH_CHECK(scale->dim() == 1, "altup::linear_few_rows: scale must be [out], got ",
                scale->sym_sizes());
    TORCH_SYM_CHECK(scale->sym_size(0).sym_eq(weight.sym_size(0)), "altup::linear_few_rows: scale ",
                    scale->sym_sizes(), " must be [out] with weight ", weight.sym_sizes());
  }
}

at::Tensor dispatch_linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                                    const OptionalTensor& scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::linear_few_rows", "")
                             .typed<decltype(dispatch_linear_few_rows)>();
  return op.call(x, weight, scale);
}

namespace {

at::Tensor linear_few_rows_composed(const at::Tensor& x, const at::Tensor& weight,
                                    const OptionalTensor& scale) {
  return reference::linear_few_rows(x, weight, scale.value_or(at::Tensor()));
}

/// Products that are worth another thread.
constexpr int64_t kGrain = 1 << 15;
/// The largest magnitude of a weight in int8, −128 included.
constexpr int64_t kLargestInt8 = 128;

int64_t columns_of_a_thread(const at::Tensor& x) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, x.numel()));
}

template <typename Weight>
void run(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  LinearFewRowsArguments<Weight> args;
  args.in = weight.size(1);
  args.rows = x.numel() / args.in;
  args.x = pointer<float>(x);
  args.weight = pointer<Weight>(weight);
  args.y = mutable_pointer<float>(y);
  args.y_stride = weight.size(0);
  const auto kernel = ALTUP_OF_THIS_CPU(linear_few_rows_kernel<Weight>());
  at::parallel_for(0, weight.size(0), columns_of_a_thread(x),
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
}

/// Each row of x becomes whole numbers of up to 16 bits: as many as let no sum overflow.
void run_int8(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
              const at::Tensor& y) {
  const int64_t in = weight.size(1);
  const int64_t rows = x.numel() / in;
  const int64_t largest = std::clamp<int64_t>(INT32_MAX / (kLargestInt8 * in), 1, INT16_MAX);
  const auto rounded = at::empty({rows, in}, x.options().dtype(at::kShort));
  const auto x_scale = at::empty({rows}, x.options());
  const auto round = ALTUP_OF_THIS_CPU(round_row_kernel());
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / in), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      mutable_pointer<float>(x_scale)[row] =
          round(pointer<float>(x) + row * in, in, static_cast<float>(largest),
                rounded.mutable_data_ptr<int16_t>() + row * in);
    }
  });
  LinearInt8Arguments args;
  args.in = in;
  args.rows = rows;
  args.x = rounded.const_data_ptr<int16_t>();
  args.x_scale = pointer<float>(x_scale);
  args.weight = weight.const_data_ptr<int8_t>();
  args.scale = pointer<float>(scale);
  args.y = mutable_pointer<float>(y);
  args.y_stride = weight.size(0);
  const auto kernel = ALTUP_OF_THIS_CPU(linear_int8_kernel());
  at::parallel_for(0, weight.size(0), columns_of_a_thread(x),
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
}

at::Tensor linear_few_rows_cpu(const at::Tensor& x_given, const at::Tensor& weight_given,
                               const OptionalTensor& scale_given) {
  check_linear_few_rows(x_given, weight_given, scale_given);
  const auto type = weight_given.scalar_type();
  const bool has_kernel = (type == at::kFloat || type == at::kBFloat16 || type == at::kChar) &&
                          at::toOpMathType(x_given.scalar_type()) == at::kFloat &&
                          x_given.numel() > 0;
  if (!has_kernel) return linear_few_rows_composed(x_given, weight_given, scale_given);
  const auto x = x_given.to(at::kFloat).contiguous();
  const auto weight = weight_given.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const auto y = at::empty(sizes, x.options());
  if (type == at::kFloat) {
    run<float>(x, weight, y);
  } else if (type == at::kBFloat16) {
    run<BFloat16Bits>(x, weight, y);
  } else {
    run_int8(x, weight, scale_given->to(at::kFloat).contiguous(), y);
  }
  return y;
}

at::Tensor linear_few_rows_meta(const at::Tensor& x, const at::Tensor& weight,
                                const OptionalTensor& scale) {
  check_linear_few_rows(x, weight, scale);
  auto sizes = x.sym_sizes().vec();
  sizes.back() = weight.sym_size(0);
  return at::empty_symint(sizes, x.options().dtype(at::toOpMathType(x.scalar_type())));
}

/// Only the weight is read in autocast's type, from the copy that autocast keeps of a parameter.
at::Tensor linear_few_rows_autocast(const at::Tensor& x, const at::Tensor& weight,
                                    const OptionalTensor& scale) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = x.device().type();
  const auto lower = at::autocast::get_autocast_dtype(device);
  return dispatch_linear_few_rows(x, at::autocast::cached_cast(lower, weight, device), scale);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (is_first_copy()) m.impl("linear_few_rows", linear_few_rows_composed);
}
TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (is_first_copy()) m.impl("linear_few_rows", linear_few_rows_cpu);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (is_first_copy()) m.impl("linear_few_rows", linear_few_rows_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (is_first_copy()) m.impl("linear_few_rows", torch::autograd::autogradNotImplementedFallback());
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (is_first_copy()) m.impl("linear_few_rows", linear_few_rows_autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (is_first_copy()) m.impl("linear_few_rows", linear_few_rows_autocast);
}

}  // namespace
}  // namespace altup::internal
