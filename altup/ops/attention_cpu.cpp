// altup::attention on CPU: a head of an example at a time, its products by ATen, between them the
// kernel on scores that stay in the thread's cache. The heads are read and written where they are in
// [B, T, H, d]. The gradient of a bias that all examples share is summed over groups of examples of a
// fixed number, so that it does not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "altup/ops/attention.h"
#include "altup/ops/attention_kernels.h"
#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// Scores worked on at a time: 4 MB in fp32. All of a head up to 1,024 × 1,024.
constexpr int64_t kTile = 1 << 20;
/// Sums of the bias's gradient, each over every fourth example.
constexpr int64_t kGroups = 4;

bool given(const OptionalTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

bool has_kernel(const at::Tensor& q, const at::Tensor& k) {
  return (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16) && q.numel() > 0 &&
         k.numel() > 0;
}

/// Head h of example b: [T, d], a view.
at::Tensor head(const at::Tensor& x, int64_t b, int64_t h) {
  return x.select(0, b).select(1, h);
}

struct Sizes {
  int64_t batch, queries, keys, heads, tile;
  Sizes(const at::Tensor& q, const at::Tensor& k)
      : batch(q.size(0)),
        queries(q.size(1)),
        keys(k.size(1)),
        heads(q.size(2)),
        tile(std::clamp<int64_t>(kTile / k.size(1), 1, q.size(1))) {}
};

/// The biases as the kernels read them.
struct Biases {
  at::Tensor bias;      // [1 or B, H, T, S], the last dimension dense
  at::Tensor key_bias;  // [B, S]

  Biases(const OptionalTensor& bias_given, const OptionalTensor& key_bias_given) {
    if (given(bias_given)) {
      bias = bias_given->to(at::kFloat);
      if (bias.stride(3) != 1) bias = bias.contiguous();
    }
    if (given(key_bias_given)) key_bias = key_bias_given->to(at::kFloat).contiguous();
  }

  template <typename Scalar>
  void set(AttentionRows<Scalar>& rows, int64_t b, int64_t h, int64_t first) const {
    if (bias.defined()) {
      rows.bias = pointer<float>(bias) + (bias.size(0) == 1 ? 0 : b) * bias.stride(0) +
                  h * bias.stride(1) + first * bias.stride(2);
      rows.bias_stride = bias.stride(2);
    }
    if (key_bias.defined()) rows.key_bias = pointer<float>(key_bias) + b * key_bias.stride(0);
  }
};

template <typename Scalar>
AttentionOutputs forward_as(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const OptionalTensor& bias, const OptionalTensor& key_bias) {
  const Sizes sizes(q, k);
  const Biases biases(bias, key_bias);
  const auto out = at::empty(q.sizes(), q.options());
  const auto lse =
      at::empty({sizes.batch, sizes.heads, sizes.queries}, q.options().dtype(at::kFloat));
  const auto kernel = ALTUP_OF_THIS_CPU(attention_kernels<Scalar>()).forward;
  at::parallel_for(0, sizes.batch * sizes.heads, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto buffer = at::empty({sizes.tile, sizes.keys}, q.options());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / sizes.heads;
      const int64_t h = i % sizes.heads;
      const auto queries = head(q, b, h);
      const auto keys = head(k, b, h).t();
      const auto values = head(v, b, h);
      const auto outputs = head(out, b, h);
      for (int64_t first = 0; first < sizes.queries; first += sizes.tile) {
        const int64_t count = std::min(sizes.tile, sizes.queries - first);
        auto scores = buffer.narrow(0, 0, count);
        at::mm_out(scores, queries.narrow(0, first, count), keys);
        AttentionRows<Scalar> rows;
        rows.keys = sizes.keys;
        rows.scores = mutable_pointer<Scalar>(scores);
        rows.lse = mutable_pointer<float>(lse) + i * sizes.queries + first;
        biases.set(rows, b, h, first);
        kernel(rows, 0, count);
        auto output = outputs.narrow(0, first, count);
        at::mm_out(output, scores, values);
      }
    }
  });
  return {out, lse};
}

template <typename Scalar>
AttentionGradients backward_as(const at::Tensor& dout_given, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v, const OptionalTensor& bias,
                               const OptionalTensor& key_bias, const at::Tensor& out,
                               const at::Tensor& lse_given, bool bias_gradient) {
  const Sizes sizes(q, k);
  const auto lse = lse_given.contiguous();
  const Biases biases(bias, key_bias);
  const auto dout = dout_given.contiguous();
  const auto fp32 = q.options().dtype(at::kFloat);
  const auto dot =
      (dout.to(at::kFloat) * out.to(at::kFloat)).sum(-1).transpose(1, 2).contiguous();  // [B, H, T]
  const auto dq = at::empty(q.sizes(), q.options());
  const auto dk = at::empty(k.sizes(), k.options());
  const auto dv = at::empty(v.sizes(), v.options());
  const bool shared = bias_gradient && biases.bias.size(0) == 1;
  // Examples g, g + groups, g + 2 groups, … add to one sum.
  const int64_t groups = shared ? std::min(kGroups, sizes.batch) : sizes.batch;
  at::Tensor dbias = at::empty({0}, fp32);
  if (bias_gradient) dbias = at::zeros({groups, sizes.heads, sizes.queries, sizes.keys}, fp32);
  const auto kernel = ALTUP_OF_THIS_CPU(attention_kernels<Scalar>()).backward;
  at::parallel_for(0, groups * sizes.heads, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto score_buffer = at::empty({sizes.tile, sizes.keys}, q.options());
    const auto gradient_buffer = at::empty({sizes.tile, sizes.keys}, q.options());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % sizes.heads;
      for (int64_t b = i / sizes.heads; b < sizes.batch; b += groups) {
        const auto queries = head(q, b, h);
        const auto keys = head(k, b, h);
        const auto values = head(v, b, h);
        const auto gradients = head(dout, b, h);
        auto dkeys = head(dk, b, h);
        auto dvalues = head(dv, b, h);
        for (int64_t first = 0; first < sizes.queries; first += sizes.tile) {
          const int64_t count = std::min(sizes.tile, sizes.queries - first);
          const auto query = queries.narrow(0, first, count);
          const auto gradient = gradients.narrow(0, first, count);
          auto scores = score_buffer.narrow(0, 0, count);
          auto dscores = gradient_buffer.narrow(0, 0, count);
          at::mm_out(scores, query, keys.t());
          at::mm_out(dscores, gradient, values.t());
          const int64_t row = (b * sizes.heads + h) * sizes.queries + first;
          AttentionRows<Scalar> rows;
          rows.keys = sizes.keys;
          rows.scores = mutable_pointer<Scalar>(scores);
          rows.lse = const_cast<float*>(pointer<float>(lse)) + row;
          rows.dweights = mutable_pointer<Scalar>(dscores);
          rows.dot = pointer<float>(dot) + row;
          if (bias_gradient) {
            rows.dbias = mutable_pointer<float>(dbias) + (i * sizes.queries + first) * sizes.keys;
          }
          biases.set(rows, b, h, first);
          kernel(rows, 0, count);
          auto dquery = head(dq, b, h).narrow(0, first, count);
          at::mm_out(dquery, dscores, keys);
          if (first == 0) {
            at::mm_out(dkeys, dscores.t(), query);
            at::mm_out(dvalues, scores.t(), gradient);
          } else {
            dkeys.addmm_(dscores.t(), query);
            dvalues.addmm_(scores.t(), gradient);
          }
        }
      }
    }
  });
  if (bias_gradient) {
    if (shared) dbias = dbias.sum(0, /*keepdim=*/true);
    dbias = dbias.to(bias->scalar_type());
  }
  return {dq, dk, dv, dbias};
}

AttentionOutputs attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const OptionalTensor& bias, const OptionalTensor& key_bias) {
  check_attention(q, k, v, bias, key_bias);
  if (!has_kernel(q, k)) return attention_composed(q, k, v, bias, key_bias);
  const auto as = q.scalar_type() == at::kFloat ? forward_as<float> : forward_as<BFloat16Bits>;
  return as(q, k, v, bias, key_bias);
}

AttentionGradients attention_backward_cpu(const at::Tensor& dout, const at::Tensor& q,
                                          const at::Tensor& k, const at::Tensor& v,
                                          const OptionalTensor& bias,
                                          const OptionalTensor& key_bias, const at::Tensor& out,
                                          const at::Tensor& lse, bool bias_gradient) {
  if (!has_kernel(q, k) || dout.scalar_type() != q.scalar_type()) {
    return attention_backward_composed(dout, q, k, v, bias, key_bias, out, lse, bias_gradient);
  }
  const auto as = q.scalar_type() == at::kFloat ? backward_as<float> : backward_as<BFloat16Bits>;
  return as(dout, q, k, v, bias, key_bias, out, lse, bias_gradient);
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("attention", attention_cpu);
  m.impl("attention_backward", attention_backward_cpu);
}

}  // namespace
}  // namespace altup::internal
