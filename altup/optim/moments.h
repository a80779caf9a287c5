// What the optimisers share and nobody else needs: which parameters are exempt, how a gradient is
// read, and how a list of moments is loaded strictly.
#pragma once

#include <torch/types.h>

#include <string>

#include "altup/optim/optimizer.h"

namespace altup {

std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, NamedTensors parameters);
std::unique_ptr<Optimizer> make_adamw(const OptimizerConfig& config, NamedTensors parameters);

/// True for the numbers of a layer that AltUp and Sequence-AltUp predict and correct by: p [K, K] or
/// [2], g [K] or [1]. A step in one of them moves a whole block at once, which is why they have a rate
/// of their own. Not for the matrices that make coefficients of the token, which start at 0.
bool is_coefficient(const std::string& name, const at::Tensor& parameter);

/// True for the AltUp coefficients and everything with fewer than two dimensions: no decay, no
/// factoring.
bool is_exempt(const std::string& name, const at::Tensor& parameter);

/// True where Adafactor keeps the means of rows and columns instead of a number for each element.
bool is_factored(const OptimizerConfig& config, const std::string& name,
                 const at::Tensor& parameter);

/// The type of a parameter's moments and of the arithmetic on them: double for double, fp32
/// otherwise.
at::ScalarType moment_type(const at::Tensor& parameter);

/// The gradient in the moments' type, contiguous; undefined where the parameter has none.
at::Tensor read_gradient(const std::string& name, const at::Tensor& parameter);

/// Whether raw pointers to fp32 in host memory may be used. `gradient` comes from read_gradient.
bool has_plain_memory(const at::Tensor& parameter, const at::Tensor& gradient);

/// "step" as a tensor of no dimensions.
at::Tensor step_tensor(int64_t step);

/// Copies `state` into the tensors of `expected`, of which the first is "step" (a temporary that
/// the caller reads back). Checks all names, shapes and dtypes before it copies anything; throws
/// UserError.
void load_moments(const NamedTensors& expected, const NamedTensors& state);

}  // namespace altup
