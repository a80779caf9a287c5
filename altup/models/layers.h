// The T5 layers: pre-normed sub-layers with residuals, the last of them a feed-forward or a mixture
// of experts. They know nothing of AltUp, which stands beside them.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "altup/models/t5_config.h"
#include "altup/modules/attention.h"
#include "altup/modules/feed_forward.h"
#include "altup/modules/mixture_of_experts.h"
#include "altup/modules/rms_norm.h"

namespace altup {

class EncoderLayerImpl : public torch::nn::Module {
 public:
  explicit EncoderLayerImpl(const T5Config& config, bool with_mixture = false);
  void reset_parameters();
  /// x [B, S, d] -> [B, S, d]. A mixture routes `tokens` and fills `routing`, see MixtureOfExperts.
  torch::Tensor forward(const torch::Tensor& x, const AttentionOptions& attention,
                        const RoutedTokens& tokens = {}, Routing* routing = nullptr);

  RmsNorm self_attention_norm{nullptr};
  Attention self_attention{nullptr};
  RmsNorm feed_forward_norm{nullptr};
  FeedForward feed_forward{nullptr};  ///< empty where there is a mixture
  MixtureOfExperts mixture{nullptr};  ///< registered as feed_forward; empty where there is none

 private:
  double dropout_;
};
TORCH_MODULE(EncoderLayer);

class DecoderLayerImpl : public torch::nn::Module {
 public:
  explicit DecoderLayerImpl(const T5Config& config, bool with_mixture = false);
  void reset_parameters();
  /// x [B, T, d], memory [B, S, memory width] -> [B, T, d]. Mixtures as in EncoderLayer.
  torch::Tensor forward(const torch::Tensor& x, const AttentionOptions& to_itself,
                        const torch::Tensor& memory, const AttentionOptions& to_memory,
                        const RoutedTokens& tokens = {}, Routing* routing = nullptr);
  /// x [B·n, T, d], the tokens after the cached ones; self_bias [1, H, T, past + T], memory [B, S,
  /// memory width], memory_bias [B, S] or undefined -> [B·n, T, d]
  torch::Tensor cached_forward(const torch::Tensor& x, const torch::Tensor& self_bias,
                               const torch::Tensor& memory, const torch::Tensor& memory_bias,
                               LayerCache& cache);

  RmsNorm self_attention_norm{nullptr};
  Attention self_attention{nullptr};
  RmsNorm cross_attention_norm{nullptr};
  Attention cross_attention{nullptr};
  RmsNorm feed_forward_norm{nullptr};
  FeedForward feed_forward{nullptr};  ///< empty where there is a mixture
  MixtureOfExperts mixture{nullptr};  ///< registered as feed_forward; empty where there is none

 private:
  /// The sub-layers around self- and cross-attention, each a function of its normed input.
  template <typename ToItself, typename ToMemory>
  torch::Tensor run(const torch::Tensor& x, const ToItself& to_itself, const ToMemory& to_memory,
                    const RoutedTokens& tokens, Routing* routing);

  double dropout_;
};
TORCH_MODULE(DecoderLayer);

/// Dropout that is the identity outside training and at rate 0.
torch::Tensor apply_dropout(const torch::Tensor& x, double rate, bool training);

}  // namespace altup
