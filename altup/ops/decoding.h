// What the files of the operators of decoding (linear_few_rows, cached_attention, append_to_cache,
// likeliest) share with each other; not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "altup/ops/optional_tensor.h"

namespace altup::internal {

/// Each checks shapes and types, as ops.h promises.
void check_linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                           const OptionalTensor& scale);
void check_linears_few_rows(const at::Tensor& x, at::TensorList weights, at::TensorList scales);
void check_cached_attention(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                            int64_t length, const at::Tensor& sources, const OptionalTensor& bias,
                            const OptionalTensor& key_bias);
void check_likeliest(const at::Tensor& scores, int64_t count, int64_t valid);

/// The registered operators, through the dispatcher.
at::Tensor dispatch_linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                                    const OptionalTensor& scale);
std::vector<at::Tensor> dispatch_linears_few_rows(const at::Tensor& x, at::TensorList weights,
                                                  at::TensorList scales);
at::Tensor dispatch_cached_attention(const at::Tensor& q, const at::Tensor& keys,
                                     const at::Tensor& values, int64_t length,
                                     const at::Tensor& sources, const OptionalTensor& bias,
                                     const OptionalTensor& key_bias);
void dispatch_append_to_cache(const at::Tensor& keys, const at::Tensor& values,
                              const at::Tensor& new_keys, const at::Tensor& new_values,
                              int64_t length);
std::tuple<at::Tensor, at::Tensor> dispatch_likeliest(const at::Tensor& scores, int64_t count,
                                                      int64_t valid, bool normalise);

}  // namespace altup::internal
