// What the files of the operator `altup::sequence_update` share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace altup::internal {

using SequenceUpdateGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

/// Checks shapes, types and devices, as ops.h promises; works on symbolic shapes too.
void check_sequence_update(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                           const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                           const at::Tensor& correction_coefs);

/// The registered operator, through the dispatcher.
at::Tensor dispatch_sequence_update(const at::Tensor& x, const at::Tensor& x_tilde,
                                    const at::Tensor& places, const at::Tensor& anchors,
                                    const at::Tensor& prediction_coefs,
                                    const at::Tensor& correction_coefs);

}  // namespace altup::internal
