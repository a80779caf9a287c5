// See reference.h. The sums are done in fp32 for narrower activations, as in the kernels; matrix
// products would be lowered by autocast, so autocast is kept out. No size enters as a number
// (flatten, view_as), so that a traced graph holds for every batch and length.
#include "altup/ops/reference.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>

#include "altup/ops/altup_update.h"
#include "altup/ops/attention.h"
#include "altup/ops/cross_entropy.h"
#include "altup/ops/decoding.h"
#include "altup/ops/gated_gelu.h"
#include "altup/ops/rms_norm.h"
#include "altup/ops/sequence_update.h"

namespace altup::reference {
namespace {

using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;

/// [K] → [K, 1, 1, 1], to scale the blocks of a state.
at::Tensor per_block(const at::Tensor& values) {
  return values.view({-1, 1, 1, 1});
}

/// Σ_j coefs_ij x^j: [K, K] times [K, B, T, d] → [K, B, T, d].
at::Tensor mix_blocks(const at::Tensor& coefs, const at::Tensor& x) {
  return at::mm(coefs, x.flatten(1)).view_as(x);
}

// --- update with coefficients of each token, p [B, T, K, K] and g [B, T, K]

/// [K, B, T, d] -> [B, T, K, d], a view.
at::Tensor blocks_of_tokens(const at::Tensor& state) {
  return state.permute({1, 2, 0, 3});
}

at::Tensor update_tokens(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& p,
                         const at::Tensor& g, int64_t active_block) {
  const auto gathered = p - g.unsqueeze(3) * p.select(2, active_block).unsqueeze(2);
  const auto mixed = at::matmul(gathered, blocks_of_tokens(x));  // [B, T, K, d]
  return at::addcmul(mixed, g.unsqueeze(3), x_tilde.unsqueeze(2)).permute({2, 0, 1, 3});
}

/// As the other update_backward below, in the types of the sums.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> update_tokens_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& p,
    const at::Tensor& g, int64_t active_block) {
  const auto dy = blocks_of_tokens(grad);       // [B, T, K, d]
  const auto state = blocks_of_tokens(x);       // [B, T, K, d]
  const auto e = (g.unsqueeze(3) * dy).sum(2);  // [B, T, d]
  const auto is_active = at::eye(x.size(0), g.options()).select(0, active_block).unsqueeze(1);
  const auto d_predicted = dy - is_active * e.unsqueeze(2);             // [B, T, K, d]
  const auto d_state = at::matmul(p.transpose(2, 3), d_predicted);      // [B, T, K, d]
  const auto d_p = at::matmul(d_predicted, state.transpose(2, 3));      // [B, T, K, K]
  const auto active = at::matmul(p.narrow(2, active_block, 1), state);  // [B, T, 1, d]
  const auto d_g = (dy * (x_tilde.unsqueeze(2) - active)).sum(3);       // [B, T, K]
  return {d_state.permute({2, 0, 1, 3}), e, d_p, d_g};
}

}  // namespace

at::Tensor update(const at::Tensor& x, const at::Tensor& x_tilde,
                  const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                  int64_t active_block) {
  internal::check_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  const NoAutocast guard(c10::autocast_dispatch_keyset);
  const auto type = internal::update_type(x, x_tilde);
  const auto sum_type = at::toOpMathType(type);

  const auto p = prediction_coefs.to(sum_type);  // [K, K]
  const auto g = correction_coefs.to(sum_type);  // [K]
  if (internal::has_token_coefs(p)) {
    return update_tokens(x.to(sum_type), x_tilde.to(sum_type), p, g, active_block)
        .to(type)
        .contiguous();
  }

  // x̂^i + g_i (x̃ − x̂^a), with the terms of each x^j gathered: exact where Algorithm 1 only moves
  // blocks.
  const auto gathered = p - g.unsqueeze(1) * p.select(0, active_block);  // [K, K]
  const auto corrected = at::addcmul(mix_blocks(gathered, x.to(sum_type)), per_block(g),
                                     x_tilde.to(sum_type));  // [K, B, T, d]
  return corrected.to(type).contiguous();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> update_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
    const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs, int64_t active_block) {
  internal::check_update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs,
                                  active_block);
  const NoAutocast guard(c10::autocast_dispatch_keyset);
  const auto sum_type = at::toOpMathType(internal::update_type(x, x_tilde));
  const auto dy = grad.to(sum_type);             // [K, B, T, d]
  const auto state = x.to(sum_type);             // [K, B, T, d]
  const auto p = prediction_coefs.to(sum_type);  // [K, K]
  const auto g = correction_coefs.to(sum_type);  // [K]
  const auto as_given = [&](const at::Tensor& dx, const at::Tensor& dx_tilde, const at::Tensor& dp,
                            const at::Tensor& dg) {
    const auto as = [](const at::Tensor& gradient, const at::Tensor& of) {
      return gradient.to(of.scalar_type()).contiguous();
    };
    return std::tuple{as(dx, x), as(dx_tilde, x_tilde), as(dp, prediction_coefs),
                      as(dg, correction_coefs)};
  };
  if (internal::has_token_coefs(p)) {
    const auto [dx, dx_tilde, dp, dg] =
        update_tokens_backward(dy, state, x_tilde.to(sum_type), p, g, active_block);
    return as_given(dx, dx_tilde, dp, dg);
  }

  // e = Σ_i g_i dy^i is what reaches the innovation x̃ − x̂^a, and so x̃ (+) and x̂^a (−).
  const auto e = (per_block(g) * dy).sum(0);  // [B, T, d]
  const auto is_active = at::eye(x.size(0), g.options()).select(0, active_block);
  const auto d_predicted = dy - per_block(is_active) * e;                 // [K, B, T, d]
  const auto d_state = mix_blocks(p.t(), d_predicted);                    // [K, B, T, d]
  const auto d_p = at::mm(d_predicted.flatten(1), state.flatten(1).t());  // [K, K]
  const auto predicted_active =
      at::mv(state.flatten(1).t(), p.select(0, active_block)).view_as(x_tilde);      // [B, T, d]
  const auto d_g = (dy * (x_tilde.to(sum_type) - predicted_active)).sum({1, 2, 3});  // [K]

  return as_given(d_state, e, d_p, d_g);
}

at::Tensor sequence_update(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                           const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                           const at::Tensor& correction_coefs) {
  internal::check_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  const auto type = c10::promoteTypes(x.scalar_type(), x_tilde.scalar_type());
  const auto sum_type = at::toOpMathType(type);
  const auto rows = x.to(sum_type);  // [N, d]
  const auto a1 = prediction_coefs.to(sum_type).select(0, 0);
  const auto a2 = prediction_coefs.to(sum_type).select(0, 1);
  const auto b = correction_coefs.to(sum_type).select(0, 0);
  // Of each anchor, in two parts: added to a1 x in turn they are exact where x̃ replaces x.
  const auto from_x = rows.index_select(0, places) * (a2 - b * (a1 + a2));  // [M, d]
  const auto from_layer = x_tilde.to(sum_type) * b;                         // [M, d]
  const auto y = rows * a1 + from_x.index_select(0, anchors) + from_layer.index_select(0, anchors);
  return y.to(type).contiguous();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> sequence_update_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
    const at::Tensor& places, const at::Tensor& anchors, const at::Tensor& prediction_coefs,
    const at::Tensor& correction_coefs) {
  internal::check_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  TORCH_CHECK(grad.sizes() == x.sizes(), "altup::sequence_update_backward: grad ", grad.sizes(),
              " must have the shape of x ", x.sizes());
  const auto sum_type = at::toOpMathType(c10::promoteTypes(x.scalar_type(), x_tilde.scalar_type()));
  const auto dy = grad.to(sum_type);              // [N, d]
  const auto rows = x.to(sum_type);               // [N, d]
  const auto own = rows.index_select(0, places);  // [M, d]
  const auto a1 = prediction_coefs.to(sum_type).select(0, 0);
  const auto a2 = prediction_coefs.to(sum_type).select(0, 1);
  const auto b = correction_coefs.to(sum_type).select(0, 0);
  const auto s = at::zeros(own.sizes(), dy.options()).index_add(0, anchors, dy);  // [M, d]
  const auto dx = (dy * a1).index_add(0, places, s * (a2 - b * (a1 + a2)));
  const auto of_anchors = (s * own).sum();
  const auto d_a1 = (dy * rows).sum() - b * of_anchors;
  const auto d_a2 = (1 - b) * of_anchors;
  const auto d_b = (s * (x_tilde.to(sum_type) - own * (a1 + a2))).sum();
  return {dx.to(x.scalar_type()), (s * b).to(x_tilde.scalar_type()),
          at::stack({d_a1, d_a2}).to(prediction_coefs.scalar_type()),
          d_b.unsqueeze(0).to(correction_coefs.scalar_type())};
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  internal::check_rms_norm(x, {}, weight);
  const auto wide = x.to(at::toOpMathType(x.scalar_type()));
  const auto scale = at::rsqrt(wide.square().mean({-1}, /*keepdim=*/true) + epsilon);
  return (wide * scale * weight.to(wide.scalar_type())).to(x.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x, const at::Tensor& delta,
                                                const at::Tensor& weight, double epsilon) {
  internal::check_rms_norm(x, delta, weight);
  const auto sum = x + delta.to(x.scalar_type());
  return {sum, rms_norm(sum, weight, epsilon).to(delta.scalar_type())};
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options) {
  const auto terms = internal::terms_of(options);
  internal::check_attention(q, k, v, terms);
  std::vector<at::Tensor> outs;
  for (const auto& s : internal::attention_sequences(q, k, terms)) {
    const auto queries = q.narrow(1, s.first_query, s.queries).transpose(1, 2);  // [B, H, T, d]
    const auto keys = k.narrow(1, s.first_key, s.keys).transpose(1, 2);          // [B, H, S, d]
    const auto values = v.narrow(1, s.first_key, s.keys).transpose(1, 2);
    auto scores = at::matmul(queries, keys.transpose(2, 3));  // [B, H, T, S]
    if (options.relative_bias.defined()) {
      scores = scores + internal::spelled_out_bias(options.relative_bias, options.zero_distance,
                                                   s.queries, s.keys);
    }
    if (options.key_bias.defined()) {
      const auto bias = options.key_bias.narrow(1, s.first_key, s.keys);
      scores = scores + bias.unsqueeze(1).unsqueeze(1);
    }
    if (options.causal) {
      const auto visible = at::ones({s.queries, s.keys}, scores.options().dtype(at::kBool)).tril();
      scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
    }
    auto weights = at::softmax(scores, -1);
    if (options.dropout > 0) {
      weights = weights * internal::dropout_factors(q.size(0), q.size(2), s, q.size(1),
                                                    options.dropout, options.seed)
                              .to(weights.options());
    }
    outs.push_back(at::matmul(weights.to(v.scalar_type()), values).transpose(1, 2));
  }
  return at::cat(outs, 1).contiguous();
}

at::Tensor gated_gelu(const at::Tensor& gate, const at::Tensor& value) {
  internal::check_gated_gelu(gate, value);
  return at::gelu(gate, "tanh") * value;
}

LinearCrossEntropy linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                        const at::Tensor& targets, const at::Tensor& token_weights,
                                        const CrossEntropyOptions& options) {
  internal::check_linear_cross_entropy(x, weight, targets, token_weights, options.scale,
                                       options.label_smoothing);
  // Under autocast the product is lowered by itself.
  const auto product = at::linear(x, weight.to(x.scalar_type()));
  const auto sum_type = product.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto logits = product.to(sum_type);         // [N, V]
  const auto weights = token_weights.to(sum_type);  // [N]
  const auto log_z = at::logsumexp(logits, {-1});   // [N]
  const auto nll = log_z - logits.gather(1, targets.unsqueeze(1)).squeeze(1);
  auto loss = (1.0 - options.label_smoothing) * nll + options.z_loss * log_z.square();
  if (options.label_smoothing > 0) {
    loss = loss + options.label_smoothing * (log_z - logits.mean(-1));
  }
  return {at::dot(loss, weights), at::dot(nll, weights).detach(), logits.argmax(-1)};
}

at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
  internal::check_linear_few_rows(x, weight, scale);
  const NoAutocast guard(c10::autocast_dispatch_keyset);
  const auto type = at::toOpMathType(x.scalar_type());
  const auto y = at::linear(x.to(type), weight.to(type));
  return scale.defined() ? y * scale.to(type) : y;
}

std::vector<at::Tensor> linears_few_rows(const at::Tensor& x, at::TensorList weights,
                                         at::TensorList scales) {
  internal::check_linears_few_rows(x, weights, scales);
  std::vector<at::Tensor> y;
  for (size_t i = 0; i < weights.size(); ++i) {
    y.push_back(linear_few_rows(x, weights[i], scales.empty() ? at::Tensor() : scales[i]));
  }
  return y;
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                            int64_t length, const at::Tensor& sources, const at::Tensor& bias,
                            const at::Tensor& key_bias) {
  internal::check_cached_attention(q, keys, values, length, sources, bias, key_bias);
  const NoAutocast guard(c10::autocast_dispatch_keyset);
  const auto type = at::toOpMathType(q.scalar_type());
  const auto rows = sources.dim() == 1 ? sources.unsqueeze(1).expand({-1, length})
                                       : sources.narrow(1, 0, length);  // [R, S]
  const auto tokens = at::arange(length, sources.options());            // [S]
  const auto look_up = [&](const at::Tensor& cache) {                   // -> [R, H, S, d]
    return cache.transpose(1, 2).index({rows, tokens}).transpose(1, 2).to(type);
  };
  auto scores = at::matmul(q.to(type).transpose(1, 2), look_up(keys).transpose(2, 3));
  if (bias.defined()) scores = scores + bias.to(type);  // [R, H, T, S]
  if (key_bias.defined()) {
    scores = scores + key_bias.to(type).index({rows, tokens}).unsqueeze(1).unsqueeze(1);
  }
  const auto out = at::matmul(at::softmax(scores, -1), look_up(values));  // [R, H, T, d]
  return out.transpose(1, 2).flatten(2).contiguous();
}

std::tuple<at::Tensor, at::Tensor> likeliest(const at::Tensor& scores, int64_t count, int64_t valid,
                                             bool normalise) {
  internal::check_likeliest(scores, count, valid);
  const auto all = normalise ? scores.log_softmax(-1) : scores;  // [R, V]
  // A stable sort: topk says nothing about the order of equal scores.
  auto [values, ids] = scores.narrow(1, 0, valid).sort(/*stable=*/true, -1, /*descending=*/true);
  ids = ids.narrow(1, 0, count).contiguous();
  return {all.gather(1, ids), ids};
}

}  // namespace altup::reference
