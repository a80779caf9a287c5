// altup::attention composed of ATen operators, a sequence at a time: what devices and types without a
// kernel run. The formulas are at the top of attention.cpp.
#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>

#include <cmath>
#include <limits>

#include "altup/ops/attention.h"

namespace altup::internal {

namespace {

/// [B, T, H, d] -> [B, H, T, d]
at::Tensor by_head(const at::Tensor& x) {
  return x.transpose(1, 2);
}

/// The terms of one sequence, as if it were all there is.
AttentionTerms terms_of(const AttentionTerms& terms, const AttentionSequence& sequence) {
  auto result = terms;
  result.query_offsets = result.key_offsets = std::nullopt;
  if (given(terms.key_bias)) {
    result.key_bias = terms.key_bias->narrow(1, sequence.first_key, sequence.keys);
  }
  return result;
}

/// Q K^T with the biases, in the type that sums are done in. [B, H, T, S]
at::Tensor scores_of(const at::Tensor& q, const at::Tensor& k, const AttentionTerms& terms) {
  auto scores =
      at::matmul(by_head(q), by_head(k).transpose(2, 3)).to(at::toOpMathType(q.scalar_type()));
  if (given(terms.relative_bias)) {
    scores =
        scores + spelled_out_bias(*terms.relative_bias, terms.zero_distance, q.size(1), k.size(1))
                     .to(scores.scalar_type());
  }
  if (given(terms.key_bias)) {
    scores = scores + terms.key_bias->to(scores.scalar_type()).unsqueeze(1).unsqueeze(1);
  }
  if (terms.causal) {
    const auto hidden = at::ones({q.size(1), k.size(1)}, scores.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return scores;
}

/// The dropout of a sequence's weights, times them.
at::Tensor dropped(const at::Tensor& weights, const AttentionTerms& terms,
                   const AttentionSequence& sequence, int64_t all_queries) {
  if (terms.dropout == 0.0) return weights;
  return weights * dropout_factors(weights.size(0), weights.size(1), sequence, all_queries,
                                   terms.dropout, terms.seed)
                       .to(weights.options());
}

AttentionOutputs composed_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                   const AttentionTerms& terms, const AttentionSequence& sequence,
                                   int64_t all_queries) {
  const auto scores = scores_of(q, k, terms);
  const auto weights = dropped(at::softmax(scores, -1), terms, sequence, all_queries);
  return {by_head(at::matmul(weights.to(q.scalar_type()), by_head(v))).contiguous(),
          at::logsumexp(scores, {-1})};
}

/// The gradient of a relative bias from that of the scores, summed along their diagonals. [H, L]
at::Tensor along_diagonals(const at::Tensor& dscores, const AttentionTerms& terms) {
  const auto indices = [&](int64_t count) {
    return at::arange(count, dscores.options().dtype(at::kLong));
  };
  const auto columns = indices(dscores.size(3)).unsqueeze(0) -
                       indices(dscores.size(2)).unsqueeze(1) + terms.zero_distance;  // [T, S]
  return at::zeros(terms.relative_bias->sizes(), dscores.options())
      .index_add(1, columns.flatten(), dscores.sum(0).flatten(1));
}

AttentionGradients composed_backward_sequence(const at::Tensor& dout, const at::Tensor& q,
                                              const at::Tensor& k, const at::Tensor& v,
                                              const AttentionTerms& terms, const at::Tensor& out,
                                              bool bias_gradient, const AttentionSequence& sequence,
                                              int64_t all_queries) {
  const auto wide = at::toOpMathType(q.scalar_type());
  const auto d = by_head(dout.to(wide));
  const auto weights = at::softmax(scores_of(q, k, terms), -1);
  const auto dot = (d * by_head(out.to(wide))).sum({-1}, /*keepdim=*/true);
  const auto dweights =
      dropped(at::matmul(d, by_head(v.to(wide)).transpose(2, 3)), terms, sequence, all_queries);
  const auto dscores = weights * (dweights - dot);  // [B, H, T, S]
  const auto used = dropped(weights, terms, sequence, all_queries);
  const auto finish = [&](const at::Tensor& gradient) {
    return by_head(gradient).to(q.scalar_type()).contiguous();
  };
  return {finish(at::matmul(dscores, by_head(k.to(wide)))),
          finish(at::matmul(dscores.transpose(2, 3), by_head(q.to(wide)))),
          finish(at::matmul(used.transpose(2, 3), d)),
          bias_gradient ? along_diagonals(dscores, terms) : at::empty({0}, q.options())};
}

}  // namespace

at::Tensor spelled_out_bias(const at::Tensor& relative_bias, int64_t zero_distance, int64_t queries,
                            int64_t keys) {
  if (queries == 0) return relative_bias.new_empty({relative_bias.size(0), 0, keys});
  // Row r of the windows belongs to query T - 1 - r.
  return relative_bias.narrow(1, zero_distance - (queries - 1), queries + keys - 1)
      .unfold(/*dimension=*/1, keys, /*step=*/1)
      .flip({1});
}

uint32_t dropout_threshold(double dropout) {
  return static_cast<uint32_t>(std::llround(dropout * (1 << 24)));
}

at::Tensor dropout_factors(int64_t batch, int64_t heads, const AttentionSequence& sequence,
                           int64_t all_queries, double dropout, int64_t seed) {
  // The 32-bit finaliser of MurmurHash3 (Appleby), in int64, whose products wrap around.
  constexpr int64_t kLow = 0xffffffff;
  const auto mix = [](at::Tensor x) {
    x = ((x ^ at::bitwise_right_shift(x, 16)) * 0x85ebca6b) & kLow;
    x = ((x ^ at::bitwise_right_shift(x, 13)) * 0xc2b2ae35) & kLow;
    return x ^ at::bitwise_right_shift(x, 16);
  };
  const auto seed_low = mix(at::scalar_tensor(seed & kLow, at::kLong));
  const int64_t seed_high = static_cast<int64_t>(static_cast<uint64_t>(seed) >> 32);
  const auto first_rows = at::arange(batch * heads, at::kLong).view({batch, heads, 1, 1});
  const auto queries = at::arange(sequence.queries, at::kLong).view({1, 1, -1, 1});
  const auto numbers = first_rows * all_queries + (sequence.first_query + queries);
  const auto rows = mix(mix(((numbers & kLow) + seed_low) & kLow) ^
                        at::bitwise_right_shift(numbers, 32) ^ seed_high);  // [B, H, T, 1]
  const auto keys = at::arange(sequence.keys, at::kLong).view({1, 1, 1, -1}) * 0x9e3779b1;
  const auto draws = at::bitwise_right_shift(mix(((keys & kLow) + rows) & kLow), 8);
  return (draws >= static_cast<int64_t>(dropout_threshold(dropout))).to(at::kFloat) *
         (1.0 / (1.0 - dropout));
}

AttentionOutputs attention_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const AttentionTerms& terms) {
  check_attention(q, k, v, terms);
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  std::vector<at::Tensor> outs;
  std::vector<at::Tensor> sums;
  for (const auto& s : attention_sequences(q, k, terms)) {
    auto [out, lse] =
        composed_sequence(q.narrow(1, s.first_query, s.queries), k.narrow(1, s.first_key, s.keys),
                          v.narrow(1, s.first_key, s.keys), terms_of(terms, s), s, q.size(1));
    outs.push_back(out);
    sums.push_back(lse);
  }
  return {at::cat(outs, 1), at::cat(sums, 2)};
}

AttentionGradients attention_backward_composed(const at::Tensor& dout, const at::Tensor& q,
                                               const at::Tensor& k, const at::Tensor& v,
                                               const AttentionTerms& terms, const at::Tensor& out,
                                               const at::Tensor& lse, bool bias_gradient) {
  check_attention_backward(dout, q, k, v, terms, out, lse, bias_gradient);
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  std::vector<at::Tensor> dqs, dks, dvs;
  at::Tensor dbias;
  for (const auto& s : attention_sequences(q, k, terms)) {
    const auto of_queries = [&](const at::Tensor& x) {
      return x.narrow(1, s.first_query, s.queries);
    };
    auto [dq, dk, dv, db] = composed_backward_sequence(
        of_queries(dout), of_queries(q), k.narrow(1, s.first_key, s.keys),
        v.narrow(1, s.first_key, s.keys), terms_of(terms, s), of_queries(out), bias_gradient, s,
        q.size(1));
    dqs.push_back(dq);
    dks.push_back(dk);
    dvs.push_back(dv);
    dbias = dbias.defined() ? dbias + db : db;
  }
  if (bias_gradient) dbias = dbias.to(terms.relative_bias->scalar_type());
  return {at::cat(dqs, 1), at::cat(dks, 1), at::cat(dvs, 1), dbias};
}

}  // namespace altup::internal
