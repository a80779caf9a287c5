// altup::linear_cross_entropy: what is the same on every device. The CPU kernels are in
// cross_entropy_cpu.cpp. For a token with the logits l = x W^T over V pieces, target t, weight c,
// log Z = logsumexp(l), label smoothing s and z-loss z,
//
//   loss     c ((1 − s)(log Z − l_t) + s (log Z − mean l) + z (log Z)²)
//   dl       c (softmax(l) (1 + 2 z log Z) − (1 − s) onehot(t) − s / V)
//   dx       dl W           dW = dl^T x
//
// The logits are the largest tensors of a training step. Their gradient needs nothing that comes
// later but one number, so it is made in the forward pass, in the place of the logits, a chunk of
// rows at a time: neither the logits nor the probabilities of all tokens are ever there. `scale`
// brings that number in early; what the backward pass then multiplies by is 1.
#include "altup/ops/cross_entropy.h"
#include "altup/ops/checks.h"
#include "altup/ops/registration.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace altup::internal {

void check_linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& targets, const at::Tensor& token_weights,
                                double scale, double label_smoothing) {
  TORCH_CHECK(scale != 0.0, "altup::linear_cross_entropy: scale must not be 0");
  TORCH_CHECK(label_smoothing >= 0.0 && label_smoothing <= 1.0,
              "altup::linear_cross_entropy: label_smoothing must be in [0, 1], got ",
              label_smoothing);
  const bool shapes =
      x.dim() == 2 && weight.dim() == 2 && targets.dim() == 1 && token_weights.dim() == 1;
  TORCH_CHECK(shapes,
              "altup::linear_cross_entropy takes x [N, d], weight [V, d], targets [N] and "
              "token_weights [N], got ",
              x.sym_sizes(), ", ", weight.sym_sizes(), ", ", targets.sym_sizes(), " and ",
              token_weights.sym_sizes());
  TORCH_SYM_CHECK(x.sym_size(1).sym_eq(weight.sym_size(1)), "altup::linear_cross_entropy: x ",
                  x.sym_sizes(), " and weight ", weight.sym_sizes(), " must have one width");
  TORCH_SYM_CHECK(targets.sym_size(0)
                      .sym_eq(x.sym_size(0))
                      .sym_and(token_weights.sym_size(0).sym_eq(x.sym_size(0))),
                  "altup::linear_cross_entropy: targets ", targets.sym_sizes(),
                  " and token_weights ", token_weights.sym_sizes(), " must have the rows of x ",
                  x.sym_sizes());
  TORCH_CHECK_TYPE(
      at::isFloatingType(x.scalar_type()) && at::isFloatingType(weight.scalar_type()) &&
          at::isFloatingType(token_weights.scalar_type()) && targets.scalar_type() == at::kLong,
      "altup::linear_cross_entropy: targets must be int64 and the others floating "
      "point, got ",
      x.scalar_type(), ", ", weight.scalar_type(), ", ", targets.scalar_type(), ", ",
      token_weights.scalar_type());
  check_one_device("altup::linear_cross_entropy", {x, weight, targets, token_weights});
}

CrossEntropyTensors dispatch_linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights, double scale,
                                                  double z_loss, double label_smoothing,
                                                  bool gradient) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::linear_cross_entropy", "")
                             .typed<decltype(dispatch_linear_cross_entropy)>();
  return op.call(x, weight, targets, token_weights, scale, z_loss, label_smoothing, gradient);
}

CrossEntropyTensors linear_cross_entropy_composed(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights, double scale,
                                                  double z_loss, double label_smoothing,
                                                  bool gradient) {
  check_linear_cross_entropy(x, weight, targets, token_weights, scale, label_smoothing);
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto type = x.scalar_type();
  const auto sums = type == at::kDouble ? at::kDouble : at::kFloat;
  const auto head = weight.to(type);
  const auto logits = at::mm(x, head.t()).to(sums);  // [N, V]
  const auto c = token_weights.to(sums);             // [N]
  const auto log_z = at::logsumexp(logits, {-1});
  const auto nll = log_z - logits.gather(1, targets.unsqueeze(1)).squeeze(1);
  auto loss = (1.0 - label_smoothing) * nll + z_loss * log_z.square();
  if (label_smoothing > 0) loss = loss + label_smoothing * (log_z - logits.mean(-1));
  at::Tensor dx = at::empty({0}, x.options());
  at::Tensor dweight = at::empty({0}, weight.options());
  if (gradient) {
    const auto factor = c * scale;
    auto dl =
        (logits - log_z.unsqueeze(1)).exp() * (factor * (1.0 + 2.0 * z_loss * log_z)).unsqueeze(1);
    dl.scatter_add_(1, targets.unsqueeze(1), ((label_smoothing - 1.0) * factor).unsqueeze(1));
    if (label_smoothing > 0) {
      dl.sub_((factor * (label_smoothing / static_cast<double>(logits.size(1)))).unsqueeze(1));
    }
    const auto narrow = dl.to(type);
    dx = at::mm(narrow, head);
    dweight = at::mm(narrow.t(), x).to(weight.scalar_type());
  }
  return {at::dot(loss, c), at::dot(nll, c), logits.argmax(-1), dx, dweight};
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

CrossEntropyTensors meta(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets,
                         const at::Tensor& token_weights, double scale, double,
                         double label_smoothing, bool gradient) {
  check_linear_cross_entropy(x, weight, targets, token_weights, scale, label_smoothing);
  const auto scalar = x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const auto like = [&](const at::Tensor& tensor) {
    return gradient ? at::empty_symint(tensor.sym_sizes(), tensor.options())
                    : at::empty({0}, tensor.options());
  };
  return {at::empty({}, scalar), at::empty({}, scalar),
          at::empty_symint(targets.sym_sizes(), targets.options()), like(x), like(weight)};
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& weight, const at::Tensor& targets,
                               const at::Tensor& token_weights, double scale, double z_loss,
                               double label_smoothing, bool gradient) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [loss, nll, predictions, dx, dweight] = dispatch_linear_cross_entropy(
        x, weight, targets, token_weights, scale, z_loss, label_smoothing, gradient);
    context->saved_data["scale"] = scale;
    if (gradient) context->save_for_backward({dx, dweight});
    context->mark_non_differentiable({nll, predictions, dx, dweight});
    context->set_materialize_grads(false);  // no zeros as large as the head
    return {loss, nll, predictions, dx, dweight};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    TORCH_CHECK(saved.size() == 2,
                "altup::linear_cross_entropy was called with gradient = False, so it has none");
    // The gradient that was made is that of scale · loss.
    const double scale = context->saved_data["scale"].toDouble();
    const auto& upstream = grads[0];
    if (!upstream.defined()) return variable_list(8);
    // While PyTorch traces, its number cannot be asked for.
    const bool traced = is_traced(upstream);
    TORCH_CHECK(traced || !at::GradMode::is_enabled(),
                "altup::linear_cross_entropy has no second derivative; use altup::reference");
    const bool as_expected = !traced && upstream.item<double>() == scale;
    const auto times = [&](const at::Tensor& gradient) {
      return as_expected ? gradient : gradient * (upstream / scale).to(gradient.scalar_type());
    };
    return {times(saved[0]), times(saved[1]), at::Tensor(), at::Tensor(),
            at::Tensor(),    at::Tensor(),    at::Tensor(), at::Tensor()};
  }
};

CrossEntropyTensors autograd(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& targets, const at::Tensor& token_weights,
                             double scale, double z_loss, double label_smoothing, bool gradient) {
  const auto out = LinearCrossEntropy::apply(x, weight, targets, token_weights, scale, z_loss,
                                             label_smoothing, gradient);
  return {out[0], out[1], out[2], out[3], out[4]};
}

/// The product is done in autocast's type; the weight's gradient comes in the weight's own.
CrossEntropyTensors autocast(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& targets, const at::Tensor& token_weights,
                             double scale, double z_loss, double label_smoothing, bool gradient) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = x.device().type();
  return dispatch_linear_cross_entropy(
      at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), x, device), weight,
      targets, token_weights, scale, z_loss, label_smoothing, gradient);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", linear_cross_entropy_composed);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", autograd);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", autocast);
}

}  // namespace
}  // namespace altup::internal
