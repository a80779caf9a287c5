// altup::likeliest: the best next tokens of each row, without a sort and without a tensor of
// log-probabilities. No gradient. On CPU rows go to threads; all else is composed of ATen operators.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <vector>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/decoding.h"
#include "altup/ops/likeliest_kernels.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {

void check_likeliest(const at::Tensor& scores, int64_t count, int64_t valid) {
  TORCH_CHECK(scores.dim() == 2, "altup::likeliest takes scores [R, V], got ", scores.sym_sizes());
  TORCH_CHECK_TYPE(at::isFloatingType(scores.scalar_type()),
                   "altup::likeliest: scores must be of a floating type, got ",
                   scores.scalar_type());
  TORCH_SYM_CHECK(scores.sym_size(1).sym_ge(valid), "altup::likeliest: ", valid,
                  " valid ids of scores ", scores.sym_sizes());
  TORCH_CHECK(count >= 1 && count <= valid, "altup::likeliest: count ", count,
              " must be 1 to the number of valid ids, ", valid);
}

std::tuple<at::Tensor, at::Tensor> dispatch_likeliest(const at::Tensor& scores, int64_t count,
                                                      int64_t valid, bool normalise) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("altup::likeliest", "")
                             .typed<decltype(dispatch_likeliest)>();
  return op.call(scores, count, valid, normalise);
}

namespace {

using TwoTensors = std::tuple<at::Tensor, at::Tensor>;

TwoTensors likeliest_composed(const at::Tensor& scores, int64_t count, int64_t valid,
                              bool normalise) {
  check_likeliest(scores, count, valid);
  const auto all = normalise ? scores.log_softmax(-1) : scores;  // [R, V]
  auto [values, ids] = all.narrow(1, 0, valid).topk(count);
  return {values.contiguous(), ids.contiguous()};
}

TwoTensors likeliest_cpu(const at::Tensor& scores_given, int64_t count, int64_t valid,
                         bool normalise) {
  check_likeliest(scores_given, count, valid);
  if (scores_given.scalar_type() != at::kFloat) {
    return likeliest_composed(scores_given, count, valid, normalise);
  }
  const auto scores = scores_given.contiguous();
  const int64_t rows = scores.size(0);
  const int64_t size = scores.size(1);
  const auto values = at::empty({rows, count}, scores.options());
  const auto ids = at::empty({rows, count}, scores.options().dtype(at::kLong));
  const auto kernel = ALTUP_OF_THIS_CPU(likeliest_kernel());
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernel({.scores = pointer<float>(scores) + row * size,
              .size = size,
              .valid = valid,
              .count = count,
              .normalise = normalise,
              .values = mutable_pointer<float>(values) + row * count,
              .ids = ids.mutable_data_ptr<int64_t>() + row * count});
    }
  });
  return {values, ids};
}

TwoTensors likeliest_meta(const at::Tensor& scores, int64_t count, int64_t valid, bool) {
  check_likeliest(scores, count, valid);
  const std::vector<c10::SymInt> sizes = {scores.sym_size(0), count};
  return {at::empty_symint(sizes, scores.options()),
          at::empty_symint(sizes, scores.options().dtype(at::kLong))};
}

TORCH_LIBRARY_IMPL(altup, CompositeExplicitAutograd, m) {
  if (is_first_copy()) m.impl("likeliest", likeliest_composed);
}
TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (is_first_copy()) m.impl("likeliest", likeliest_cpu);
}
TORCH_LIBRARY_IMPL(altup, Meta, m) {
  if (is_first_copy()) m.impl("likeliest", likeliest_meta);
}
TORCH_LIBRARY_IMPL(altup, Autograd, m) {
  if (is_first_copy()) m.impl("likeliest", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace
}  // namespace altup::internal
