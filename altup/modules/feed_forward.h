// The position-wise feed-forward of T5 1.1: wo(gelu(wi_0 x) ⊙ wi_1 x), the tanh form of GELU
// (Shazeer 2020, GEGLU); or of T5 1.0: wo(relu(wi x)). No biases.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "altup/modules/linear.h"

namespace altup {

struct FeedForwardConfig {
  int64_t d_model = 512;
  int64_t d_ff = 1024;
  bool gated_gelu = true;  ///< false: relu
  double dropout = 0.0;    ///< inside, before wo
};

class FeedForwardImpl : public torch::nn::Module {
 public:
  explicit FeedForwardImpl(const FeedForwardConfig& config);
  /// Standard deviations: wi d_model^-1/2, wo d_ff^-1/2.
  void reset_parameters();
  /// [..., d_model] -> [..., d_model]
  torch::Tensor forward(const torch::Tensor& x);

  Linear wi_0{nullptr}, wi_1{nullptr};  ///< gated
  Linear wi{nullptr};                   ///< relu
  Linear wo{nullptr};

 private:
  FeedForwardConfig config_;
};
TORCH_MODULE(FeedForward);

}  // namespace altup
