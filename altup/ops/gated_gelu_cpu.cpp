// altup::gated_gelu on CPU: brings the tensors into the form of the kernels and splits the elements
// among threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/gated_gelu.h"
#include "altup/ops/gated_gelu_kernels.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// Elements that are worth another thread.
constexpr int64_t kGrain = 8192;

bool has_kernel(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16;
}

template <typename Scalar>
at::Tensor forward_as(const at::Tensor& gate_given, const at::Tensor& value_given) {
  const auto gate = gate_given.contiguous();
  const auto value = value_given.contiguous();
  const auto y = at::empty(gate.sizes(), gate.options());
  GatedGeluArguments<Scalar> args;
  args.gate = pointer<Scalar>(gate);
  args.value = pointer<Scalar>(value);
  args.y = mutable_pointer<Scalar>(y);
  const auto kernel = ALTUP_OF_THIS_CPU(gated_gelu_kernels<Scalar>()).forward;
  at::parallel_for(0, y.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  return y;
}

template <typename Scalar>
GatedGeluGradients backward_as(const at::Tensor& dy_given, const at::Tensor& gate_given,
                               const at::Tensor& value_given) {
  const auto dy = dy_given.contiguous();
  const auto gate = gate_given.contiguous();
  const auto value = value_given.contiguous();
  const auto dgate = at::empty(gate.sizes(), gate.options());
  const auto dvalue = at::empty(gate.sizes(), gate.options());
  GatedGeluArguments<Scalar> args;
  args.gate = pointer<Scalar>(gate);
  args.value = pointer<Scalar>(value);
  args.dy = pointer<Scalar>(dy);
  args.dgate = mutable_pointer<Scalar>(dgate);
  args.dvalue = mutable_pointer<Scalar>(dvalue);
  const auto kernel = ALTUP_OF_THIS_CPU(gated_gelu_kernels<Scalar>()).backward;
  at::parallel_for(0, dy.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  return {dgate, dvalue};
}

at::Tensor gated_gelu_cpu(const at::Tensor& gate, const at::Tensor& value) {
  check_gated_gelu(gate, value);
  if (!has_kernel(gate.scalar_type())) return gated_gelu_composed(gate, value);
  const auto as = gate.scalar_type() == at::kFloat ? forward_as<float> : forward_as<BFloat16Bits>;
  return as(gate, value);
}

GatedGeluGradients gated_gelu_backward_cpu(const at::Tensor& dy, const at::Tensor& gate,
                                           const at::Tensor& value) {
  check_gated_gelu_backward(dy, gate, value);
  if (!has_kernel(gate.scalar_type()) || dy.scalar_type() != gate.scalar_type()) {
    return gated_gelu_backward_composed(dy, gate, value);
  }
  const auto as = gate.scalar_type() == at::kFloat ? backward_as<float> : backward_as<BFloat16Bits>;
  return as(dy, gate, value);
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("gated_gelu", gated_gelu_cpu);
  m.impl("gated_gelu_backward", gated_gelu_backward_cpu);
}

}  // namespace
}  // namespace altup::internal
