// What the files of the operators `altup::rms_norm` and `altup::add_rms_norm` share with each
// other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace altup::internal {

/// rms_norm: y, rstd. add_rms_norm: sum, y, rstd. The backward operator: dx, ddelta, dweight.
using TwoTensors = std::tuple<at::Tensor, at::Tensor>;
using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

/// Checks shapes, types and devices, as ops.h promises. `delta` may be undefined.
void check_rms_norm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight);
void check_rms_norm_backward(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                             const at::Tensor& sum, const at::Tensor& weight,
                             const at::Tensor& rstd);

/// Composed of ATen operators: what devices and types without a kernel run.
TwoTensors rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype);
ThreeTensors add_rms_norm_composed(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon);
ThreeTensors rms_norm_backward_composed(const at::Tensor& dy, const std::optional<at::Tensor>& dsum,
                                        const at::Tensor& sum, const at::Tensor& weight,
                                        const at::Tensor& rstd,
                                        std::optional<at::ScalarType> narrow);

/// The registered operators, through the dispatcher.
TwoTensors dispatch_rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             std::optional<at::ScalarType> dtype);
ThreeTensors dispatch_add_rms_norm(const at::Tensor& x, const at::Tensor& delta,
                                   const at::Tensor& weight, double epsilon);

}  // namespace altup::internal
