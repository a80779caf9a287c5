// altup::update: what is the same on every device (checks, Meta, Autograd, Autocast, the composed
// fallback). The CPU kernels are in altup_update_cpu.cpp. With a the active block,
//
//   forward    x̂^i = Σ_j p_ij x^j          y^i = x̂^i + g_i (x̃ − x̂^a)
//   backward   e     = Σ_i g_i dy^i                      the gradient of the innovation x̃ − x̂^a
//              dx̃    = e
//              dx̂^i  = dy^i − [i = a] e
//              dx^j  = Σ_i p_ij dx̂^i
//              dp_ij = <dx̂^i, x^j>
//              dg_i  = <dy^i, x̃ − x̂^a>
// The scalar products are over all elements or, with coefficients of each token, over those of a
// token.
#include "altup/ops/altup_update.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

namespace altup::internal {

void check_update(const at::Tensor& x, const at::Tensor& x_tilde,
                  const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                  int64_t active_block) {
  const auto x_sizes = x.sym_sizes();
  const auto tilde_sizes = x_tilde.sym_sizes();
  const auto p_sizes = prediction_coefs.sym_sizes();
  const auto g_sizes = correction_coefs.sym_sizes();
  TORCH_CHECK(x.dim() == 4, "altup::update: x must be [K, B, T, d], got ", x_sizes);
  TORCH_CHECK(x_tilde.dim() == 3, "altup::update: x_tilde must be [B, T, d], got ", tilde_sizes);
  for (int64_t i = 0; i < 3; ++i) {
    TORCH_SYM_CHECK(tilde_sizes[i].sym_eq(x_sizes[i + 1]), "altup::update: x_tilde ", tilde_sizes,
                    " must have the shape of one block of x ", x_sizes);
  }
  TORCH_CHECK(prediction_coefs.dim() == 2 || prediction_coefs.dim() == 4,
              "altup::update: prediction_coefs must be [K, K] or [B, T, K, K], got ", p_sizes);
  const bool of_tokens = has_token_coefs(prediction_coefs);
  TORCH_CHECK(
      correction_coefs.dim() == (of_tokens ? 3 : 1), "altup::update: correction_coefs must be ",
      of_tokens ? "[B, T, K], as prediction_coefs is [B, T, K, K]" : "[K]", ", got ", g_sizes);
  const size_t first = of_tokens ? 2 : 0;  // where the K are
  TORCH_SYM_CHECK(p_sizes[first].sym_eq(x_sizes[0]).sym_and(p_sizes[first + 1].sym_eq(x_sizes[0])),
                  "altup::update: prediction_coefs ", p_sizes,
                  of_tokens ? " must be [B, T, K, K]" : " must be [K, K]",
                  " with the K = ", x_sizes[0], " of x");
  TORCH_SYM_CHECK(g_sizes[first].sym_eq(x_sizes[0]), "altup::update: correction_coefs ", g_sizes,
                  of_tokens ? " must be [B, T, K]" : " must be [K]", " with the K = ", x_sizes[0],
                  " of x");
  for (size_t i = 0; i < first; ++i) {
    TORCH_SYM_CHECK(p_sizes[i].sym_eq(tilde_sizes[i]).sym_and(g_sizes[i].sym_eq(tilde_sizes[i])),
                    "altup::update: prediction_coefs ", p_sizes, " and correction_coefs ", g_sizes,
                    " must begin with the [B, T] of x_tilde ", tilde_sizes);
  }
  TORCH_CHECK_INDEX(active_block >= 0, "altup::update: active_block must be in [0, ", x_sizes[0],
                    "), got ", active_block);
  TORCH_SYM_CHECK(x_sizes[0].sym_gt(active_block), "altup::update: active_block must be in [0, ",
                  x_sizes[0], "), got ", active_block);
  for (const auto* tensor : {&x, &x_tilde, &prediction_coefs, &correction_coefs}) {
    TORCH_CHECK_TYPE(at::isFloatingType(tensor->scalar_type()),
                     "altup::update: all tensors must be real floating point, got ",
                     tensor->scalar_type());
    TORCH_CHECK(tensor->device() == x.device(),
                "altup::update: all tensors must be on one device, got ", x.device(), " and ",
                tensor->device());
  }
}

void check_update_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block) {
  check_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  TORCH_CHECK(grad.dim() == 4, "altup::update_backward: grad must be [K, B, T, d], got ",
              grad.sym_sizes());
  for (int64_t i = 0; i < 4; ++i) {
    TORCH_SYM_CHECK(grad.sym_size(i).sym_eq(x.sym_size(i)), "altup::update_backward: grad ",
                    grad.sym_sizes(), " must have the shape of x ", x.sym_sizes());
  }
  TORCH_CHECK(grad.device() == x.device(), "altup::update_backward: grad is on ", grad.device(),
              ", x on ", x.device());
}

at::ScalarType update_type(const at::Tensor& x, const at::Tensor& x_tilde) {
  return c10::promoteTypes(x.scalar_type(), x_tilde.scalar_type());
}

at::Tensor dispatch_update(const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::update", "")
                             .typed<decltype(dispatch_update)>();
  return op.call(x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

UpdateGradients dispatch_update_backward(const at::Tensor& grad, const at::Tensor& x,
                                         const at::Tensor& x_tilde,
                                         const at::Tensor& prediction_coefs,
                                         const at::Tensor& correction_coefs, int64_t active_block) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::update_backward", "")
                             .typed<decltype(dispatch_update_backward)>();
  return op.call(grad, x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

namespace {

// --- Meta: shapes and types only
// -------------------------------------------------------------------

at::Tensor update_meta(const at::Tensor& x, const at::Tensor& x_tilde,
                       const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                       int64_t active_block) {
  check_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  return at::empty_symint(x.sym_sizes(), x.options().dtype(update_type(x, x_tilde)));
}

UpdateGradients update_backward_meta(const at::Tensor& grad, const at::Tensor& x,
                                     const at::Tensor& x_tilde, const at::Tensor& prediction_coefs,
                                     const at::Tensor& correction_coefs, int64_t active_block) {
  check_update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs, active_block);
  const auto empty = [](const at::Tensor& like) {
    return at::empty_symint(like.sym_sizes(), like.options());
  };
  return {empty(x), empty(x_tilde), empty(prediction_coefs), empty(correction_coefs)};
}

// --- Autograd
// --------------------------------------------------------------------------------------

class Update : public torch::autograd::Function<Update> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& x_tilde, const at::Tensor& prediction_coefs,
                            const at::Tensor& correction_coefs, int64_t active_block) {
    context->save_for_backward({x, x_tilde, prediction_coefs, correction_coefs});
    context->saved_data["active_block"] = active_block;
    const at::AutoDispatchBelowADInplaceOrView guard;
    return dispatch_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto active_block = context->saved_data["active_block"].toInt();
    auto [dx, dx_tilde, dp, dg] =
        dispatch_update_backward(grads[0], saved[0], saved[1], saved[2], saved[3], active_block);
    return {dx, dx_tilde, dp, dg, at::Tensor()};
  }
};

at::Tensor update_autograd(const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block) {
  return Update::apply(x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

/// The backward pass is itself recorded only for a second derivative, which is rare: it takes the
/// composed path.
UpdateGradients update_backward_autograd(const at::Tensor& grad, const at::Tensor& x,
                                         const at::Tensor& x_tilde,
                                         const at::Tensor& prediction_coefs,
                                         const at::Tensor& correction_coefs, int64_t active_block) {
  const bool recorded = at::GradMode::is_enabled() &&
                        (grad.requires_grad() || x.requires_grad() || x_tilde.requires_grad() ||
                         prediction_coefs.requires_grad() || correction_coefs.requires_grad());
  if (recorded) {
    return reference::update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs,
                                      active_block);
  }
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs,
                                  active_block);
}

// --- Autocast
// --------------------------------------------------------------------------------------

/// Nothing is lowered: under autocast the residual stream, and so the state, is fp32, and rounding
/// it at every layer would lose the small updates. The operator brings x_tilde to the wider type by
/// itself.
at::Tensor update_autocast(const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  return dispatch_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("update", reference::update);
  m.impl("update_backward", reference::update_backward);
}

TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("update", update_meta);
  m.impl("update_backward", update_backward_meta);
}

TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("update", update_autograd);
  m.impl("update_backward", update_backward_autograd);
}

TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("update", update_autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("update", update_autocast);
}

}  // namespace
}  // namespace altup::internal
