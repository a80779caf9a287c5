// altup::gated_gelu (Shazeer 2020, "GEGLU", with the tanh form of GELU): what is the same on every
// device. The CPU kernels are in gated_gelu_cpu.cpp. With 2u = 2 sqrt(2/π) (a + 0.044715 a³) and
// tanh u = 2 σ(2u) − 1,
//
//   forward    gelu(a) = a σ(2u)                y  = gelu(a) b
//   backward   gelu'(a) = σ + a σ (1 − σ) (2u)'
//              da = dy b gelu'(a)               db = dy gelu(a)
//
// No exponential is kept for the backward pass: it is cheaper to take it again than to read it.
#include "altup/ops/gated_gelu.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/checks.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

namespace altup::internal {

void check_gated_gelu(const at::Tensor& gate, const at::Tensor& value) {
  TORCH_CHECK(gate.dim() == value.dim(), "altup::gated_gelu: gate ", gate.sym_sizes(),
              " and value ", value.sym_sizes(), " must have one shape");
  for (int64_t i = 0; i < gate.dim(); ++i) {
    TORCH_SYM_CHECK(gate.sym_size(i).sym_eq(value.sym_size(i)), "altup::gated_gelu: gate ",
                    gate.sym_sizes(), " and value ", value.sym_sizes(), " must have one shape");
  }
  TORCH_CHECK_TYPE(
      gate.scalar_type() == value.scalar_type() && at::isFloatingType(gate.scalar_type()),
      "altup::gated_gelu: both must be of one floating type, got ", gate.scalar_type(), " and ",
      value.scalar_type());
  TORCH_CHECK(gate.device() == value.device(), "altup::gated_gelu: gate is on ", gate.device(),
              ", value on ", value.device());
}

void check_gated_gelu_backward(const at::Tensor& dy, const at::Tensor& gate,
                               const at::Tensor& value) {
  check_gated_gelu(gate, value);
  check_one_device("altup::gated_gelu_backward", {gate, dy});
  check_sizes("altup::gated_gelu_backward", "dy", dy, gate.sym_sizes());
}

at::Tensor dispatch_gated_gelu(const at::Tensor& gate, const at::Tensor& value) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::gated_gelu", "")
                             .typed<decltype(dispatch_gated_gelu)>();
  return op.call(gate, value);
}

at::Tensor gated_gelu_composed(const at::Tensor& gate, const at::Tensor& value) {
  check_gated_gelu(gate, value);
  return (at::gelu(gate, "tanh") * value).contiguous();
}

GatedGeluGradients gated_gelu_backward_composed(const at::Tensor& dy, const at::Tensor& gate,
                                                const at::Tensor& value) {
  return {at::gelu_backward(dy * value, gate, "tanh").contiguous(),
          (dy * at::gelu(gate, "tanh")).contiguous()};
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

GatedGeluGradients dispatch_backward(const at::Tensor& dy, const at::Tensor& gate,
                                     const at::Tensor& value) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::gated_gelu_backward", "")
                             .typed<decltype(dispatch_backward)>();
  return op.call(dy, gate, value);
}

at::Tensor gated_gelu_meta(const at::Tensor& gate, const at::Tensor& value) {
  check_gated_gelu(gate, value);
  return at::empty_symint(gate.sym_sizes(), gate.options());
}

GatedGeluGradients backward_meta(const at::Tensor& dy, const at::Tensor& gate,
                                 const at::Tensor& value) {
  check_gated_gelu_backward(dy, gate, value);
  return {at::empty_symint(gate.sym_sizes(), gate.options()),
          at::empty_symint(value.sym_sizes(), value.options())};
}

class GatedGelu : public torch::autograd::Function<GatedGelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate,
                            const at::Tensor& value) {
    context->save_for_backward({gate, value});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return dispatch_gated_gelu(gate, value);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    auto [dgate, dvalue] = dispatch_backward(grads[0], saved[0], saved[1]);
    return {dgate, dvalue};
  }
};

at::Tensor gated_gelu_autograd(const at::Tensor& gate, const at::Tensor& value) {
  return GatedGelu::apply(gate, value);
}

GatedGeluGradients backward_autograd(const at::Tensor& dy, const at::Tensor& gate,
                                     const at::Tensor& value) {
  const bool recorded = at::GradMode::is_enabled() &&
                        (dy.requires_grad() || gate.requires_grad() || value.requires_grad());
  TORCH_CHECK(!recorded, "altup::gated_gelu has no second derivative; use altup::reference");
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_backward(dy, gate, value);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("gated_gelu", gated_gelu_composed);
  m.impl("gated_gelu_backward", gated_gelu_backward_composed);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("gated_gelu", gated_gelu_meta);
  m.impl("gated_gelu_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("gated_gelu", gated_gelu_autograd);
  m.impl("gated_gelu_backward", backward_autograd);
}

}  // namespace
}  // namespace altup::internal
