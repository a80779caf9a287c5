// Comparing an operator with its reference twin in double: values and gradients, with the tolerance
// of the operator's type.
#pragma once

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

namespace altup::testing {

/// Relative to the largest number of the exact result: the rounding of a few operations, or of the
/// type that the result is kept in.
inline double tolerance_of(at::ScalarType type) {
  return type == at::kDouble ? 1e-12 : type == at::kFloat ? 4e-6 : 1e-2;
}

inline void expect_near(const at::Tensor& actual, const at::Tensor& exact, double tolerance,
                        const std::string& what) {
  ASSERT_EQ(actual.sizes(), exact.sizes()) << what;
  if (exact.numel() == 0) return;
  const double error = (actual.to(at::kDouble) - exact).abs().max().item<double>();
  EXPECT_LE(error, tolerance * (1e-3 + exact.abs().max().item<double>())) << what;
}

using Operator = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// `op` on `inputs`, which require gradients, against `twin` on the same numbers in double. The
/// gradients are those of Σ w ⊙ output with random w, over all outputs; `of_gradients` is their
/// tolerance, 0: that of the narrowest output's type.
inline void expect_equals_twin(const Operator& op, const Operator& twin,
                               const std::vector<at::Tensor>& inputs, const std::string& what,
                               double of_gradients = 0.0) {
  std::vector<at::Tensor> exact_inputs;
  for (const auto& input : inputs) {
    exact_inputs.push_back(input.detach().to(at::kDouble, false, true).requires_grad_());
  }
  const auto outputs = op(inputs);
  const auto exact_outputs = twin(exact_inputs);
  ASSERT_EQ(outputs.size(), exact_outputs.size());
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> exact_weights;
  auto narrowest = at::kDouble;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto type = outputs[i].scalar_type();
    expect_near(outputs[i], exact_outputs[i], tolerance_of(type),
                what + ": output " + std::to_string(i));
    if (type != at::kDouble && narrowest != at::kBFloat16) narrowest = type;
    weights.push_back(at::randn(outputs[i].sizes()).to(type));
    exact_weights.push_back(weights.back().to(at::kDouble));
  }
  const auto gradients = torch::autograd::grad(outputs, inputs, weights);
  const auto exact = torch::autograd::grad(exact_outputs, exact_inputs, exact_weights);
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(gradients[i].scalar_type(), inputs[i].scalar_type()) << what;
    expect_near(gradients[i], exact[i], of_gradients > 0 ? of_gradients : tolerance_of(narrowest),
                what + ": gradient of input " + std::to_string(i));
  }
}

/// Names a case in a message.
inline std::string label(int64_t size, at::ScalarType type) {
  return std::string(at::toString(type)) + " of size " + std::to_string(size);
}

inline at::Tensor leaf(const at::Tensor& tensor) {
  return tensor.detach().requires_grad_();
}

}  // namespace altup::testing
