#include "altup/modules/linear.h"

#include <ATen/autocast_mode.h>

#include "altup/modules/without_autocast.h"
#include "altup/ops/ops.h"

namespace altup {
namespace {

// Up to here a product costs what reading the weight costs; beyond, ATen's are the faster ones.
constexpr int64_t kFewRows = 64;

// Not wherever gradients are off: recomputing an activation has to give the same bits.
bool decodes(const torch::Tensor& x) {
  return c10::InferenceMode::is_enabled() && x.device().is_cpu() && !use_reference_kernels();
}

bool has_few_rows(const torch::Tensor& x, const torch::Tensor& weight) {
  return x.numel() <= kFewRows * weight.size(1);
}

}  // namespace

torch::Tensor lowered(const torch::Tensor& weight) {
  const auto device = weight.device().type();
  if (!at::autocast::is_autocast_enabled(device)) return weight;
  const auto type = at::autocast::get_autocast_dtype(device);
  if (!c10::InferenceMode::is_enabled()) return at::autocast::cached_cast(type, weight, device);
  const c10::InferenceMode left(false);  // in which no copy is kept
  const torch::NoGradGuard no_grad;
  return at::autocast::cached_cast(type, weight, device);
}

Int8Weight quantise(const torch::Tensor& weight) {
  const torch::NoGradGuard no_grad;
  constexpr double kLargest = 127.0;
  const auto scale = weight.to(torch::kFloat).abs().amax(1) / kLargest;    // [out]
  const auto divisor = scale.masked_fill(scale == 0.0, 1.0).unsqueeze(1);  // of a row of zeros
  return {(weight / divisor).round().to(torch::kChar).contiguous(), scale};
}

torch::Tensor project(const torch::Tensor& x, const torch::Tensor& weight, const Int8Weight& int8) {
  if (!decodes(x)) return altup::linear(x, weight);
  if (int8.values.defined()) return linear_few_rows(x, int8.values, int8.scale);
  if (has_few_rows(x, weight)) return linear_few_rows(x, lowered(weight));
  if (!at::autocast::is_autocast_enabled(at::kCPU) || multiplies_bf16()) {
    return altup::linear(x, lowered(weight));
  }
  const WithoutAutocast in_fp32(at::kCPU);
  return altup::linear(x.to(weight.scalar_type()), weight);
}

std::vector<torch::Tensor> project(const torch::Tensor& x, std::initializer_list<Linear> linears) {
  const auto& first = *linears.begin();
  const bool together = decodes(x) && (first->is_quantised() || has_few_rows(x, first->weight));
  std::vector<torch::Tensor> weights, scales, projected;
  for (auto linear : linears) {
    if (!together) {
      projected.push_back(linear(x));
    } else if (linear->is_quantised()) {
      weights.push_back(linear->int8().values);
      scales.push_back(linear->int8().scale);
    } else {
      weights.push_back(lowered(linear->weight));
    }
  }
  return together ? linear_few_rows(x, weights, scales) : projected;
}

}  // namespace altup
