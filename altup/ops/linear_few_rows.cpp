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
#include <vector>

#include "altup/ops/checks.h"
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
  check_one_device("altup::linear_few_rows", {x, weight, scale.value_or(at::Tensor())});
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

void check_linears_few_rows(const at::Tensor& x, at::TensorList weights, at::TensorList scales) {
  TORCH_CHECK(scales.empty() || scales.size() == weights.size(),
              "altup::linear_few_rows: ", scales.size(), " scales with ", weights.size(),
              " weights; expected one each or none");
  for (size_t i = 0; i < weights.size(); ++i) {
    TORCH_CHECK_TYPE(weights[i].scalar_type() == weights[0].scalar_type(),
                     "altup::linear_few_rows: weights must be of one type, got ",
                     weights[0].scalar_type(), " and ", weights[i].scalar_type());
    check_linear_few_rows(x, weights[i], scales.empty() ? std::nullopt : optional(scales[i]));
  }
}

at::Tensor dispatch_linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                                    const OptionalTensor& scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::linear_few_rows", "")
                             .typed<decltype(dispatch_linear_few_rows)>();
  return op.call(x, weight, scale);
}

std::vector<at::Tensor> dispatch_linears_few_rows(const at::Tensor& x, at::TensorList weights,
                                                  at::TensorList scales) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::linear_few_rows", "several")
                             .typed<decltype(dispatch_linears_few_rows)>();
  return op.call(x, weights, scales);
}

namespace {

at::Tensor one_composed(const at::Tensor& x, const at::Tensor& weight,
                        const OptionalTensor& scale) {
  return reference::linear_few_rows(x, weight, scale.value_or(at::Tensor()));
}

/// Products that are worth another thread.
constexpr int64_t kGrain = 1 << 15;
/// The largest magnitude of a weight in int8, −128 included.
constexpr int64_t kLargestInt8 = 128;

/// Calls `part(i, begin, end)` for columns [begin, end) of the i-th weight, the threads sharing the
/// columns of all of them.
template <typename Part>
void share_columns(const at::Tensor& x, at::TensorList weights, const Part& part) {
  std::vector<int64_t> ends;
  for (const auto& weight : weights) {
    ends.push_back((ends.empty() ? 0 : ends.back()) + weight.size(0));
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / x.numel());
  at::parallel_for(0, ends.back(), grain, [&](int64_t begin, int64_t end) {
    int64_t first = 0;
    for (size_t i = 0; i < ends.size(); first = ends[i++]) {
      const int64_t from = std::max(begin, first);
      const int64_t to = std::min(end, ends[i]);
      if (from < to) part(i, from - first, to - first);
    }
  });
}

template <typename Weight>
void run(const at::Tensor& x, at::TensorList weights, const std::vector<at::Tensor>& y) {
  LinearFewRowsArguments<Weight> shared;
  shared.in = x.size(-1);
  shared.rows = x.numel() / shared.in;
  shared.x = pointer<float>(x);
  const auto kernel = ALTUP_OF_THIS_CPU(linear_few_rows_kernel<Weight>());
  share_columns(x, weights, [&](size_t i, int64_t begin, int64_t end) {
    auto args = shared;
    args.weight = pointer<Weight>(weights[i]);
    args.y = mutable_pointer<float>(y[i]);
    args.y_stride = weights[i].size(0);
    kernel(args, begin, end);
  });
}

LinearInt8Kernel int8_kernel() {
#if defined(__x86_64__)
  if (vector_width_of_this_cpu() == VectorWidth::k64 && __builtin_cpu_supports("avx512vnni")) {
    return vector64_vnni::linear_int8_kernel();
  }
#endif
  return ALTUP_OF_THIS_CPU(linear_int8_kernel());
}

/// Each row of x becomes whole numbers of up to 16 bits: as many as let no sum overflow.
void run_int8(const at::Tensor& x, at::TensorList weights, at::TensorList scales,
              const std::vector<at::Tensor>& y) {
  const int64_t in = x.size(-1);
  const int64_t rows = x.numel() / in;
  const int64_t largest = std::clamp<int64_t>(INT32_MAX / (kLargestInt8 * in), 1, INT16_MAX);
  const auto rounded = at::empty({rows, in}, x.options().dtype(at::kShort));
  const auto x_scale = at::empty({rows}, x.options());
  LinearInt8Arguments shared;
  shared.in = in;
  shared.rows = rows;
  shared.x = rounded.const_data_ptr<int16_t>();
  shared.x_scale = pointer<float>(x_scale);
  const auto round = ALTUP_OF_THIS_CPU(round_row_kernel());
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / in), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      mutable_pointer<float>(x_scale)[row] =
          round(pointer<float>(x) + row * in, in, static_cast<float>(largest),
                rounded.mutable_data_ptr<int16_t>() + row * in);
    }
  });
  const auto kernel = int8_kernel();
  share_columns(x, weights, [&](size_t i, int64_t begin, int64_t end) {
    auto args = shared;
    args.weight = weights[i].const_data_ptr<int8_t>();
    args.scale = pointer<float>(scales[i]);
    args.y = mutable_pointer<float>(y[i]);
    args.y_stride = weights[i].size(0);
    kernel(args, begin, end);
  });
}

std::vector<at::Tensor> several_cpu(const at::Tensor& x_given, at::TensorList weights_given,
                                    at::TensorList scales_given) {
  check_linears_few_rows(x_given, weights_given, scales_given);
  if (weights_given.empty()) return {};
  const auto type = weights_given[0].scalar_type();
  const bool has_kernel = (type == at::kFloat || type == at::kBFloat16 || type == at::kChar) &&
                          at::toOpMathType(x_given.scalar_type()) == at::kFloat &&
                          x_given.numel() > 0;
  if (!has_kernel) return reference::linears_few_rows(x_given, weights_given, scales_given);
  const auto x = x_given.to(at::kFloat).contiguous();
  auto sizes = x.sizes().vec();
  std::vector<at::Tensor> weights, scales, y;
  for (size_t i = 0; i < weights_given.size(); ++i) {
    weights.push_back(weights_given[i].contiguous());
    if (type == at::kChar) scales.push_back(scales_given[i].to(at::kFloat).contiguous());
    sizes.back() = weights[i].size(0);
    y.push_back(at::empty(sizes, x.options()));
  }
  if (type == at::kFloat) {
    run<float>(x, weights, y);
  } else if (type == at::kBFloat16) {
    run<BFloat16Bits>(x, weights, y);
  } else {
    run_int8(x, weights, scales, y);
  }
  return y;
}

at::Tensor one_cpu(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& scale) {
  return several_cpu(x, weight, given(scale) ? at::TensorList(*scale) : at::TensorList())[0];
}

at::Tensor shape_of_one(const at::Tensor& x, const at::Tensor& weight) {
  auto sizes = x.sym_sizes().vec();
  sizes.back() = weight.sym_size(0);
  return at::empty_symint(sizes, x.options().dtype(at::toOpMathType(x.scalar_type())));
}

at::Tensor one_meta(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& scale) {
  check_linear_few_rows(x, weight, scale);
  return shape_of_one(x, weight);
}

std::vector<at::Tensor> several_meta(const at::Tensor& x, at::TensorList weights,
                                     at::TensorList scales) {
  check_linears_few_rows(x, weights, scales);
  std::vector<at::Tensor> y;
  for (const auto& weight : weights) y.push_back(shape_of_one(x, weight));
  return y;
}

/// Only the weight is read in autocast's type, from the copy that autocast keeps of a parameter.
at::Tensor one_autocast(const at::Tensor& x, const at::Tensor& weight,
                        const OptionalTensor& scale) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = x.device().type();
  const auto lower = at::autocast::get_autocast_dtype(device);
  return dispatch_linear_few_rows(x, at::autocast::cached_cast(lower, weight, device), scale);
}

std::vector<at::Tensor> several_autocast(const at::Tensor& x, at::TensorList weights,
                                         at::TensorList scales) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = x.device().type();
  const auto lower = at::autocast::get_autocast_dtype(device);
  return dispatch_linears_few_rows(x, at::autocast::cached_cast(lower, weights, device), scales);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", one_composed);
  m.impl("linear_few_rows.several", reference::linears_few_rows);
}
TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", one_cpu);
  m.impl("linear_few_rows.several", several_cpu);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", one_meta);
  m.impl("linear_few_rows.several", several_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", torch::autograd::autogradNotImplementedFallback());
  m.impl("linear_few_rows.several", torch::autograd::autogradNotImplementedFallback());
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", one_autocast);
  m.impl("linear_few_rows.several", several_autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("linear_few_rows", one_autocast);
  m.impl("linear_few_rows.several", several_autocast);
}

}  // namespace
}  // namespace altup::internal
