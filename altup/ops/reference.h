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

/// altup::sequence_update and the gradients of it by x, x_tilde, prediction_coefs and
/// correction_coefs, given that by y: `grad` [N, d].
ALTUP_API at::Tensor sequence_update(const at::Tensor& x, const at::Tensor& x_tilde,
                                     const at::Tensor& places, const at::Tensor& anchors,
                                     const at::Tensor& prediction_coefs,
                                     const at::Tensor& correction_coefs);
ALTUP_API std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> sequence_update_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
    const at::Tensor& places, const at::Tensor& anchors, const at::Tensor& prediction_coefs,
    const at::Tensor& correction_coefs);

/// altup::rms_norm and altup::add_rms_norm, with all derivatives.
ALTUP_API at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);
ALTUP_API std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double epsilon);

/// altup::attention, with all derivatives.
ALTUP_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options = {});

/// altup::gated_gelu, with all derivatives.
ALTUP_API at::Tensor gated_gelu(const at::Tensor& gate, const at::Tensor& value);

/// altup::linear_cross_entropy, with all derivatives and with the logits of all tokens in memory.
ALTUP_API LinearCrossEntropy linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights,
                                                  const CrossEntropyOptions& options = {});

/// The operators of decoding of the same names.
ALTUP_API at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                                     const at::Tensor& scale = {});
ALTUP_API std::vector<at::Tensor> linears_few_rows(const at::Tensor& x, at::TensorList weights,
                                                   at::TensorList scales = {});
ALTUP_API at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& keys,
                                      const at::Tensor& values, int64_t length,
                                      const at::Tensor& sources, const at::Tensor& bias = {},
                                      const at::Tensor& key_bias = {});
ALTUP_API std::tuple<at::Tensor, at::Tensor> likeliest(const at::Tensor& scores, int64_t count,
                                                       int64_t valid, bool normalise);

}  // namespace altup::reference
