// Root-mean-square normalisation as in T5 (no mean, no bias; Zhang & Sennrich 2019):
//   y = x / sqrt(mean(x^2) + eps) * weight
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <tuple>

namespace altup {

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t width, double epsilon);
  void reset_parameters();
  /// x [..., width] -> the same shape and dtype (autocast's under autocast); the mean square is taken
  /// in fp32 or wider.
  torch::Tensor forward(const torch::Tensor& x);
  /// The residual connection before the norm in one pass with it -> x + delta, and its norm.
  std::tuple<torch::Tensor, torch::Tensor> add(const torch::Tensor& x, const torch::Tensor& delta);

  torch::Tensor weight;  // [width]

 private:
  double epsilon_;
};
TORCH_MODULE(RmsNorm);

}  // namespace altup
