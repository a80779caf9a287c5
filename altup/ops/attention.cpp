// altup::attention: what is the same on every device. The CPU kernels are in attention_cpu.cpp. For
// one head of one example, with Q [T, d], K and V [S, d] and a bias b [T, S],
//
//   forward    P  = softmax(Q K^T + b)               O  = P V
//              lse = log Σ_S exp(Q K^T + b)
//   backward   dV = P^T dO          dP = dO V^T
//              dS = P ⊙ (dP − rowsum(dO ⊙ O))         since Σ_S P dP = Σ_d dO O
//              dQ = dS K            dK = dS^T Q       db = dS
//
// P is not kept for the backward pass but made again from lse (Dao et al. 2022): it is the largest
// tensor of a layer. The bias may have a gradient, which PyTorch's fused attention does not give.
#include "altup/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/registration.h"

namespace altup::internal {

namespace {

bool given(const OptionalTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

/// [B, T, H, d] -> [B, H, T, d]
at::Tensor by_head(const at::Tensor& x) {
  return x.transpose(1, 2);
}

/// Q K^T with the biases, in the type that sums are done in. [B, H, T, S]
at::Tensor scores_of(const at::Tensor& q, const at::Tensor& k, const OptionalTensor& bias,
                     const OptionalTensor& key_bias) {
  auto scores =
      at::matmul(by_head(q), by_head(k).transpose(2, 3)).to(at::toOpMathType(q.scalar_type()));
  if (given(bias)) scores = scores + bias->to(scores.scalar_type());
  if (given(key_bias)) {
    scores = scores + key_bias->to(scores.scalar_type()).unsqueeze(1).unsqueeze(1);
  }
  return scores;
}

}  // namespace

void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const OptionalTensor& bias, const OptionalTensor& key_bias) {
  const auto equal = [](const c10::SymInt& a, const c10::SymInt& b) { return a.sym_eq(b); };
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4,
              "altup::attention takes q [B, T, H, d], k and v [B, S, H, d], got ", q.sym_sizes(),
              ", ", k.sym_sizes(), " and ", v.sym_sizes());
  for (const int64_t i : {0, 2, 3}) {
    TORCH_SYM_CHECK(equal(q.sym_size(i), k.sym_size(i)), "altup::attention: q ", q.sym_sizes(),
                    " and k ", k.sym_sizes(), " must differ in their length only");
  }
  for (int64_t i = 0; i < 4; ++i) {
    TORCH_SYM_CHECK(equal(k.sym_size(i), v.sym_size(i)), "altup::attention: k ", k.sym_sizes(),
                    " and v ", v.sym_sizes(), " must have one shape");
  }
  TORCH_CHECK_TYPE(at::isFloatingType(q.scalar_type()) && q.scalar_type() == k.scalar_type() &&
                       q.scalar_type() == v.scalar_type(),
                   "altup::attention: q, k and v must be of one floating type, got ",
                   q.scalar_type(), ", ", k.scalar_type(), " and ", v.scalar_type());
  if (given(bias)) {
    TORCH_CHECK(bias->dim() == 4, "altup::attention: bias must be [1 or B, H, T, S], got ",
                bias->sym_sizes());
    const bool fits = (bias->sym_size(0) == 1 || bias->sym_size(0) == q.sym_size(0)) &&
                      bias->sym_size(1) == q.sym_size(2) && bias->sym_size(2) == q.sym_size(1) &&
                      bias->sym_size(3) == k.sym_size(1);
    TORCH_CHECK(fits, "altup::attention: bias ", bias->sym_sizes(),
                " must be [1 or B, H, T, S] with q ", q.sym_sizes(), " and k ", k.sym_sizes());
  }
  if (given(key_bias)) {
    TORCH_CHECK(key_bias->dim() == 2 && key_bias->sym_size(0) == k.sym_size(0) &&
                    key_bias->sym_size(1) == k.sym_size(1),
                "altup::attention: key_bias ", key_bias->sym_sizes(), " must be [B, S] with k ",
                k.sym_sizes());
  }
}

AttentionOutputs attention_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const OptionalTensor& bias, const OptionalTensor& key_bias) {
  check_attention(q, k, v, bias, key_bias);
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto scores = scores_of(q, k, bias, key_bias);
  const auto weights = at::softmax(scores, -1).to(q.scalar_type());
  const auto out = by_head(at::matmul(weights, by_head(v))).contiguous();  // [B, T, H, d]
  return {out, at::logsumexp(scores, {-1})};
}

AttentionGradients attention_backward_composed(const at::Tensor& dout, const at::Tensor& q,
                                               const at::Tensor& k, const at::Tensor& v,
                                               const OptionalTensor& bias,
                                               const OptionalTensor& key_bias,
                                               const at::Tensor& out, const at::Tensor& lse,
                                               bool bias_gradient) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto wide = at::toOpMathType(q.scalar_type());
  const auto d = by_head(dout.to(wide));
  const auto weights = (scores_of(q, k, bias, key_bias) - lse.unsqueeze(-1)).exp();
  const auto dot = (d * by_head(out.to(wide))).sum({-1}, /*keepdim=*/true);
  const auto dweights = at::matmul(d, by_head(v.to(wide)).transpose(2, 3));
  const auto dscores = weights * (dweights - dot);  // [B, H, T, S]
  const auto finish = [&](const at::Tensor& gradient) {
    return by_head(gradient).to(q.scalar_type()).contiguous();
  };
  auto dbias = at::empty({0}, q.options());
  if (bias_gradient) {
    dbias =
        (bias->size(0) == 1 ? dscores.sum({0}, /*keepdim=*/true) : dscores).to(bias->scalar_type());
  }
  return {finish(at::matmul(dscores, by_head(k.to(wide)))),
          finish(at::matmul(dscores.transpose(2, 3), by_head(q.to(wide)))),
          finish(at::matmul(weights.transpose(2, 3), d)), dbias};
}

AttentionOutputs dispatch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const OptionalTensor& bias, const OptionalTensor& key_bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::attention", "")
                             .typed<decltype(dispatch_attention)>();
  return op.call(q, k, v, bias, key_bias);
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

AttentionGradients dispatch_backward(const at::Tensor& dout, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v,
                                     const OptionalTensor& bias, const OptionalTensor& key_bias,
                                     const at::Tensor& out, const at::Tensor& lse,
                                     bool bias_gradient) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::attention_backward", "")
                             .typed<decltype(dispatch_backward)>();
  return op.call(dout, q, k, v, bias, key_bias, out, lse, bias_gradient);
}

AttentionOutputs meta(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const OptionalTensor& bias, const OptionalTensor& key_bias) {
  check_attention(q, k, v, bias, key_bias);
  return {at::empty_symint(q.sym_sizes(), q.options()),
          at::empty_symint({q.sym_size(0), q.sym_size(2), q.sym_size(1)},
                           q.options().dtype(at::toOpMathType(q.scalar_type())))};
}

AttentionGradients backward_meta(const at::Tensor&, const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v, const OptionalTensor& bias,
                                 const OptionalTensor&, const at::Tensor&, const at::Tensor&,
                                 bool bias_gradient) {
  const auto like = [](const at::Tensor& x) {
    return at::empty_symint(x.sym_sizes(), x.options());
  };
  return {like(q), like(k), like(v), bias_gradient ? like(*bias) : at::empty({0}, q.options())};
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, const OptionalTensor& bias,
                               const OptionalTensor& key_bias) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [out, lse] = dispatch_attention(q, k, v, bias, key_bias);
    const auto saved = [](const OptionalTensor& t) { return given(t) ? *t : at::Tensor(); };
    context->save_for_backward({q, k, v, saved(bias), saved(key_bias), out, lse});
    context->saved_data["bias_gradient"] = given(bias) && bias->requires_grad();
    context->mark_non_differentiable({lse});
    return {out, lse};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto s = context->get_saved_variables();
    const auto optional = [](const at::Tensor& t) {
      return t.defined() ? OptionalTensor(t) : std::nullopt;
    };
    const bool bias_gradient = context->saved_data["bias_gradient"].toBool();
    auto [dq, dk, dv, dbias] = dispatch_backward(grads[0], s[0], s[1], s[2], optional(s[3]),
                                                 optional(s[4]), s[5], s[6], bias_gradient);
    return {dq, dk, dv, bias_gradient ? dbias : at::Tensor(), at::Tensor()};
  }
};

AttentionOutputs autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const OptionalTensor& bias, const OptionalTensor& key_bias) {
  const auto out = Attention::apply(q, k, v, bias, key_bias);
  return {out[0], out[1]};
}

AttentionGradients backward_autograd(const at::Tensor& dout, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v,
                                     const OptionalTensor& bias, const OptionalTensor& key_bias,
                                     const at::Tensor& out, const at::Tensor& lse,
                                     bool bias_gradient) {
  const bool recorded = at::GradMode::is_enabled() && (dout.requires_grad() || q.requires_grad() ||
                                                       k.requires_grad() || v.requires_grad());
  TORCH_CHECK(!recorded, "altup::attention has no second derivative; use altup::reference");
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_backward(dout, q, k, v, bias, key_bias, out, lse, bias_gradient);
}

/// The products are done in autocast's type; the biases stay as they are.
AttentionOutputs autocast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const OptionalTensor& bias, const OptionalTensor& key_bias) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = q.device().type();
  const auto lower = [&](const at::Tensor& x) {
    return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), x, device);
  };
  return dispatch_attention(lower(q), lower(k), lower(v), bias, key_bias);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("attention", attention_composed);
  m.impl("attention_backward", attention_backward_composed);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("attention", meta);
  m.impl("attention_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("attention", autograd);
  m.impl("attention_backward", backward_autograd);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("attention", autocast);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("attention", autocast);
}

}  // namespace
}  // namespace altup::internal
