// altup::rms_norm and altup::add_rms_norm: what is the same on every device (checks, Meta,
// Autograd, Autocast, the composed fallback). The CPU kernels are in rms_norm_cpu.cpp. For one row
// s [d] = x + delta, with r = 1 / sqrt(mean(s²) + epsilon),
//
//   forward    y_i  = s_i r w_i
//   backward   dw_i = Σ_rows dy_i s_i r
//              ds_i = r w_i dy_i − s_i r³ / d Σ_j w_j dy_j s_j     (+ what reaches s directly)
//              dx   = ddelta = ds
#include "altup/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/checks.h"
#include "altup/ops/ops.h"
#include "altup/ops/optional_tensor.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

namespace altup::internal {

void check_rms_norm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() >= 1, "altup::rms_norm: x must be [..., d], got ", x.sym_sizes());
  TORCH_CHECK(weight.dim() == 1, "altup::rms_norm: weight must be [d], got ", weight.sym_sizes());
  TORCH_SYM_CHECK(weight.sym_size(0).sym_eq(x.sym_size(-1)), "altup::rms_norm: weight ",
                  weight.sym_sizes(), " must have the last size of x ", x.sym_sizes());
  if (delta.defined()) {
    TORCH_CHECK(delta.dim() == x.dim(), "altup::add_rms_norm: delta ", delta.sym_sizes(),
                " must have the shape of x ", x.sym_sizes());
    for (int64_t i = 0; i < x.dim(); ++i) {
      TORCH_SYM_CHECK(delta.sym_size(i).sym_eq(x.sym_size(i)), "altup::add_rms_norm: delta ",
                      delta.sym_sizes(), " must have the shape of x ", x.sym_sizes());
    }
  }
  for (const auto* tensor : {&x, &delta, &weight}) {
    if (!tensor->defined()) continue;
    TORCH_CHECK_TYPE(at::isFloatingType(tensor->scalar_type()),
                     "altup::rms_norm: all tensors must be real floating point, got ",
                     tensor->scalar_type());
  }
  check_one_device("altup::rms_norm", {x, delta, weight});
}

void check_rms_norm_backward(const at::Tensor& dy, const OptionalTensor& dsum,
                             const at::Tensor& sum, const at::Tensor& weight,
                             const at::Tensor& rstd) {
  constexpr const char* kName = "altup::rms_norm_backward";
  check_rms_norm(sum, {}, weight);
  check_one_device(kName, {sum, dy, dsum.value_or(at::Tensor()), rstd});
  check_sizes(kName, "dy", dy, sum.sym_sizes());
  if (given(dsum)) check_sizes(kName, "dsum", *dsum, sum.sym_sizes());
  check_sizes(kName, "rstd", rstd, sum.sym_sizes().slice(0, static_cast<size_t>(sum.dim() - 1)));
}

TwoTensors dispatch_rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::rms_norm", "")
                             .typed<decltype(dispatch_rms_norm)>();
  return op.call(x, weight, epsilon, dtype);
}

ThreeTensors dispatch_add_rms_norm(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::add_rms_norm", "")
                             .typed<decltype(dispatch_add_rms_norm)>();
  return op.call(x, delta, weight, epsilon);
}

namespace {

// --- Composed
// --------------------------------------------------------------------------------------

at::ScalarType sum_type(const at::Tensor& x) {
  return at::toOpMathType(x.scalar_type());
}

TwoTensors composed(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                    at::ScalarType type) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto wide = x.to(sum_type(x));
  const auto rstd = at::rsqrt(wide.square().mean({-1}, /*keepdim=*/true) + epsilon);
  const auto y = (wide * rstd * weight.to(wide.scalar_type())).to(type);
  return {y.contiguous(), rstd.squeeze(-1)};
}

}  // namespace

TwoTensors rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype) {
  check_rms_norm(x, {}, weight);
  return composed(x, weight, epsilon, dtype.value_or(x.scalar_type()));
}

ThreeTensors add_rms_norm_composed(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon) {
  check_rms_norm(x, delta, weight);
  const auto sum = (x + delta.to(x.scalar_type())).contiguous();
  auto [y, rstd] = composed(sum, weight, epsilon, delta.scalar_type());
  return {sum, y, rstd};
}

ThreeTensors rms_norm_backward_composed(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                                        const at::Tensor& sum, const at::Tensor& weight,
                                        const at::Tensor& rstd,
                                        std::optional<at::ScalarType> narrow) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto type = sum_type(sum);
  const auto s = sum.to(type);
  const auto r = rstd.to(type).unsqueeze(-1);
  const auto g = dy.to(type) * weight.to(type);
  auto ds = r * g - s * r.pow(3) * (g * s).mean({-1}, /*keepdim=*/true);
  if (dsum.has_value() && dsum->defined()) ds = ds + dsum->to(type);
  const auto shares = dy.to(type) * s * r;
  const auto dweight = shares.dim() == 1 ? shares : shares.flatten(0, -2).sum(0);
  const auto ddelta = narrow ? ds.to(*narrow) : at::empty({0}, sum.options());
  return {ds.to(sum.scalar_type()).contiguous(), ddelta, dweight.to(weight.scalar_type())};
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

ThreeTensors dispatch_backward(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                               const at::Tensor& sum, const at::Tensor& weight,
                               const at::Tensor& rstd, std::optional<at::ScalarType> narrow) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::rms_norm_backward", "")
                             .typed<decltype(dispatch_backward)>();
  return op.call(dy, dsum, sum, weight, rstd, narrow);
}

// --- Meta
// -------------------------------------------------------------------------------------------

at::Tensor rstd_meta(const at::Tensor& x) {
  return at::empty_symint(x.sym_sizes().slice(0, static_cast<size_t>(x.dim() - 1)),
                          x.options().dtype(sum_type(x)));
}

at::Tensor like(const at::Tensor& x, at::ScalarType type) {
  return at::empty_symint(x.sym_sizes(), x.options().dtype(type));
}

TwoTensors rms_norm_meta(const at::Tensor& x, const at::Tensor& weight, double,
                         std::optional<at::ScalarType> dtype) {
  check_rms_norm(x, {}, weight);
  return {like(x, dtype.value_or(x.scalar_type())), rstd_meta(x)};
}

ThreeTensors add_rms_norm_meta(const at::Tensor& x, const at::Tensor& delta,
                               const at::Tensor& weight, double) {
  check_rms_norm(x, delta, weight);
  return {like(x, x.scalar_type()), like(x, delta.scalar_type()), rstd_meta(x)};
}

ThreeTensors backward_meta(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                           const at::Tensor& sum, const at::Tensor& weight, const at::Tensor& rstd,
                           std::optional<at::ScalarType> narrow) {
  check_rms_norm_backward(dy, dsum, sum, weight, rstd);
  return {like(sum, sum.scalar_type()), narrow ? like(sum, *narrow) : at::empty({0}, sum.options()),
          like(weight, weight.scalar_type())};
}

// --- Autograd
// ---------------------------------------------------------------------------------------

class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& weight, double epsilon,
                               std::optional<at::ScalarType> dtype) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [y, rstd] = dispatch_rms_norm(x, weight, epsilon, dtype);
    context->save_for_backward({x, weight, rstd});
    context->mark_non_differentiable({rstd});
    return {y, rstd};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    auto [dx, unused, dweight] =
        dispatch_backward(grads[0], std::nullopt, saved[0], saved[1], saved[2], std::nullopt);
    return {dx, dweight, at::Tensor(), at::Tensor()};
  }
};

class AddRmsNorm : public torch::autograd::Function<AddRmsNorm> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& delta, const at::Tensor& weight, double epsilon) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [sum, y, rstd] = dispatch_add_rms_norm(x, delta, weight, epsilon);
    context->save_for_backward({sum, weight, rstd});
    context->saved_data["delta_type"] = static_cast<int64_t>(delta.scalar_type());
    context->mark_non_differentiable({rstd});
    context->set_materialize_grads(false);
    return {sum, y, rstd};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const auto& sum = saved[0];
    const auto delta_type = static_cast<at::ScalarType>(context->saved_data["delta_type"].toInt());
    if (!grads[1].defined()) {  // only the sum was used
      const auto& d = grads[0];
      return {d, d.defined() ? d.to(delta_type) : d, at::Tensor(), at::Tensor()};
    }
    const bool same_type = delta_type == sum.scalar_type();
    const auto dsum = grads[0].defined() ? std::optional(grads[0]) : std::nullopt;
    auto [dx, ddelta, dweight] =
        dispatch_backward(grads[1], dsum, sum, saved[1], saved[2],
                          same_type ? std::nullopt : std::optional(delta_type));
    return {dx, same_type ? dx : ddelta, dweight, at::Tensor()};
  }
};

TwoTensors rms_norm_autograd(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype) {
  const auto out = RmsNorm::apply(x, weight, epsilon, dtype);
  return {out[0], out[1]};
}

ThreeTensors add_rms_norm_autograd(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon) {
  const auto out = AddRmsNorm::apply(x, delta, weight, epsilon);
  return {out[0], out[1], out[2]};
}

/// Recorded only for a second derivative, which is rare: it takes the composed path.
ThreeTensors backward_autograd(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                               const at::Tensor& sum, const at::Tensor& weight,
                               const at::Tensor& rstd, std::optional<at::ScalarType> narrow) {
  const bool recorded = at::GradMode::is_enabled() &&
                        (dy.requires_grad() || sum.requires_grad() || weight.requires_grad() ||
                         (dsum.has_value() && dsum->requires_grad()));
  TORCH_CHECK(!recorded, "altup::rms_norm has no second derivative; use altup::reference");
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_backward(dy, dsum, sum, weight, rstd, narrow);
}

// --- Autocast
// ---------------------------------------------------------------------------------------

/// The residual stream stays fp32; what goes into the next product is made in its type at once.
/// Doubles stay what they are, as in autocast's own operators.
TwoTensors rms_norm_autocast(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto lower = x.scalar_type() == at::kDouble
                         ? at::kDouble
                         : at::autocast::get_autocast_dtype(x.device().type());
  return dispatch_rms_norm(x, weight, epsilon, dtype.value_or(lower));
}

ThreeTensors add_rms_norm_autocast(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  return dispatch_add_rms_norm(x, delta, weight, epsilon);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_composed);
  m.impl("add_rms_norm", add_rms_norm_composed);
  m.impl("rms_norm_backward", rms_norm_backward_composed);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_meta);
  m.impl("add_rms_norm", add_rms_norm_meta);
  m.impl("rms_norm_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_autograd);
  m.impl("add_rms_norm", add_rms_norm_autograd);
  m.impl("rms_norm_backward", backward_autograd);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_autocast);
  m.impl("add_rms_norm", add_rms_norm_autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("rms_norm", rms_norm_autocast);
  m.impl("add_rms_norm", add_rms_norm_autocast);
}

}  // namespace
}  // namespace altup::internal
