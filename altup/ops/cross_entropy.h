// What the files of the operator `altup::linear_cross_entropy` share with each other; not a public
// header.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "altup/ops/ops.h"

namespace altup::internal {

/// loss, nll (scalars), predictions [N], dx, dweight (empty without `gradient`).
using CrossEntropyTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

/// Checks shapes, types and devices, as ops.h promises.
void check_linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& targets, const at::Tensor& token_weights,
                                double scale, double label_smoothing);

/// Composed of ATen operators: what devices and types without a kernel run.
CrossEntropyTensors linear_cross_entropy_composed(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights, double scale,
                                                  double z_loss, double label_smoothing,
                                                  bool gradient);

/// The registered operator, through the dispatcher.
CrossEntropyTensors dispatch_linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights, double scale,
                                                  double z_loss, double label_smoothing,
                                                  bool gradient);

}  // namespace altup::internal
