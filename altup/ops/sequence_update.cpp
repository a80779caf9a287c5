// altup::sequence_update (Baykal et al. 2023, Algorithm 2): what is the same on every device. The CPU
// kernels are in sequence_update_cpu.cpp. With n' the anchor of row n, itself among the M computed
// rows, and m = a2 − b (a1 + a2),
//
//   forward    x̂_n = a1 x_n + a2 x_n'         y_n = x̂_n + b (x̃_n' − x̂_n')
//                  = a1 x_n + m x_n' + b x̃_n'        as x̂_n' = (a1 + a2) x_n'
//   backward   s_n' = Σ dy_n over the rows whose anchor is n'
//              dx_n  = a1 dy_n, and m s_n' more where n is an anchor
//              dx̃_n' = b s_n'
//              da1   = Σ <dy_n, x_n> − b Σ <s_n', x_n'>
//              da2   = (1 − b) Σ <s_n', x_n'>
//              db    = Σ <s_n', x̃_n' − (a1 + a2) x_n'>
#include "altup/ops/sequence_update.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

namespace altup::internal {

void check_sequence_update(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                           const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                           const at::Tensor& correction_coefs) {
  TORCH_CHECK(x.dim() == 2 && x_tilde.dim() == 2, "altup::sequence_update: x must be [N, d] and ",
              "x_tilde [M, d], got ", x.sym_sizes(), " and ", x_tilde.sym_sizes());
  TORCH_SYM_CHECK(x.sym_size(1).sym_eq(x_tilde.sym_size(1)), "altup::sequence_update: x ",
                  x.sym_sizes(), " and x_tilde ", x_tilde.sym_sizes(), " must have one width");
  TORCH_CHECK(places.dim() == 1 && anchors.dim() == 1,
              "altup::sequence_update: places must be [M] and anchors [N], got ",
              places.sym_sizes(), " and ", anchors.sym_sizes());
  TORCH_SYM_CHECK(places.sym_size(0).sym_eq(x_tilde.sym_size(0)), "altup::sequence_update: places ",
                  places.sym_sizes(), " must have a row of x for each of x_tilde ",
                  x_tilde.sym_sizes());
  TORCH_SYM_CHECK(anchors.sym_size(0).sym_eq(x.sym_size(0)), "altup::sequence_update: anchors ",
                  anchors.sym_sizes(), " must have one for each row of x ", x.sym_sizes());
  for (const auto* index : {&places, &anchors}) {
    TORCH_CHECK_TYPE(index->scalar_type() == at::kLong,
                     "altup::sequence_update: places and anchors must be int64, got ",
                     index->scalar_type());
  }
  TORCH_CHECK(prediction_coefs.dim() == 1 && correction_coefs.dim() == 1,
              "altup::sequence_update: prediction_coefs must be [2] and correction_coefs [1], got ",
              prediction_coefs.sym_sizes(), " and ", correction_coefs.sym_sizes());
  TORCH_SYM_CHECK(prediction_coefs.sym_size(0).sym_eq(2),
                  "altup::sequence_update: prediction_coefs must be [2], got ",
                  prediction_coefs.sym_sizes());
  TORCH_SYM_CHECK(correction_coefs.sym_size(0).sym_eq(1),
                  "altup::sequence_update: correction_coefs must be [1], got ",
                  correction_coefs.sym_sizes());
  for (const auto* tensor : {&x, &x_tilde, &prediction_coefs, &correction_coefs}) {
    TORCH_CHECK_TYPE(
        at::isFloatingType(tensor->scalar_type()),
        "altup::sequence_update: states and coefficients must be real floating point, ", "got ",
        tensor->scalar_type());
  }
  for (const auto* tensor : {&x_tilde, &places, &anchors, &prediction_coefs, &correction_coefs}) {
    TORCH_CHECK(tensor->device() == x.device(),
                "altup::sequence_update: all tensors must be on one device, got ", x.device(),
                " and ", tensor->device());
  }
}

at::Tensor dispatch_sequence_update(const at::Tensor& x, const at::Tensor& x_tilde,
                                    const at::Tensor& places, const at::Tensor& anchors,
                                    const at::Tensor& prediction_coefs,
                                    const at::Tensor& correction_coefs) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::sequence_update", "")
                             .typed<decltype(dispatch_sequence_update)>();
  return op.call(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

SequenceUpdateGradients dispatch_backward(const at::Tensor& grad, const at::Tensor& x,
                                          const at::Tensor& x_tilde, const at::Tensor& places,
                                          const at::Tensor& anchors,
                                          const at::Tensor& prediction_coefs,
                                          const at::Tensor& correction_coefs) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::sequence_update_backward", "")
                             .typed<decltype(dispatch_backward)>();
  return op.call(grad, x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

at::Tensor meta(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                const at::Tensor& correction_coefs) {
  check_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  return at::empty_symint(
      x.sym_sizes(), x.options().dtype(c10::promoteTypes(x.scalar_type(), x_tilde.scalar_type())));
}

SequenceUpdateGradients backward_meta(const at::Tensor&, const at::Tensor& x,
                                      const at::Tensor& x_tilde, const at::Tensor&,
                                      const at::Tensor&, const at::Tensor& prediction_coefs,
                                      const at::Tensor& correction_coefs) {
  const auto empty = [](const at::Tensor& like) {
    return at::empty_symint(like.sym_sizes(), like.options());
  };
  return {empty(x), empty(x_tilde), empty(prediction_coefs), empty(correction_coefs)};
}

class SequenceUpdate : public torch::autograd::Function<SequenceUpdate> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& x_tilde, const at::Tensor& places,
                            const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                            const at::Tensor& correction_coefs) {
    context->save_for_backward({x, x_tilde, places, anchors, prediction_coefs, correction_coefs});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return dispatch_sequence_update(x, x_tilde, places, anchors, prediction_coefs,
                                    correction_coefs);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    auto [dx, dx_tilde, dp, db] =
        dispatch_backward(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]);
    return {dx, dx_tilde, at::Tensor(), at::Tensor(), dp, db};
  }
};

at::Tensor autograd(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                    const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                    const at::Tensor& correction_coefs) {
  return SequenceUpdate::apply(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

/// Recorded for a second derivative alone; it is composed, and so has one.
SequenceUpdateGradients backward_autograd(const at::Tensor& grad, const at::Tensor& x,
                                          const at::Tensor& x_tilde, const at::Tensor& places,
                                          const at::Tensor& anchors,
                                          const at::Tensor& prediction_coefs,
                                          const at::Tensor& correction_coefs) {
  const bool recorded = at::GradMode::is_enabled() &&
                        (grad.requires_grad() || x.requires_grad() || x_tilde.requires_grad() ||
                         prediction_coefs.requires_grad() || correction_coefs.requires_grad());
  if (recorded) {
    return reference::sequence_update_backward(grad, x, x_tilde, places, anchors, prediction_coefs,
                                               correction_coefs);
  }
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_backward(grad, x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

/// Nothing is lowered, as in altup::update.
at::Tensor autocast(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                    const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                    const at::Tensor& correction_coefs) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  return dispatch_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", reference::sequence_update);
  m.impl("sequence_update_backward", reference::sequence_update_backward);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", meta);
  m.impl("sequence_update_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", autograd);
  m.impl("sequence_update_backward", backward_autograd);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", autocast);
}

}  // namespace
}  // namespace altup::internal
