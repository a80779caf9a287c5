// What the tests of the optimisers share.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include "altup/optim/optimizer.h"

namespace altup::testing {

inline at::Tensor with_gradient(const at::Tensor& parameter, const at::Tensor& gradient) {
  parameter.mutable_grad() = gradient;
  return parameter;
}

inline OptimizerConfig adafactor_config() {
  OptimizerConfig config;
  config.name = OptimizerName::kAdafactor;
  return config;
}

inline OptimizerConfig adamw_config() {
  OptimizerConfig config;
  config.name = OptimizerName::kAdamW;
  return config;
}

/// |a - b| <= tolerance · max(1, |b|) everywhere, and no NaN.
inline void expect_close(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  ASSERT_EQ(a.sizes(), b.sizes());
  const auto error = ((a - b).abs() / b.abs().clamp_min(1.0)).max().item<double>();
  EXPECT_LE(error, tolerance);
  EXPECT_TRUE(a.isfinite().all().item<bool>());
}

/// A parameter laid out column by column, which keeps it from the fused path.
inline at::Tensor transposed_copy(const at::Tensor& matrix) {
  return matrix.t().contiguous().t();
}

}  // namespace altup::testing
