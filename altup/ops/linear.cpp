// altup::linear, y = x W^T, with our own fp32 product where that is faster than the library's:
//
//   backward   dx = dy W          dW = dy^T x
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/checks.h"
#include "altup/ops/product.h"
#include "altup/ops/registration.h"

namespace altup::internal {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_linear(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2,
              "altup::linear takes x [..., in] and weight [out, in], got ", x.sym_sizes(), " and ",
              weight.sym_sizes());
  TORCH_SYM_CHECK(x.sym_sizes().back().sym_eq(weight.sym_size(1)), "altup::linear: x ",
                  x.sym_sizes(), " does not fit weight ", weight.sym_sizes());
  TORCH_CHECK_TYPE(at::isFloatingType(x.scalar_type()) && x.scalar_type() == weight.scalar_type(),
                   "altup::linear: x and weight must be of one floating type, got ",
                   x.scalar_type(), " and ", weight.scalar_type());
  check_one_device("altup::linear", {x, weight});
}

/// [..., n] -> [rows, n]
at::Tensor as_rows(const at::Tensor& x) {
  c10::SymInt rows = 1;
  for (int64_t i = 0; i + 1 < x.dim(); ++i) rows *= x.sym_size(i);
  return x.reshape_symint({rows, x.sym_size(-1)});
}
/// The same with dense rows.
at::Tensor as_matrix(const at::Tensor& x) {
  return as_rows(x).contiguous();
}

at::Tensor linear_cpu(const at::Tensor& x, const at::Tensor& weight) {
  check_linear(x, weight);
  if (!has_product_kernel(x.scalar_type()) || x.numel() == 0) return at::linear(x, weight);
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return product(as_matrix(x), weight.t()).view(sizes);
}

at::Tensor linear_composed(const at::Tensor& x, const at::Tensor& weight) {
  check_linear(x, weight);
  return at::linear(x, weight);
}

at::Tensor linear_meta(const at::Tensor& x, const at::Tensor& weight) {
  check_linear(x, weight);
  auto sizes = x.sym_sizes().vec();
  sizes.back() = weight.sym_size(0);
  return at::empty_symint(sizes, x.options());
}

/// a b of two matrices that may be views.
at::Tensor product_of(const at::Tensor& a, const at::Tensor& b) {
  return !a.is_cpu() || a.numel() == 0 || b.numel() == 0 ? at::mm(a, b) : product(a, b);
}

class Linear : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x, weight});
    return dispatch_linear(x, weight);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto& [x, weight] = std::tie(saved[0], saved[1]);
    // Recorded where a second derivative is asked for, or a compiler looks on.
    if (at::GradMode::is_enabled() || is_traced(grads[0])) {
      const auto dy = as_rows(grads[0]);
      return {at::mm(dy, weight).reshape_symint(x.sym_sizes()), at::mm(dy.t(), as_rows(x))};
    }
    // Without autograd's note of what the gradient is a view of, its sum with another is made in
    // place.
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto dy = as_matrix(grads[0]);
    variable_list result(2);
    if (context->needs_input_grad(0)) result[0] = product_of(dy, weight).view(x.sizes());
    if (context->needs_input_grad(1)) result[1] = product_of(dy.t(), as_matrix(x));
    return result;
  }
};

at::Tensor linear_autograd(const at::Tensor& x, const at::Tensor& weight) {
  return Linear::apply(x, weight);
}

at::Tensor linear_autocast(const at::Tensor& x, const at::Tensor& weight) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = x.device().type();
  const auto type = at::autocast::get_autocast_dtype(device);
  return dispatch_linear(at::autocast::cached_cast(type, x, device),
                         at::autocast::cached_cast(type, weight, device));
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_cpu);
}
TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_composed);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_autograd);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("linear", linear_autocast);
}

}  // namespace

at::Tensor dispatch_linear(const at::Tensor& x, const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::linear", "")
                             .typed<decltype(dispatch_linear)>();
  return op.call(x, weight);
}

}  // namespace altup::internal
