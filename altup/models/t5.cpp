#include "altup/models/t5.h"

#include <cmath>
#include <unordered_map>

#include "altup/modules/initialisation.h"
#include "altup/modules/sequence_altup.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

T5Impl::T5Impl(const T5Config& config, bool initialise) : config_(config) {
  config_.validate();
  const int64_t width = config_.embedding_width();
  shared = register_module(
      "shared", torch::nn::Embedding(torch::nn::EmbeddingOptions(config_.vocab_size, width)
                                         ._weight(torch::empty({config_.vocab_size, width}))));
  encoder = register_module("encoder", Encoder(config_));
  decoder = register_module("decoder", Decoder(config_));
  if (!config_.tie_embeddings) {
    lm_head = register_module("lm_head", Linear(config_.output_width(), config_.vocab_size));
  }
  if (initialise) reset_parameters();
}

void T5Impl::reset_parameters() {
  // Sum adds K embeddings: each is drawn smaller, so that the sum has a standard deviation of 1 as
  // elsewhere.
  const bool summed = config_.altup.variant == Variant::kSum;
  draw_normal(shared->weight,
              summed ? 1.0 / std::sqrt(static_cast<double>(config_.altup.blocks)) : 1.0,
              config_.d_model);
  {
    const RandomBranch branch;
    encoder->reset_parameters();
  }
  {
    const RandomBranch branch;
    decoder->reset_parameters();
  }
  if (!lm_head.is_empty()) {
    draw_normal(lm_head->weight, 1.0 / std::sqrt(static_cast<double>(config_.output_width())),
                config_.d_model);
  }
}

torch::Tensor T5Impl::encode(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                             const torch::Tensor& input_offsets) {
  return encoder->forward(shared(input_ids), input_mask, input_offsets);
}

torch::Tensor T5Impl::decode(const torch::Tensor& decoder_input_ids, const torch::Tensor& memory,
                             const torch::Tensor& input_mask, KvCache* cache) {
  const auto embedded = shared(decoder_input_ids);
  if (cache == nullptr) return decoder->forward(embedded, memory, memory_mask(input_mask));
  const auto mask = cache->length() == 0 ? memory_mask(input_mask) : torch::Tensor();
  return decoder->cached_forward(embedded, memory, mask, *cache);
}

// What the decoder sees of the encoder: with average pooling, means of the inputs' positions.
torch::Tensor T5Impl::memory_mask(const torch::Tensor& input_mask) const {
  return config_.pools_memory() ? pooled_mask(input_mask, config_.altup.stride) : input_mask;
}

SequenceOffsets T5Impl::memory_offsets(const SequenceOffsets& offsets) const {
  if (!config_.pools_memory() || !offsets.inputs.defined()) return offsets;
  return {strided_offsets(offsets.inputs, config_.altup.stride), offsets.targets};
}

// Teacher-forced, before the head.
torch::Tensor T5Impl::decode_all(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                                 const torch::Tensor& decoder_input_ids,
                                 const SequenceOffsets& offsets, const torch::Tensor& mask) {
  const auto memory = encode(input_ids, input_mask, offsets.inputs);
  return decoder->forward(shared(decoder_input_ids), memory, memory_mask(input_mask),
                          memory_offsets(offsets), mask);
}

// A tied head scales what it reads by its width^-1/2.
torch::Tensor T5Impl::head_input(const torch::Tensor& decoded) const {
  if (!lm_head.is_empty()) return decoded;
  return decoded * (1.0 / std::sqrt(static_cast<double>(config_.output_width())));
}

const torch::Tensor& T5Impl::head_weight() const {
  return lm_head.is_empty() ? shared->weight : lm_head->weight;
}

torch::Tensor T5Impl::logits(const torch::Tensor& decoded) {
  return project(head_input(decoded), head_weight(), int8_head_);
}

LinearCrossEntropy T5Impl::loss(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                                const torch::Tensor& decoder_input_ids,
                                const torch::Tensor& targets, const torch::Tensor& weights,
                                const CrossEntropyOptions& options,
                                const SequenceOffsets& offsets) {
  torch::Tensor mask;  // nothing of an unpadded batch is padding
  if (!offsets.targets.defined()) mask = weights.view(decoder_input_ids.sizes()) > 0;
  const auto decoded = decode_all(input_ids, input_mask, decoder_input_ids, offsets, mask);
  auto result = linear_cross_entropy(head_input(decoded).flatten(0, 1), head_weight(), targets,
                                     weights, options);
  const auto routing_loss = collect_routing();
  if (routing_loss.defined()) result.loss = result.loss + routing_loss * weights.sum();
  return result;
}

// Takes from the stacks what their mixtures left: the sum of the losses, undefined without mixtures
// or outside training.
torch::Tensor T5Impl::collect_routing() {
  torch::Tensor loss;
  std::vector<torch::Tensor> statistics;
  for (auto* routing : {&encoder->routing, &decoder->routing}) {
    if (!routing->loss.defined()) continue;
    loss = loss.defined() ? loss + routing->loss : routing->loss;
    statistics.insert(statistics.end(), routing->statistics.begin(), routing->statistics.end());
    *routing = {};  // and with it the graph
  }
  routing_statistics_ = statistics.empty() ? torch::Tensor() : torch::stack(statistics).nanmean(0);
  return loss;
}

torch::Tensor T5Impl::forward(const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                              const torch::Tensor& decoder_input_ids,
                              const SequenceOffsets& offsets) {
  const auto decoded = decode_all(input_ids, input_mask, decoder_input_ids, offsets);
  collect_routing();  // lets go of its graph
  return logits(decoded);
}

void T5Impl::quantise() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<LinearImpl>()) linear->quantise();
    if (auto* experts = module->as<ExpertsImpl>()) experts->quantise();
  }
  int8_head_ = altup::quantise(head_weight());
}

void T5Impl::set_activation_checkpointing(bool enabled) {
  encoder->checkpoint_activations = enabled;
  decoder->checkpoint_activations = enabled;
}

NamedTensors named_parameters(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace_back(item.key(), item.value());
  return tensors;
}

void load_parameters(torch::nn::Module& module, const NamedTensors& tensors,
                     const std::string& path) {
  torch::NoGradGuard no_grad;
  std::unordered_map<std::string, torch::Tensor> given(tensors.begin(), tensors.end());
  for (const auto& item : module.named_parameters()) {
    const auto found = given.find(item.key());
    if (found == given.end())
      throw UserError(path, str("has no tensor \"", item.key(), "\", which the model needs"));
    if (found->second.sizes() != item.value().sizes()) {
      throw UserError(
          path, altup::str("tensor \"", item.key(), "\" has the shape ", found->second.sizes(),
                           "; the model expects ", item.value().sizes()));
    }
    item.value().copy_(found->second);
    given.erase(found);
  }
  if (!given.empty()) {
    throw UserError(path,
                    str("holds \"", given.begin()->first, "\", which the model does not know (",
                        given.size(), " such tensors)"));
  }
}

torch::Tensor shift_right(const torch::Tensor& target_ids) {
  auto shifted = torch::zeros_like(target_ids);
  const int64_t length = target_ids.size(1);
  if (length > 1) shifted.narrow(1, 1, length - 1).copy_(target_ids.narrow(1, 0, length - 1));
  return shifted;
}

}  // namespace altup
