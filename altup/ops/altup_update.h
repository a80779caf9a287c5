// What the files of the operator `altup::update` share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

namespace altup::internal {

using UpdateGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

/// Checks shapes, types, devices and the index, as ops.h promises; works on symbolic shapes too.
void check_update(const at::Tensor& x, const at::Tensor& x_tilde,
                  const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                  int64_t active_block);
/// The same, and that `grad` has the shape of the result.
void check_update_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block);

/// Whether there are coefficients for each token, [B, T, K, K] and [B, T, K], or the same for all.
inline bool has_token_coefs(const at::Tensor& prediction_coefs) {
  return prediction_coefs.dim() == 4;
}

/// The type of the result: the wider of the state's and the layer output's.
at::ScalarType update_type(const at::Tensor& x, const at::Tensor& x_tilde);

/// The registered operators, through the dispatcher.
at::Tensor dispatch_update(const at::Tensor& x, const at::Tensor& x_tilde,
                           const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                           int64_t active_block);
UpdateGradients dispatch_update_backward(const at::Tensor& grad, const at::Tensor& x,
                                         const at::Tensor& x_tilde,
                                         const at::Tensor& prediction_coefs,
                                         const at::Tensor& correction_coefs, int64_t active_block);

}  // namespace altup::internal
