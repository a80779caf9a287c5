#include "altup/modules/linear.h"

#include "altup/modules/without_autocast.h"
#include "altup/ops/ops.h"
#include "altup/util/processor.h"

namespace altup {
namespace {

// Up to here a product costs what reading the weight costs; beyond, ATen's are the faster ones.
constexpr int64_t kFewRows = 64;

}  // namespace

Int8Weight quantise(const torch::Tensor& weight) {
  const torch::NoGradGuard no_grad;
  constexpr double kLargest = 127.0;
  const auto scale = weight.to(torch::kFloat).abs().amax(1) / kLargest;    // [out]
  const auto divisor = scale.masked_fill(scale == 0.0, 1.0).unsqueeze(1);  // of a row of zeros
  return {(weight / divisor).round().to(torch::kChar).contiguous(), scale};
}

torch::Tensor project(const torch::Tensor& x, const torch::Tensor& weight, const Int8Weight& int8) {
  // Not wherever gradients are off: recomputing an activation has to give the same bits.
  if (!c10::InferenceMode::is_enabled() || !x.device().is_cpu() || use_reference_kernels()) {
    return altup::linear(x, weight);
  }
  if (int8.values.defined()) return linear_few_rows(x, int8.values, int8.scale);
  if (x.numel() <= kFewRows * weight.size(1)) return linear_few_rows(x, weight);
  if (!at::autocast::is_autocast_enabled(at::kCPU) || multiplies_bf16()) {
    return altup::linear(x, weight);
  }
  const WithoutAutocast in_fp32(at::kCPU);
  return altup::linear(x.to(weight.scalar_type()), weight);
}

}  // namespace altup
