// altup::cached_attention and altup::append_to_cache: attention of the newest tokens to those whose
// keys and values a cache holds. Which row of the cache a token is in is looked up: when beams
// change places, indices do, and not the cache. No gradient. On CPU a query of a head is a task of
// its own kernel; all else is composed of ATen operators.
#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "altup/ops/cached_attention_kernels.h"
#include "altup/ops/checks.h"
#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/decoding.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
void check_cached_attention(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                            int64_t length, const at::Tensor& sources, const OptionalTensor& bias,
                            const OptionalTensor& key_bias) {
  TORCH_CHECK(
      q.dim() == 4 && keys.dim() == 4 && values.sizes() == keys.sizes(),
      "altup::cached_attention takes q [R, T, H, d], keys and values [N, H, capacity, d], got ",
      q.sizes(), ", ", keys.sizes(), " and ", values.sizes());
  TORCH_CHECK(q.size(2) == keys.size(1) && q.size(3) == keys.size(3), "altup::cached_attention: q ",
              q.sizes(), " and keys ", keys.sizes(), " must have the same heads");
  TORCH_CHECK(length >= 1 && length <= keys.size(2), "altup::cached_attention: length ", length,
              " must be 1 to the capacity of keys ", keys.sizes());
  TORCH_CHECK_TYPE(
      at::isFloatingType(q.scalar_type()) && keys.scalar_type() == values.scalar_type(),
      "altup::cached_attention: q must be of a floating type, keys and values of one, got ",
      q.scalar_type(), ", ", keys.scalar_type(), " and ", values.scalar_type());
  const auto or_none = [](const OptionalTensor& tensor) { return tensor.value_or(at::Tensor()); };
  check_one_device("altup::cached_attention",
                   {q, keys, values, sources, or_none(bias), or_none(key_bias)});
  TORCH_CHECK(sources.scalar_type() == at::kLong && (sources.dim() == 1 || sources.dim() == 2) &&
                  sources.size(0) == q.size(0) && (sources.dim() == 1 || sources.size(1) >= length),
              "altup::cached_attention: sources must be [R] or [R, length or more] int64, got ",
              sources.sizes(), " ", sources.scalar_type(), " with q ", q.sizes(), " and length ",
              length);
  if (given(bias)) {
    TORCH_CHECK(bias->dim() == 4 && bias->size(0) == 1 && bias->size(1) == q.size(2) &&
                    bias->size(2) == q.size(1) && bias->size(3) == length,
                "altup::cached_attention: bias ", bias->sizes(),
                " must be [1, H, T, length] with q ", q.sizes(), " and length ", length);
  }
  if (given(key_bias)) {
    TORCH_CHECK(
        key_bias->dim() == 2 && key_bias->size(0) == keys.size(0) && key_bias->size(1) == length,
        "altup::cached_attention: key_bias ", key_bias->sizes(), " must be [N, length] with keys ",
        keys.sizes(), " and length ", length);
  }
}

at::Tensor dispatch_cached_attention(const at::Tensor& q, const at::Tensor& keys,
                                     const at::Tensor& values, int64_t length,
                                     const at::Tensor& sources, const OptionalTensor& bias,
                                     const OptionalTensor& key_bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::cached_attention", "")
                             .typed<decltype(dispatch_cached_attention)>();
  return op.call(q, keys, values, length, sources, bias, key_bias);
}

namespace {

/// Products that are worth another thread.
constexpr int64_t kGrain = 1 << 14;

at::Tensor cached_attention_composed(const at::Tensor& q, const at::Tensor& keys,
                                     const at::Tensor& values, int64_t length,
                                     const at::Tensor& sources, const OptionalTensor& bias,
                                     const OptionalTensor& key_bias) {
  return reference::cached_attention(q, keys, values, length, sources, bias.value_or(at::Tensor()),
                                     key_bias.value_or(at::Tensor()));
}

/// The kernel reads what they name: the first `length` of each row, or the one of each.
void check_sources(const at::Tensor& sources, int64_t length, int64_t rows) {
  const int64_t columns = sources.dim() == 2 ? length : 1;
  for (int64_t row = 0; row < sources.size(0); ++row) {
    const auto* source = sources.const_data_ptr<int64_t>() + row * sources.stride(0);
    for (int64_t column = 0; column < columns; ++column) {
      TORCH_CHECK_INDEX(source[column] >= 0 && source[column] < rows,
                        "altup::cached_attention: source ", source[column], " of row ", row,
                        " is not in [0, ", rows, ")");
    }
  }
}

template <typename Cached>
void run(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values, int64_t length,
         const at::Tensor& sources, const at::Tensor& bias, const at::Tensor& key_bias,
         const at::Tensor& out) {
  const int64_t tokens = q.size(1);
  const int64_t heads = q.size(2);
  const int64_t queries = q.size(0) * tokens;
  const int64_t width = q.size(3);
  CachedAttentionArguments<Cached> shared;
  shared.length = length;
  shared.width = width;
  shared.row_stride = keys.stride(0);
  shared.source_stride = sources.dim() == 2 ? 1 : 0;
  shared.key_bias = key_bias.defined() ? pointer<float>(key_bias) : nullptr;
  shared.key_bias_stride = length;
  const auto attend = ALTUP_OF_THIS_CPU(cached_attention_kernels<Cached>()).attend;
  const int64_t grain = std::max<int64_t>(1, kGrain / (2 * length * width));
  // Queries of one head in turn: those that share an input find its keys in the thread's cache.
  at::parallel_for(0, heads * queries, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(static_cast<size_t>(length));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / queries;
      const int64_t query = i % queries;
      auto args = shared;
      args.q = pointer<float>(q) + (query * heads + head) * width;
      args.keys = pointer<Cached>(keys) + head * keys.stride(1);
      args.values = pointer<Cached>(values) + head * values.stride(1);
      args.sources = sources.const_data_ptr<int64_t>() + query / tokens * sources.stride(0);
      if (bias.defined()) {
        args.bias = pointer<float>(bias) + head * bias.stride(1) + query % tokens * bias.stride(2);
      }
      args.weights = weights.data();
      args.out = mutable_pointer<float>(out) + (query * heads + head) * width;
      attend(args);
    }
  });
}

at::Tensor cached_attention_cpu(const at::Tensor& q_given, const at::Tensor& keys,
                                const at::Tensor& values, int64_t length,
                                const at::Tensor& sources_given, const OptionalTensor& bias_given,
                                const OptionalTensor& key_bias_given) {
  check_cached_attention(q_given, keys, values, length, sources_given, bias_given, key_bias_given);
  const bool has_kernel =
      (keys.scalar_type() == at::kFloat || keys.scalar_type() == at::kBFloat16) &&
      at::toOpMathType(q_given.scalar_type()) == at::kFloat && keys.is_contiguous() &&
      values.is_contiguous() && q_given.numel() > 0;
  if (!has_kernel) {
    return cached_attention_composed(q_given, keys, values, length, sources_given, bias_given,
                                     key_bias_given);
  }
  const auto q = q_given.to(at::kFloat).contiguous();
  const auto sources = sources_given.stride(-1) == 1 ? sources_given : sources_given.contiguous();
  check_sources(sources, length, keys.size(0));
  at::Tensor bias;
  if (given(bias_given)) {
    bias = bias_given->to(at::kFloat);
    if (bias.stride(3) != 1) bias = bias.contiguous();
  }
  at::Tensor key_bias;
  if (given(key_bias_given)) key_bias = key_bias_given->to(at::kFloat).contiguous();
  const auto out = at::empty({q.size(0), q.size(1), q.size(2) * q.size(3)}, q.options());
  const auto as = keys.scalar_type() == at::kFloat ? run<float> : run<BFloat16Bits>;
  as(q, keys, values, length, sources, bias, key_bias, out);
  return out;
}

at::Tensor cached_attention_meta(const at::Tensor& q, const at::Tensor& keys,
                                 const at::Tensor& values, int64_t length,
                                 const at::Tensor& sources, const OptionalTensor& bias,
                                 const OptionalTensor& key_bias) {
  check_cached_attention(q, keys, values, length, sources, bias, key_bias);
  return at::empty({q.size(0), q.size(1), q.size(2) * q.size(3)},
                   q.options().dtype(at::toOpMathType(q.scalar_type())));
}

void check_append(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                  const at::Tensor& new_values, int64_t length) {
  TORCH_CHECK(keys.dim() == 4 && new_keys.dim() == 4 && values.sizes() == keys.sizes() &&
                  new_values.sizes() == new_keys.sizes() && new_keys.size(0) <= keys.size(0) &&
                  new_keys.size(2) == keys.size(1) && new_keys.size(3) == keys.size(3) &&
                  length >= 0 && length + new_keys.size(1) <= keys.size(2),
              "altup::append_to_cache: ", new_keys.sizes(), " and ", new_values.sizes(),
              " [R, T, H, d] after ", length, " tokens do not fit ", keys.sizes(), " and ",
              values.sizes(), " [N, H, capacity, d]");
  check_one_device("altup::append_to_cache", {keys, values, new_keys, new_values});
}

void append_composed(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                     const at::Tensor& new_values, int64_t length) {
  check_append(keys, values, new_keys, new_values, length);
  const auto place = [&](const at::Tensor& cache, const at::Tensor& added) {
    cache.narrow(0, 0, added.size(0)).narrow(2, length, added.size(1)).copy_(added.transpose(1, 2));
  };
  place(keys, new_keys);
  place(values, new_values);
}

template <typename Cached>
void append_as(const at::Tensor& cache, const at::Tensor& added, int64_t length) {
  const auto convert = ALTUP_OF_THIS_CPU(cached_attention_kernels<Cached>()).convert;
  const float* from = pointer<float>(added);
  const int64_t width = added.size(3);
  for (int64_t r = 0; r < added.size(0); ++r) {
    for (int64_t t = 0; t < added.size(1); ++t) {
      for (int64_t h = 0; h < added.size(2); ++h, from += width) {
        convert(from,
                mutable_pointer<Cached>(cache) + r * cache.stride(0) + h * cache.stride(1) +
                    (length + t) * width,
                width);
      }
    }
  }
}

void append_cpu(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                const at::Tensor& new_values, int64_t length) {
  const auto type = keys.scalar_type();
  const auto plain = [&](const at::Tensor& cache, const at::Tensor& added) {
    return cache.scalar_type() == type && cache.is_contiguous() &&
           added.scalar_type() == at::kFloat && added.is_contiguous();
  };
  if ((type != at::kFloat && type != at::kBFloat16) || !plain(keys, new_keys) ||
      !plain(values, new_values)) {
    return append_composed(keys, values, new_keys, new_values, length);
  }
  check_append(keys, values, new_keys, new_values, length);
  const auto as = type == at::kFloat ? append_as<float> : append_as<BFloat16Bits>;
  as(keys, new_keys, length);
  as(values, new_values, length);
}

void append_meta(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                 const at::Tensor& new_values, int64_t length) {
  check_append(keys, values, new_keys, new_values, length);
}

/// Has no gradient. What autograd saved of a cache before is no longer what it was, and it is told so.
void append_autograd(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                     const at::Tensor& new_values, int64_t length) {
  TORCH_CHECK(!at::GradMode::is_enabled() || !(keys.requires_grad() || values.requires_grad()),
              "altup::append_to_cache has no gradient; expected caches that require none");
  {
    const at::AutoDispatchBelowADInplaceOrView guard;
    dispatch_append_to_cache(keys, values, new_keys, new_values, length);
  }
  keys.unsafeGetTensorImpl()->bump_version();
  values.unsafeGetTensorImpl()->bump_version();
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (!is_first_copy()) return;
  m.impl("cached_attention", cached_attention_composed);
  m.impl("append_to_cache", append_composed);
}
TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("cached_attention", cached_attention_cpu);
  m.impl("append_to_cache", append_cpu);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (!is_first_copy()) return;
  m.impl("cached_attention", cached_attention_meta);
  m.impl("append_to_cache", append_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (!is_first_copy()) return;
  m.impl("cached_attention", torch::autograd::autogradNotImplementedFallback());
  m.impl("append_to_cache", append_autograd);
}

}  // namespace

void dispatch_append_to_cache(const at::Tensor& keys, const at::Tensor& values,
                              const at::Tensor& new_keys, const at::Tensor& new_values,
                              int64_t length) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::append_to_cache", "")
                             .typed<decltype(dispatch_append_to_cache)>();
  op.call(keys, values, new_keys, new_values, length);
}

}  // namespace altup::internal
