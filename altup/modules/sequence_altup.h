// Layers that compute every k-th position of a sequence, and what becomes of the others
// (Sequence-AltUp: Baykal et al. 2023, Algorithm 2, with the baselines beside it). Each position has
// an anchor, the computed position at or before it: position i of a sequence has ⌊i/k⌋·k.
//   Sequence-AltUp    x̂_i = a1 x_i + a2 x_anchor         y_i = x̂_i + b (x̃_anchor − x̂_anchor)
//   stride-and-skip   y_i = x̃_i where it is computed, else x_i
//   average pooling   y_j = the mean of the positions whose anchor is the j-th
// Positions are counted from the start of each sequence, so that what becomes of one depends neither
// on padding nor on the other sequences of its batch.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace altup {

/// Which positions of a batch [B, S] are computed, made once for all layers of a stack. In an
/// unpadded batch B is 1 and S all its tokens.
struct StridedPositions {
  torch::Tensor places;  ///< [B, S'] int64: of the computed ones, among the B·S rows
  torch::Tensor
      anchors;         ///< [B·S] int64: of each position its anchor, among the B·S' computed ones
  torch::Tensor mask;  ///< [B, S'] bool, which of them are tokens; undefined: all
  torch::Tensor
      offsets;  ///< [sequences + 1] int64 on the CPU, in an unpadded batch: where they begin
};

/// Every `stride`-th position of x [B, S, ..], S' = ⌈S / stride⌉. mask [B, S] bool, true for the
/// tokens, which stand together; a row's positions are then counted from its first token. Or
/// `offsets` of an unpadded batch, B = 1; S' is then the sum of ⌈length / stride⌉ over its sequences.
StridedPositions strided_positions(const torch::Tensor& x, const torch::Tensor& mask,
                                   const torch::Tensor& offsets, int64_t stride);

/// The computed positions alone: [B, S, d] -> [B, S', d].
torch::Tensor take_strided(const torch::Tensor& x, const StridedPositions& positions);
/// Stride-and-skip: x [B, S, d] with computed [B, S', d] in their places.
torch::Tensor put_strided(const torch::Tensor& x, const torch::Tensor& computed,
                          const StridedPositions& positions);
/// Average pooling over tokens alone: x [B, S, d], mask [B, S] as above -> [B, S', d], 0 where there
/// is no token.
torch::Tensor pool_strided(const torch::Tensor& x, const torch::Tensor& mask,
                           const StridedPositions& positions);
/// Which of the means are of any token: [B, S'] bool; undefined where `mask` is, when all are.
torch::Tensor pooled_mask(const torch::Tensor& mask, int64_t stride);
/// Where the sequences of an unpadded batch begin among its computed positions or means.
torch::Tensor strided_offsets(const torch::Tensor& offsets, int64_t stride);

/// The Sequence-AltUp update of one layer; its three numbers start as a1 = 1, a2 = 0, b = 1.
class SequenceUpdateImpl : public torch::nn::Module {
 public:
  SequenceUpdateImpl();
  void reset_parameters();
  /// x [B, S, d] before the layer, x_tilde [B, S', d] from the layer -> [B, S, d].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& x_tilde,
                        const StridedPositions& positions);

  torch::Tensor prediction_coefs;  // [2], a1 and a2, fp32 whatever the activations' type is
  torch::Tensor correction_coefs;  // [1], b
};
TORCH_MODULE(SequenceUpdate);

}  // namespace altup
