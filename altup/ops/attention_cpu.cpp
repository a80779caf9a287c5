// altup::attention on CPU: a kernel call for every head of every sequence. Heads are read and written
// where they are in [B, T, H, d]. The gradient of the relative bias is kept head by head of every
// sequence and summed in their order, so that it does not depend on the number of threads.
#include "altup/ops/attention.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>

#include "altup/ops/attention_kernels.h"
#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/in_turn.h"
#include "altup/ops/registration.h"

namespace altup::internal {
namespace {

bool has_kernel(const at::Tensor& q, const at::Tensor& k) {
  return (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16) && q.numel() > 0 &&
         k.numel() > 0;
}

template <typename Scalar>
AttentionKernels<Scalar> kernels() {
#if defined(__x86_64__)
  if (std::is_same_v<Scalar, BFloat16Bits> && vector_width_of_this_cpu() == VectorWidth::k64 &&
      __builtin_cpu_supports("avx512bf16")) {
    return vector64_bf16::attention_kernels<Scalar>();
  }
#endif
  return ALTUP_OF_THIS_CPU(attention_kernels<Scalar>());
}

at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.stride(3) == 1 ? x : x.contiguous();
}

/// Head h of example b from row `first` on, of x [B, T, H, d].
template <typename Scalar>
HeadRows<const Scalar> head_rows(const at::Tensor& x, int64_t b, int64_t h, int64_t first) {
  return {pointer<Scalar>(x) + b * x.stride(0) + first * x.stride(1) + h * x.stride(2),
          x.stride(1)};
}
template <typename Scalar>
HeadRows<Scalar> mutable_head_rows(const at::Tensor& x, int64_t b, int64_t h, int64_t first) {
  return {mutable_pointer<Scalar>(x) + b * x.stride(0) + first * x.stride(1) + h * x.stride(2),
          x.stride(1)};
}

/// What the heads of all sequences have in common, in the form that the kernels read.
template <typename Scalar>
class Heads {
 public:
  Heads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionTerms& terms)
      : q_(with_dense_rows(q)),
        k_(with_dense_rows(k)),
        v_(with_dense_rows(v)),
        terms_(terms),
        sequences_(attention_sequences(q, k, terms)) {
    if (given(terms.relative_bias)) bias_ = terms.relative_bias->to(at::kFloat).contiguous();
    if (given(terms.key_bias)) key_bias_ = terms.key_bias->to(at::kFloat).contiguous();
    for (const auto& sequence : sequences_) longest_ = std::max(longest_, sequence.keys);
  }

  /// A head of every sequence of every example: those of one head follow each other, so that
  /// threads get equal shares of long and short sequences.
  int64_t count() const { return q_.size(2) * rows(); }
  /// Sequences of all examples.
  int64_t rows() const { return q_.size(0) * static_cast<int64_t>(sequences_.size()); }
  int64_t longest() const { return longest_; }

  AttentionHead<Scalar> head(int64_t i, const at::Tensor& out, const at::Tensor& lse) const {
    const Place at(*this, i);
    const auto& s = at.sequence;
    AttentionHead<Scalar> head;
    head.queries = s.queries;
    head.keys = s.keys;
    head.width = q_.size(3);
    head.q = head_rows<Scalar>(q_, at.b, at.h, s.first_query);
    head.k = head_rows<Scalar>(k_, at.b, at.h, s.first_key);
    head.v = head_rows<Scalar>(v_, at.b, at.h, s.first_key);
    if (bias_.defined()) {
      head.relative_bias = pointer<float>(bias_) + at.h * bias_.size(1) + terms_.zero_distance;
    }
    head.causal = terms_.causal;
    if (key_bias_.defined()) {
      head.key_bias = pointer<float>(key_bias_) + at.b * key_bias_.size(1) + s.first_key;
    }
    const int64_t row = (at.b * q_.size(2) + at.h) * q_.size(1) + s.first_query;
    head.dropout = {dropout_threshold(terms_.dropout),
                    static_cast<float>(1.0 / (1.0 - terms_.dropout)),
                    static_cast<uint64_t>(terms_.seed), row};
    head.out = mutable_head_rows<Scalar>(out, at.b, at.h, s.first_query);
    head.lse = mutable_pointer<float>(lse) + row;
    return head;
  }
  void set_gradients(AttentionHead<Scalar>& head, int64_t i, const at::Tensor& dout,
                     const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv) const {
    const Place at(*this, i);
    head.dout = head_rows<Scalar>(dout, at.b, at.h, at.sequence.first_query);
    head.dq = mutable_head_rows<Scalar>(dq, at.b, at.h, at.sequence.first_query);
    head.dk = mutable_head_rows<Scalar>(dk, at.b, at.h, at.sequence.first_key);
    head.dv = mutable_head_rows<Scalar>(dv, at.b, at.h, at.sequence.first_key);
  }

 private:
  struct Place {
    int64_t h, b;
    const AttentionSequence& sequence;
    Place(const Heads& heads, int64_t i)
        : h(i / heads.rows()),
          b(i % heads.rows() / static_cast<int64_t>(heads.sequences_.size())),
          sequence(heads.sequences_[i % heads.sequences_.size()]) {}
  };

  at::Tensor q_, k_, v_;
  at::Tensor bias_;      // [H, L] fp32
  at::Tensor key_bias_;  // [B, S] fp32
  const AttentionTerms& terms_;
  std::vector<AttentionSequence> sequences_;
  int64_t longest_ = 0;
};

/// Calls kernel(head) for every head that `prepare(i)` gives, on all threads, with scratch memory.
template <typename Scalar, typename Prepare>
void run(const Heads<Scalar>& heads, int64_t width,
         typename AttentionKernels<Scalar>::Kernel kernel, const Prepare& prepare) {
  const int64_t bytes = kernels<Scalar>().scratch_bytes(heads.longest(), width);
  in_turn(heads.count(), 1, heads.count(), [&](const auto& next) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto scratch = at::empty({bytes}, at::kByte);
    for (Piece piece{}; next(piece);) {
      for (int64_t i = piece.begin; i < piece.end; ++i) {
        AttentionHead<Scalar> head = prepare(i);
        head.scratch = reinterpret_cast<std::byte*>(scratch.mutable_data_ptr<uint8_t>());
        kernel(head);
      }
    }
  });
}

template <typename Scalar>
AttentionOutputs forward_as(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionTerms& terms) {
  const Heads<Scalar> heads(q, k, v, terms);
  const auto out = at::empty(q.sizes(), q.options());
  const auto lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat));
  run<Scalar>(heads, q.size(3), kernels<Scalar>().forward,
              [&](int64_t i) { return heads.head(i, out, lse); });
  return {out, lse};
}

template <typename Scalar>
AttentionGradients backward_as(const at::Tensor& dout_given, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v,
                               const AttentionTerms& terms, const at::Tensor& out,
                               const at::Tensor& lse_given, bool bias_gradient) {
  const Heads<Scalar> heads(q, k, v, terms);
  const auto lse = lse_given.contiguous();
  const auto dout = with_dense_rows(dout_given);
  const auto dq = at::empty(q.sizes(), q.options());
  const auto dk = at::empty(k.sizes(), k.options());
  const auto dv = at::empty(v.sizes(), v.options());
  at::Tensor dbias = at::empty({0}, q.options());
  if (bias_gradient) {
    dbias = at::zeros({q.size(2), heads.rows(), terms.relative_bias->size(1)},
                      q.options().dtype(at::kFloat));
  }
  run<Scalar>(heads, q.size(3), kernels<Scalar>().backward, [&](int64_t i) {
    auto head = heads.head(i, out, lse);
    heads.set_gradients(head, i, dout, dq, dk, dv);
    if (bias_gradient) {
      head.drelative_bias = mutable_pointer<float>(dbias) + i * dbias.size(2) + terms.zero_distance;
    }
    return head;
  });
  if (bias_gradient) dbias = dbias.sum(1).to(terms.relative_bias->scalar_type());
  return {dq, dk, dv, dbias};
}

AttentionOutputs attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionTerms& terms) {
  if (!has_kernel(q, k)) return attention_composed(q, k, v, terms);
  check_attention(q, k, v, terms);
  const auto as = q.scalar_type() == at::kFloat ? forward_as<float> : forward_as<BFloat16Bits>;
  return as(q, k, v, terms);
}

AttentionGradients attention_backward_cpu(const at::Tensor& dout, const at::Tensor& q,
                                          const at::Tensor& k, const at::Tensor& v,
                                          const AttentionTerms& terms, const at::Tensor& out,
                                          const at::Tensor& lse, bool bias_gradient) {
  check_attention_backward(dout, q, k, v, terms, out, lse, bias_gradient);
  if (!has_kernel(q, k) || dout.scalar_type() != q.scalar_type()) {
    return attention_backward_composed(dout, q, k, v, terms, out, lse, bias_gradient);
  }
  const auto as = q.scalar_type() == at::kFloat ? backward_as<float> : backward_as<BFloat16Bits>;
  return as(dout, q, k, v, terms, out, lse, bias_gradient);
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("attention", from_schema<attention_cpu>);
  m.impl("attention_backward", backward_from_schema<attention_backward_cpu>);
}

}  // namespace
}  // namespace altup::internal
