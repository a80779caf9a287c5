// The AltUp update of one layer (Baykal et al. 2023, Algorithm 1): the layer itself computes x̃ =
// L(x^j) from the active block j; this module predicts all K blocks from all K blocks and corrects
// them with what the layer found:
//   x̂^i = Σ_j p_ij x^j        y^i = x̂^i + g_i (x̃ − x̂^active)
// It stands beside a layer, not in it: the dense layer does not know that it is there.
#pragma once

#include <torch/torch.h>

#include <utility>

namespace altup {

struct AltUpUpdateConfig {
  int64_t num_blocks = 2;    ///< K
  int64_t active_block = 0;  ///< j, in [0, K)
  /// false: g = 1, so that at the start the model equals the dense one; true: g = 1 for the active
  /// block and 0 for the others, so that the blocks differ from the first step. p = I in both.
  bool only_active = false;
};

class AltUpUpdateImpl : public torch::nn::Module {
 public:
  explicit AltUpUpdateImpl(const AltUpUpdateConfig& config);
  void reset_parameters();
  /// The block that the layer has to compute: a view [B, T, d] of x [K, B, T, d].
  torch::Tensor active(const torch::Tensor& x) const { return x[config_.active_block]; }
  /// x and active(x), to be used in the places of x and x[j]: the gradient of the second is added to
  /// that of the first where it lies, for which autograd would fill and add a whole state.
  std::pair<torch::Tensor, torch::Tensor> open(const torch::Tensor& x) const;
  /// x [K, B, T, d] before the layer, x_tilde [B, T, d] from the layer -> [K, B, T, d].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& x_tilde);

  torch::Tensor prediction_coefs;  // [K, K], fp32 whatever the activations' type is
  torch::Tensor correction_coefs;  // [K]

 private:
  AltUpUpdateConfig config_;
};
TORCH_MODULE(AltUpUpdate);

}  // namespace altup
