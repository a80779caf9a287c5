// What the files of the operator `altup::attention` share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace altup::internal {

using OptionalTensor = std::optional<at::Tensor>;
using AttentionOutputs = std::tuple<at::Tensor, at::Tensor>;  ///< out, lse [B, H, T]
using AttentionGradients =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;  ///< dq, dk, dv, dbias

/// Checks shapes, types and devices, as ops.h promises.
void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const OptionalTensor& bias, const OptionalTensor& key_bias);

/// Composed of ATen operators: what devices and types without a kernel run.
AttentionOutputs attention_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const OptionalTensor& bias, const OptionalTensor& key_bias);
AttentionGradients attention_backward_composed(const at::Tensor& dout, const at::Tensor& q,
                                               const at::Tensor& k, const at::Tensor& v,
                                               const OptionalTensor& bias,
                                               const OptionalTensor& key_bias,
                                               const at::Tensor& out, const at::Tensor& lse,
                                               bool bias_gradient);

/// The registered operator, through the dispatcher.
AttentionOutputs dispatch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const OptionalTensor& bias, const OptionalTensor& key_bias);

}  // namespace altup::internal
