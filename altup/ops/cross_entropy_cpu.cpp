// altup::linear_cross_entropy on CPU: the products a chunk of rows at a time, and between
// them the kernel in the place of the logits.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/cross_entropy.h"
#include "altup/ops/cross_entropy_kernels.h"
#include "altup/ops/product.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// The most that the logits of a chunk may take. Large enough for the products to run at full
/// speed, and for the weight's gradient, which every chunk adds to, not to be moved too often.
constexpr int64_t kChunkBytes = 64 << 20;

int64_t rows_of_chunk(int64_t rows, int64_t row_bytes) {
  const int64_t chunks = at::divup(rows * row_bytes, kChunkBytes);
  return std::max<int64_t>(1, at::divup(rows, std::max<int64_t>(1, chunks)));
}

template <typename Scalar>
CrossEntropyTensors as(const at::Tensor& x_given, const at::Tensor& weight_given,
                       const at::Tensor& targets_given, const at::Tensor& token_weights_given,
                       double scale, double z_loss, double label_smoothing, bool gradient) {
  const auto x = x_given.contiguous();
  const auto weight = weight_given.to(x.scalar_type()).contiguous();
  const auto targets = targets_given.contiguous();
  const auto token_weights = token_weights_given.to(at::kFloat).contiguous();
  const int64_t rows = x.size(0);
  const int64_t vocabulary = weight.size(0);
  const auto* target = targets.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows; ++i) {
    TORCH_CHECK_INDEX(target[i] >= 0 && target[i] < vocabulary,
                      "altup::linear_cross_entropy: ", "target ", target[i], " of row ", i,
                      " is not in [0, ", vocabulary, ")");
  }
  const auto fp32 = x.options().dtype(at::kFloat);
  const auto loss = at::empty({rows}, fp32);
  const auto nll = at::empty({rows}, fp32);
  const auto predictions = at::empty({rows}, targets.options());
  const auto dx = gradient ? at::empty_like(x) : at::empty({0}, x.options());
  auto dweight = at::empty({0}, weight_given.options());

  const int64_t chunk = rows_of_chunk(rows, vocabulary * static_cast<int64_t>(x.element_size()));
  auto logits = at::empty({std::min(chunk, rows), vocabulary}, x.options());
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const auto x_chunk = x.narrow(0, first, count);
    const auto l = logits.narrow(0, 0, count);
    product_out(l, x_chunk, weight.t());
    CrossEntropyArguments<Scalar> args;
    args.vocabulary = vocabulary;
    args.logits = mutable_pointer<Scalar>(l);
    args.gradient = gradient;
    args.scale = static_cast<float>(scale);
    args.z_loss = static_cast<float>(z_loss);
    args.label_smoothing = static_cast<float>(label_smoothing);
    args.targets = target + first;
    args.weights = pointer<float>(token_weights) + first;
    args.loss = mutable_pointer<float>(loss) + first;
    args.nll = mutable_pointer<float>(nll) + first;
    args.predictions = predictions.mutable_data_ptr<int64_t>() + first;
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      ALTUP_OF_THIS_CPU(cross_entropy_rows<Scalar>(args, begin, end));
    });
    if (!gradient) continue;
    const auto dx_chunk = dx.narrow(0, first, count);
    product_out(dx_chunk, l, weight);
    if (x.scalar_type() == at::kFloat || chunk >= rows) {
      if (first == 0) dweight = at::empty(weight.sizes(), x.options());
      product_out(dweight, l.t(), x_chunk, /*add=*/first > 0);
    } else if (first == 0) {  // the shares of several chunks are added up in fp32
      dweight = product(l.t(), x_chunk).to(at::kFloat);
    } else {
      dweight.add_(product(l.t(), x_chunk));
    }
  }
  dweight = dweight.to(weight_given.scalar_type());
  return {loss.sum(), nll.sum(), predictions, dx, dweight};
}

CrossEntropyTensors linear_cross_entropy_cpu(const at::Tensor& x, const at::Tensor& weight,
                                             const at::Tensor& targets,
                                             const at::Tensor& token_weights, double scale,
                                             double z_loss, double label_smoothing, bool gradient) {
  check_linear_cross_entropy(x, weight, targets, token_weights, scale, label_smoothing);
  const auto type = x.scalar_type();
  if ((type != at::kFloat && type != at::kBFloat16) || x.numel() == 0) {
    return linear_cross_entropy_composed(x, weight, targets, token_weights, scale, z_loss,
                                         label_smoothing, gradient);
  }
  const auto of_type = type == at::kFloat ? as<float> : as<BFloat16Bits>;
  return of_type(x, weight, targets, token_weights, scale, z_loss, label_smoothing, gradient);
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("linear_cross_entropy", linear_cross_entropy_cpu);
}

}  // namespace
}  // namespace altup::internal
