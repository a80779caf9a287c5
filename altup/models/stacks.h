// The encoder and the decoder: layers, the AltUp updates beside them, the relative bias that the
// layers share, and the final norm. With K = 1 the updates are empty and this is the dense T5.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "altup/models/layers.h"
#include "altup/models/t5_config.h"
#include "altup/modules/altup.h"
#include "altup/modules/relative_bias.h"

namespace altup {

/// The positions that a layer computes: how they attend to each other, and what its mixture routes.
struct LayerPositions {
  AttentionOptions attention;
  RoutedTokens tokens;
};

/// Is told the output of each part of a stack, by the part's name within it, as the forward pass
/// goes; for diagnosis.
using StackWatch = std::function<void(const std::string& part, const torch::Tensor& output)>;

/// Where the examples of an unpadded batch begin. Such a batch is one row of all its tokens, [1, N,
/// width]: only attention tells its examples apart, and each of them attends to itself alone. Tokens
/// [offsets[i], offsets[i + 1]) are example i. Undefined: every row is an example.
struct SequenceOffsets {
  torch::Tensor inputs;   ///< [examples + 1] int64, on the CPU
  torch::Tensor targets;  ///< [examples + 1] int64, on the CPU
};

/// What the mixtures of a stack leave of a forward pass in training; see Routing.
struct StackRouting {
  torch::Tensor loss;                     ///< their sum; undefined where there are none
  std::vector<torch::Tensor> statistics;  ///< of each
};

class EncoderImpl : public torch::nn::Module {
 public:
  explicit EncoderImpl(const T5Config& config);
  void reset_parameters();
  /// embedded [B, S, embedding width], mask [B, S] bool or undefined (all visible) -> memory [B, S,
  /// memory width]. `offsets`: of the inputs of an unpadded batch, B = 1 (see SequenceOffsets). With
  /// average pooling S is as much shorter; mask and offsets are then pooled_mask() and
  /// strided_offsets().
  torch::Tensor forward(const torch::Tensor& embedded, const torch::Tensor& mask,
                        const torch::Tensor& offsets = {});

  torch::nn::ModuleList layers;
  /// AltUpUpdate of each layer; or, of Sequence-AltUp, SequenceUpdate of the second layer and on;
  /// else empty.
  torch::nn::ModuleList altup;
  RelativeBias relative_bias{nullptr};
  RmsNorm final_norm{nullptr};
  bool checkpoint_activations = false;  ///< recompute each layer in the backward pass
  StackWatch watch;                     ///< may be empty
  StackRouting routing;                 ///< of the last forward pass

 private:
  /// `stride`: how far apart the positions are.
  LayerPositions layer_positions(const torch::Tensor& positions, const torch::Tensor& mask,
                                 const torch::Tensor& offsets, int64_t stride);
  torch::Tensor compute_layer(int64_t index, const torch::Tensor& x,
                              const LayerPositions& positions);
  RoutedTokens tokens_to_route(const torch::Tensor& embedded, const torch::Tensor& mask,
                               const torch::Tensor& offsets) const;

  T5Config config_;
};
TORCH_MODULE(Encoder);

class DecoderImpl : public torch::nn::Module {
 public:
  explicit DecoderImpl(const T5Config& config);
  void reset_parameters();
  /// embedded [B, T, embedding width], memory [B, S, memory width], memory_mask [B, S] bool or
  /// undefined -> [B, T, output width]. Position t sees positions up to t, of its own example where
  /// there are offsets. `mask` [B, T] bool or undefined: which of the tokens are no padding; only
  /// mixtures of experts ask, since no token sees a later one.
  torch::Tensor forward(const torch::Tensor& embedded, const torch::Tensor& memory,
                        const torch::Tensor& memory_mask, const SequenceOffsets& offsets = {},
                        const torch::Tensor& mask = {});
  /// The same for the tokens that follow the cached ones, [B·n, T, …] for n rows an input; `memory`
  /// and `memory_mask` are read at the first call only.
  torch::Tensor cached_forward(const torch::Tensor& embedded, const torch::Tensor& memory,
                               const torch::Tensor& memory_mask, KvCache& cache);

  torch::nn::ModuleList layers;
  torch::nn::ModuleList altup;  ///< AltUpUpdate of each layer; empty where K = 1
  RelativeBias relative_bias{nullptr};
  RmsNorm final_norm{nullptr};
  bool checkpoint_activations = false;  ///< recompute each layer in the backward pass
  StackWatch watch;                     ///< may be empty
  StackRouting routing;                 ///< of the last forward pass

 private:
  /// Layer i of [B, T, d].
  using RunDecoderLayer = std::function<torch::Tensor(int64_t i, const torch::Tensor& x)>;
  torch::Tensor run(const torch::Tensor& embedded, const RunDecoderLayer& layer_of);

  T5Config config_;
};
TORCH_MODULE(Decoder);

}  // namespace altup
