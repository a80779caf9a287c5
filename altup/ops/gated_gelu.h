// What the files of the operator `altup::gated_gelu` share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace altup::internal {

using GatedGeluGradients = std::tuple<at::Tensor, at::Tensor>;

/// Checks shapes, types and devices, as ops.h promises.
void check_gated_gelu(const at::Tensor& gate, const at::Tensor& value);
void check_gated_gelu_backward(const at::Tensor& dy, const at::Tensor& gate,
                               const at::Tensor& value);

/// Composed of ATen operators: what devices and types without a kernel run.
at::Tensor gated_gelu_composed(const at::Tensor& gate, const at::Tensor& value);
GatedGeluGradients gated_gelu_backward_composed(const at::Tensor& dy, const at::Tensor& gate,
                                                const at::Tensor& value);

/// The registered operator, through the dispatcher.
at::Tensor dispatch_gated_gelu(const at::Tensor& gate, const at::Tensor& value);

}  // namespace altup::internal
