// Autograd against central finite differences, in double. The function is reduced to the scalar
// s = Σ w ⊙ f with fixed random weights w, so that one backward pass is compared with one pair of
// forward passes for each number: ds/dv ≈ (s(v + h) − s(v − h)) / 2h.
#pragma once

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>
#include <vector>

namespace altup::testing {

/// `function` reads the tensors in `inputs` and returns a double tensor; it must be deterministic.
/// The inputs are contiguous double leaves that require a gradient, such as a module's parameters;
/// they are moved in place by `step` and back again. Use as EXPECT_TRUE(gradients_match(...)).
inline ::testing::AssertionResult gradients_match(const std::function<at::Tensor()>& function,
                                                  const std::vector<at::Tensor>& inputs,
                                                  double relative = 1e-6, double absolute = 1e-7,
                                                  double step = 1e-6) {
  const auto output = function();
  TORCH_CHECK(output.scalar_type() == at::kDouble,
              "gradients_match: the function must be in double");
  const auto weights = at::rand(output.sizes(), output.options().requires_grad(false)) + 0.5;
  const auto analytic = torch::autograd::grad({(output * weights).sum()}, inputs, {},
                                              /*retain_graph=*/std::nullopt, /*create_graph=*/false,
                                              /*allow_unused=*/true);
  const at::NoGradGuard no_grad;
  const auto scalar = [&] { return (function() * weights).sum().item<double>(); };
  for (size_t i = 0; i < inputs.size(); ++i) {
    TORCH_CHECK(inputs[i].scalar_type() == at::kDouble && inputs[i].is_contiguous(),
                "gradients_match: input ", i, " must be double and contiguous");
    if (!analytic[i].defined()) {
      return ::testing::AssertionFailure() << "input " << i << " received no gradient";
    }
    const auto gradient = analytic[i].contiguous();
    auto* const value = inputs[i].data_ptr<double>();
    for (int64_t at = 0; at < inputs[i].numel(); ++at) {
      const double original = value[at];
      value[at] = original + step;
      const double above = scalar();
      value[at] = original - step;
      const double below = scalar();
      value[at] = original;
      const double numeric = (above - below) / (2 * step);
      const double actual = gradient.data_ptr<double>()[at];
      if (!(std::abs(actual - numeric) <= absolute + relative * std::abs(numeric))) {
        return ::testing::AssertionFailure()
               << "input " << i << ", element " << at << " of " << inputs[i].sizes()
               << ": autograd says " << actual << ", finite differences " << numeric;
      }
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace altup::testing
