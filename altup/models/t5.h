// The encoder-decoder, dense or widened, as one module: T5 1.1 (Raffel et al. 2020; Shazeer 2020)
// with the AltUp variants of T5Config. The names of the registered parameters are the names in a
// checkpoint.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "altup/models/stacks.h"
#include "altup/models/t5_config.h"
#include "altup/ops/ops.h"
#include "altup/util/named_tensors.h"

namespace altup {

class T5Impl : public torch::nn::Module {
 public:
  /// Without `initialise` the weights are left unset, for a model whose weights are loaded or only counted.
  explicit T5Impl(const T5Config& config, bool initialise = true);
  /// Normal initialisation with the standard deviations of T5 1.1; the head d^-1/2, so that the
  /// first loss is near ln V.
  void reset_parameters();

  /// Teacher-forced logits. input_ids [B, S] int64; input_mask [B, S] bool, true where a token is
  /// real, or undefined; a shortened encoder wants the real ones of a row together, padding on either
  /// side. decoder_input_ids [B, T] int64, the targets shifted right behind a pad -> [B, T, vocab_size].
  /// Each of them counts as real, which matters to mixtures of experts in training: loss() knows which
  /// are padding, and adds what routing costs. With the offsets of an unpadded batch (see
  /// SequenceOffsets), B is 1, S and T are the tokens of all examples, and there is no mask; the logits
  /// are those of the padded batch.
  torch::Tensor forward(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                        const torch::Tensor& decoder_input_ids,
                        const SequenceOffsets& offsets = {});
  /// -> [B, S, memory width]; with average pooling [B, ⌈S / stride⌉, memory width].
  torch::Tensor encode(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                       const torch::Tensor& input_offsets = {});
  /// -> [B, T, output width]; with a cache the ids are those after the cached ones, and `memory` and
  /// `input_mask`, that of the input_ids [B, S], are read at the first call only. Where the cache has
  /// been given n rows an input, decoder_input_ids is [B·n, T].
  torch::Tensor decode(const torch::Tensor& decoder_input_ids, const torch::Tensor& memory,
                       const torch::Tensor& input_mask, KvCache* cache = nullptr);
  /// [..., output width] -> [..., vocab_size]
  torch::Tensor logits(const torch::Tensor& decoded);
  /// Teacher-forced loss, summed over tokens; the logits of all tokens are never in memory at once.
  /// Ids, mask and offsets as in forward(); targets and weights [B·T], 0 where a token is padding.
  /// See linear_cross_entropy(). In training with mixtures of experts, `loss` has their routing
  /// losses added, times the sum of the weights: like the rest, it is a sum over target tokens.
  LinearCrossEntropy loss(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                          const torch::Tensor& decoder_input_ids, const torch::Tensor& targets,
                          const torch::Tensor& weights, const CrossEntropyOptions& options,
                          const SequenceOffsets& offsets = {});

  /// Of the last loss() in training: each of kRoutingStatistics, the mean over the mixtures of which
  /// it is known (else NaN), fp32 without a gradient; undefined without mixtures.
  torch::Tensor routing_statistics() const { return routing_statistics_; }

  const T5Config& config() const { return config_; }
  /// From now on products in c10::InferenceMode read int8 copies of the weights, made now. CPU only.
  void quantise();
  /// Recompute every layer in the backward pass.
  void set_activation_checkpointing(bool enabled);

  torch::nn::Embedding shared{nullptr};
  Encoder encoder{nullptr};
  Decoder decoder{nullptr};
  Linear lm_head{nullptr};  ///< empty where the embeddings are tied

 private:
  torch::Tensor decode_all(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                           const torch::Tensor& decoder_input_ids, const SequenceOffsets& offsets,
                           const torch::Tensor& mask = {});
  torch::Tensor head_input(const torch::Tensor& decoded) const;
  torch::Tensor memory_mask(const torch::Tensor& input_mask) const;
  SequenceOffsets memory_offsets(const SequenceOffsets& offsets) const;
  const torch::Tensor& head_weight() const;
  torch::Tensor collect_routing();

  T5Config config_;
  Int8Weight int8_head_;
  torch::Tensor routing_statistics_;
};
TORCH_MODULE(T5);

/// Parameters by name, in the order of registration.
NamedTensors named_parameters(const torch::nn::Module& module);
/// Copies by name. Strict: UserError that starts with `path` where a parameter is missing, unknown,
/// or of another shape.
void load_parameters(torch::nn::Module& module, const NamedTensors& tensors,
                     const std::string& path);

/// decoder_input_ids of `target_ids` [B, T]: shifted right by one, pad (0) in front.
torch::Tensor shift_right(const torch::Tensor& target_ids);

}  // namespace altup
