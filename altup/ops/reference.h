// The slow, obvious twins of the operators of ops.h, composed of ATen operators and written as the
// formulas read. They are the oracle of the tests, the implementation on devices without a kernel
// of ours, what a traced model that must run without our library is made of, and, being
// differentiable, the second derivative.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "altup/ops/ops.h"

namespace altup::reference {

/// altup::update on any device. Same arguments, result and errors.
ALTUP_API at::Tensor update(const at::Tensor& x, const at::Tensor& x_tilde,
                            const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                            int64_t active_block);

/// The gradients of `update` by x, x_tilde, prediction_coefs and correction_coefs, each of the
/// shape and type of what it is the gradient of, given that by y: `grad` [K, B, T, d].
ALTUP_API std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> update_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
    const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs, int64_t active_block);

}  // namespace altup::reference
