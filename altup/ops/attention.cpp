// altup::attention: what is the same on every device. The CPU kernels are in attention_cpu.cpp, what
// runs without one in attention_composed.cpp. For one head of one sequence, with Q [T, d], K and
// V [S, d] and biases b [T, S],
//
//   forward    P  = softmax(Q K^T + b)               O  = (M ⊙ P) V        M: dropout, 0 or 1 / (1 - p)
//              lse = log Σ_S exp(Q K^T + b)
//   backward   dV = (M ⊙ P)^T dO     dP = M ⊙ (dO V^T)
//              dS = P ⊙ (dP − rowsum(dO ⊙ O))         since Σ_S P dP = Σ_d dO O
//              dQ = dS K            dK = dS^T Q       db = dS
//
// P is not kept for the backward pass but made again from lse (Dao et al. 2022): it is the largest
// tensor of a layer. The relative bias has a gradient, which PyTorch's fused attention does not give.
#include "altup/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "altup/ops/checks.h"
#include "altup/ops/registration.h"

namespace altup::internal {

namespace {

void check_offsets_shape(const OptionalTensor& offsets, const at::Tensor& q, const char* name) {
  TORCH_CHECK(offsets->dim() == 1 && offsets->scalar_type() == at::kLong &&
                  (offsets->is_cpu() || offsets->is_meta()),
              "altup::attention: ", name, " must be int64 [sequences + 1] on the CPU, got ",
              offsets->scalar_type(), " ", offsets->sym_sizes());
  TORCH_SYM_CHECK(q.sym_size(0).sym_eq(1), "altup::attention: offsets divide one row of tokens; q ",
                  q.sym_sizes(), " has several");
}

}  // namespace

void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionTerms& terms) {
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
  const auto or_none = [](const OptionalTensor& bias) { return bias.value_or(at::Tensor()); };
  check_one_device("altup::attention",
                   {q, k, v, or_none(terms.relative_bias), or_none(terms.key_bias)});
  for (const auto* bias : {&terms.relative_bias, &terms.key_bias}) {
    TORCH_CHECK_TYPE(!given(*bias) || at::isFloatingType((*bias)->scalar_type()),
                     "altup::attention: biases are added to the scores and must be of a floating "
                     "type, got ",
                     (*bias)->scalar_type());
  }
  if (given(terms.relative_bias)) {
    TORCH_CHECK(
        terms.relative_bias->dim() == 2 && terms.relative_bias->sym_size(0) == q.sym_size(2),
        "altup::attention: relative_bias ", terms.relative_bias->sym_sizes(),
        " must be [H, distances] with q ", q.sym_sizes());
  }
  if (given(terms.key_bias)) {
    TORCH_CHECK(terms.key_bias->dim() == 2 && terms.key_bias->sym_size(0) == k.sym_size(0) &&
                    terms.key_bias->sym_size(1) == k.sym_size(1),
                "altup::attention: key_bias ", terms.key_bias->sym_sizes(),
                " must be [B, S] with k ", k.sym_sizes());
  }
  TORCH_CHECK(given(terms.query_offsets) == given(terms.key_offsets),
              "altup::attention: query_offsets and key_offsets are given together or not at all");
  if (given(terms.query_offsets)) {
    check_offsets_shape(terms.query_offsets, q, "query_offsets");
    check_offsets_shape(terms.key_offsets, q, "key_offsets");
    TORCH_CHECK(terms.query_offsets->sym_sizes() == terms.key_offsets->sym_sizes(),
                "altup::attention: as many sequences of queries as of keys, got offsets ",
                terms.query_offsets->sym_sizes(), " and ", terms.key_offsets->sym_sizes());
  }
  TORCH_CHECK(terms.dropout >= 0.0 && terms.dropout < 1.0,
              "altup::attention: dropout must be in [0, 1), got ", terms.dropout);
}

void check_attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const AttentionTerms& terms,
                              const at::Tensor& out, const at::Tensor& lse, bool bias_gradient) {
  constexpr const char* kName = "altup::attention_backward";
  check_attention(q, k, v, terms);
  check_one_device(kName, {q, dout, out, lse});
  check_sizes(kName, "dout", dout, q.sym_sizes());
  check_sizes(kName, "out", out, q.sym_sizes());
  const c10::SymInt sums[] = {q.sym_size(0), q.sym_size(2), q.sym_size(1)};
  check_sizes(kName, "lse", lse, sums);
  TORCH_CHECK(!bias_gradient || given(terms.relative_bias),
              "altup::attention_backward: bias_gradient without a relative_bias");
}

std::vector<AttentionSequence> attention_sequences(const at::Tensor& q, const at::Tensor& k,
                                                   const AttentionTerms& terms) {
  std::vector<AttentionSequence> sequences;
  if (!given(terms.query_offsets)) {
    sequences.push_back({0, q.size(1), 0, k.size(1)});
  } else {
    const auto queries = terms.query_offsets->contiguous();
    const auto keys = terms.key_offsets->contiguous();
    const int64_t* q_at = queries.const_data_ptr<int64_t>();
    const int64_t* k_at = keys.const_data_ptr<int64_t>();
    const int64_t count = queries.size(0) - 1;
    TORCH_CHECK(count >= 1 && q_at[0] == 0 && k_at[0] == 0 && q_at[count] == q.size(1) &&
                    k_at[count] == k.size(1),
                "altup::attention: offsets must begin with 0 and end with the number of tokens, ",
                q.size(1), " and ", k.size(1));
    for (int64_t i = 0; i < count; ++i) {
      sequences.push_back({q_at[i], q_at[i + 1] - q_at[i], k_at[i], k_at[i + 1] - k_at[i]});
      TORCH_CHECK(sequences.back().queries >= 0 && sequences.back().keys >= 0,
                  "altup::attention: offsets must not decrease, as they do at sequence ", i);
    }
  }
  for (const auto& sequence : sequences) {
    if (q.numel() == 0) break;
    TORCH_CHECK(sequence.queries == 0 || sequence.keys > 0,
                "altup::attention: queries without a key to attend to");
    TORCH_CHECK(!given(terms.relative_bias) ||
                    (terms.zero_distance >= sequence.queries - 1 &&
                     terms.zero_distance <= terms.relative_bias->size(1) - sequence.keys),
                "altup::attention: relative_bias ",
                given(terms.relative_bias) ? terms.relative_bias->sizes() : at::IntArrayRef(),
                " with distance 0 in column ", terms.zero_distance, " must reach from ",
                -(sequence.queries - 1), " to ", sequence.keys - 1);
  }
  return sequences;
}

AttentionOutputs dispatch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionTerms& t) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::attention", "")
                             .typed<decltype(from_schema<attention_composed>)>();
  return op.call(q, k, v, t.relative_bias, t.zero_distance, t.causal, t.key_bias, t.query_offsets,
                 t.key_offsets, t.dropout, t.seed);
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

AttentionGradients dispatch_backward(const at::Tensor& dout, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v,
                                     const AttentionTerms& t, const at::Tensor& out,
                                     const at::Tensor& lse, bool bias_gradient) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::attention_backward", "")
                             .typed<decltype(backward_from_schema<attention_backward_composed>)>();
  return op.call(dout, q, k, v, t.relative_bias, t.zero_distance, t.causal, t.key_bias,
                 t.query_offsets, t.key_offsets, t.dropout, t.seed, out, lse, bias_gradient);
}

AttentionOutputs meta(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionTerms& terms) {
  check_attention(q, k, v, terms);
  return {at::empty_symint(q.sym_sizes(), q.options()),
          at::empty_symint({q.sym_size(0), q.sym_size(2), q.sym_size(1)},
                           q.options().dtype(at::toOpMathType(q.scalar_type())))};
}

AttentionGradients backward_meta(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v, const AttentionTerms& terms,
                                 const at::Tensor& out, const at::Tensor& lse, bool bias_gradient) {
  check_attention_backward(dout, q, k, v, terms, out, lse, bias_gradient);
  const auto like = [](const at::Tensor& x) {
    return at::empty_symint(x.sym_sizes(), x.options());
  };
  return {like(q), like(k), like(v),
          bias_gradient ? like(*terms.relative_bias) : at::empty({0}, q.options())};
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, const OptionalTensor& relative_bias,
                               const AttentionTerms& terms) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [out, lse] = dispatch_attention(q, k, v, terms);
    const auto saved = [](const OptionalTensor& t) { return given(t) ? *t : at::Tensor(); };
    context->save_for_backward({q, k, v, saved(relative_bias), saved(terms.key_bias),
                                saved(terms.query_offsets), saved(terms.key_offsets), out, lse});
    auto& data = context->saved_data;
    data["zero_distance"] = terms.zero_distance;
    data["causal"] = terms.causal;
    data["dropout"] = terms.dropout;
    data["seed"] = terms.seed;
    data["bias_gradient"] = given(relative_bias) && relative_bias->requires_grad();
    context->mark_non_differentiable({lse});
    context->set_materialize_grads(false);  // no zeros for lse
    return {out, lse};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    if (!grads[0].defined()) return variable_list(5);
    const auto s = context->get_saved_variables();
    const auto optional = [](const at::Tensor& t) {
      return t.defined() ? OptionalTensor(t) : std::nullopt;
    };
    auto& data = context->saved_data;
    const AttentionTerms terms{optional(s[3]),
                               data["zero_distance"].toInt(),
                               data["causal"].toBool(),
                               optional(s[4]),
                               optional(s[5]),
                               optional(s[6]),
                               data["dropout"].toDouble(),
                               data["seed"].toInt()};
    const bool bias_gradient = data["bias_gradient"].toBool();
    auto [dq, dk, dv, dbias] =
        dispatch_backward(grads[0], s[0], s[1], s[2], terms, s[7], s[8], bias_gradient);
    return {dq, dk, dv, bias_gradient ? dbias : at::Tensor(), at::Tensor()};
  }
};

AttentionOutputs autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttentionTerms& terms) {
  const auto out = Attention::apply(q, k, v, terms.relative_bias, terms);
  return {out[0], out[1]};
}

AttentionGradients backward_autograd(const at::Tensor& dout, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v,
                                     const AttentionTerms& terms, const at::Tensor& out,
                                     const at::Tensor& lse, bool bias_gradient) {
  const bool bias_recorded = given(terms.relative_bias) && terms.relative_bias->requires_grad();
  const bool recorded =
      at::GradMode::is_enabled() && (dout.requires_grad() || q.requires_grad() ||
                                     k.requires_grad() || v.requires_grad() || bias_recorded);
  TORCH_CHECK(!recorded, "altup::attention has no second derivative; use altup::reference");
  const at::AutoDispatchBelowADInplaceOrView guard;
  return dispatch_backward(dout, q, k, v, terms, out, lse, bias_gradient);
}

/// The products are done in autocast's type; the biases stay as they are.
AttentionOutputs autocast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttentionTerms& terms) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const auto device = q.device().type();
  const auto lower = [&](const at::Tensor& x) {
    return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), x, device);
  };
  return dispatch_attention(lower(q), lower(k), lower(v), terms);
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<attention_composed>);
  m.impl("attention_backward", backward_from_schema<attention_backward_composed>);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<meta>);
  m.impl("attention_backward", backward_from_schema<backward_meta>);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<autograd>);
  m.impl("attention_backward", backward_from_schema<backward_autograd>);
}
TORCH_LIBRARY_IMPL(altup, AutocastCPU, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<autocast>);
}
TORCH_LIBRARY_IMPL(altup, AutocastCUDA, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<autocast>);
}

}  // namespace
}  // namespace altup::internal
