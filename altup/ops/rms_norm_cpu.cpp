// altup::rms_norm and altup::add_rms_norm on CPU: brings the tensors into the form of the kernels
// and splits the rows among threads. The weight's gradient is summed over groups of rows of a fixed
// size, each in a slot of its own, so that it does not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/registration.h"
#include "altup/ops/rms_norm.h"
#include "altup/ops/rms_norm_kernels.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// Numbers that are worth another thread.
constexpr int64_t kNumbersPerThread = 16'384;
/// Rows whose share of the weight's gradient is summed in fp32 before it goes to the total.
constexpr int64_t kGroup = 128;

bool has_kernel(const at::Tensor& x, at::ScalarType layer_type, const at::Tensor& weight) {
  return x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         (layer_type == at::kFloat || layer_type == at::kBFloat16) && x.numel() > 0;
}

int64_t rows_per_thread(int64_t width) {
  return std::max<int64_t>(1, kNumbersPerThread / width);
}

/// Both operators: without `delta`, sum is x itself.
template <typename Scalar>
ThreeTensors forward_as(const at::Tensor& x_given, const at::Tensor& delta_given,
                        const at::Tensor& weight_given, double epsilon) {
  const auto x = x_given.contiguous();
  const auto weight = weight_given.contiguous();
  const auto delta = delta_given.defined() ? delta_given.contiguous() : delta_given;
  const auto sum = delta.defined() ? at::empty_like(x) : x;
  const auto y =
      at::empty(x.sizes(), x.options().dtype(c10::CppTypeToScalarType<Element<Scalar>>::value));
  const auto rstd = at::empty(x.sizes().slice(0, static_cast<size_t>(x.dim() - 1)), x.options());
  RmsNormArguments<Scalar> args;
  args.width = weight.numel();
  args.epsilon = static_cast<float>(epsilon);
  args.x = pointer<float>(x);
  args.weight = pointer<float>(weight);
  args.y = mutable_pointer<Scalar>(y);
  args.rstd = mutable_pointer<float>(rstd);
  if (delta.defined()) {
    args.delta = pointer<Scalar>(delta);
    args.sum = mutable_pointer<float>(sum);
  }
  const auto kernel = ALTUP_OF_THIS_CPU(rms_norm_kernels<Scalar>()).forward;
  at::parallel_for(0, rstd.numel(), rows_per_thread(args.width),
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  return {sum, y, rstd};
}

template <typename Scalar>
ThreeTensors backward_as(const at::Tensor& dy_given, const std::optional<at::Tensor>& dsum_given,
                         const at::Tensor& sum, const at::Tensor& weight_given,
                         const at::Tensor& rstd_given, bool narrow) {
  const auto dy = dy_given.contiguous();
  const auto x = sum.contiguous();
  const auto weight = weight_given.contiguous();
  const auto rstd = rstd_given.contiguous();
  const auto dx = at::empty_like(x);
  const auto ddelta = narrow ? at::empty(x.sizes(), dy.options()) : at::empty({0}, dy.options());
  at::Tensor dsum;
  RmsNormArguments<Scalar> args;
  args.width = weight.numel();
  args.x = pointer<float>(x);
  args.weight = pointer<float>(weight);
  args.rstd = const_cast<float*>(pointer<float>(rstd));
  args.dy = pointer<Scalar>(dy);
  args.dx = mutable_pointer<float>(dx);
  if (narrow) args.ddelta = mutable_pointer<Scalar>(ddelta);
  if (dsum_given.has_value() && dsum_given->defined()) {
    dsum = dsum_given->to(at::kFloat).contiguous();
    args.dsum = pointer<float>(dsum);
  }
  const int64_t rows = rstd.numel();
  const auto shares = at::zeros({at::divup(rows, kGroup), args.width}, x.options());
  auto* const share = mutable_pointer<float>(shares);
  const auto kernel = ALTUP_OF_THIS_CPU(rms_norm_kernels<Scalar>()).backward;
  at::parallel_for(0, shares.size(0), at::divup(rows_per_thread(args.width), kGroup),
                   [&](int64_t first, int64_t last) {
                     for (int64_t group = first; group < last; ++group) {
                       kernel(args, group * kGroup, std::min(rows, (group + 1) * kGroup),
                              share + group * args.width);
                     }
                   });
  return {dx, ddelta, shares.sum(0).to(weight_given.scalar_type())};
}

TwoTensors rms_norm_cpu(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                        std::optional<at::ScalarType> dtype) {
  check_rms_norm(x, {}, weight);
  const auto type = dtype.value_or(x.scalar_type());
  if (!has_kernel(x, type, weight)) return rms_norm_composed(x, weight, epsilon, dtype);
  const auto as = type == at::kFloat ? forward_as<float> : forward_as<BFloat16Bits>;
  auto [sum, y, rstd] = as(x, {}, weight, epsilon);
  return {y, rstd};
}

ThreeTensors add_rms_norm_cpu(const at::Tensor& x, const at::Tensor& delta,
                              const at::Tensor& weight, double epsilon) {
  check_rms_norm(x, delta, weight);
  const auto type = delta.scalar_type();
  if (!has_kernel(x, type, weight)) return add_rms_norm_composed(x, delta, weight, epsilon);
  const auto as = type == at::kFloat ? forward_as<float> : forward_as<BFloat16Bits>;
  return as(x, delta, weight, epsilon);
}

ThreeTensors rms_norm_backward_cpu(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                                   const at::Tensor& sum, const at::Tensor& weight,
                                   const at::Tensor& rstd, std::optional<at::ScalarType> narrow) {
  check_rms_norm_backward(dy, dsum, sum, weight, rstd);
  const auto type = dy.scalar_type();
  if (!has_kernel(sum, type, weight) || (narrow.has_value() && *narrow != type)) {
    return rms_norm_backward_composed(dy, dsum, sum, weight, rstd, narrow);
  }
  const auto as = type == at::kFloat ? backward_as<float> : backward_as<BFloat16Bits>;
  return as(dy, dsum, sum, weight, rstd, narrow.has_value());
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_cpu);
  m.impl("add_rms_norm", add_rms_norm_cpu);
  m.impl("rms_norm_backward", rms_norm_backward_cpu);
}

}  // namespace
}  // namespace altup::internal
