#include "altup/models/stacks.h"

#include <algorithm>
#include <cmath>

#include "altup/models/block_ends.h"
#include "altup/modules/activation_checkpoint.h"
#include "altup/modules/initialisation.h"
#include "altup/modules/sequence_altup.h"

namespace altup {
namespace {

torch::nn::ModuleList make_updates(const T5Config& config, int64_t num_layers) {
  torch::nn::ModuleList updates;
  if (config.num_blocks() == 1) return updates;
  for (int64_t i = 0; i < num_layers; ++i) {
    updates->push_back(
        AltUpUpdate(AltUpUpdateConfig{.num_blocks = config.num_blocks(),
                                      .active_block = config.active_block(i),
                                      .only_active = config.altup.init == CoefficientInit::kActive,
                                      .of_token = config.altup.coefficients == Coefficients::kToken,
                                      .d_model = config.d_model,
                                      .norm_epsilon = config.norm_epsilon}));
  }
  return updates;
}

torch::nn::ModuleList make_encoder_updates(const T5Config& config) {
  if (config.altup.variant != Variant::kSequence) {
    return make_updates(config, config.num_encoder_layers);
  }
  torch::nn::ModuleList updates;
  for (int64_t i = 0; i < config.num_encoder_layers; ++i) {
    if (config.strides_layer(i)) updates->push_back(SequenceUpdate());
  }
  return updates;
}

RelativeBias make_relative_bias(const T5Config& config, bool bidirectional) {
  return RelativeBias(RelativeBiasConfig{.num_heads = config.num_heads,
                                         .buckets = config.relative_buckets,
                                         .max_distance = config.relative_max_distance,
                                         .bidirectional = bidirectional});
}

std::string layer_name(int64_t index) {
  return "layers." + std::to_string(index);
}

double bias_deviation(const T5Config& config) {
  return 1.0 / std::sqrt(static_cast<double>(config.d_model));
}

// Bias of the one token that follows the cached ones, [1, H, 1, past + 1]. Made for twice as many
// tokens as are needed: it depends on distances alone, so that a query further on sees more of it.
torch::Tensor newest_bias(RelativeBias& relative_bias, KvCache& cache) {
  const int64_t needed = cache.length() + 1;
  if (!cache.newest_bias.defined() || cache.newest_bias.size(3) < needed) {
    const int64_t capacity = std::max<int64_t>({2 * needed, cache.expected_length, 16});
    cache.newest_bias = relative_bias(1, capacity, capacity - 1).contiguous();
  }
  return cache.newest_bias.narrow(3, cache.newest_bias.size(3) - needed, needed);
}

// How the tokens [B, T, ..] of a stack attend to each other; mask [B, T] bool or undefined, offsets
// of an unpadded batch or undefined. They stand `stride` positions apart.
AttentionOptions self_attention_options(RelativeBias& relative_bias, const torch::Tensor& tokens,
                                        const torch::Tensor& mask, const torch::Tensor& offsets,
                                        bool causal, int64_t stride = 1) {
  const int64_t length = offsets.defined() ? offsets.diff().max().item<int64_t>() : tokens.size(1);
  AttentionOptions options;
  options.query_offsets = options.key_offsets = offsets;
  options.zero_distance = length - 1;
  options.relative_bias =
      relative_bias->by_distance(1 - length, 2 * length - 1, stride);  // [H, 2 S - 1]
  options.causal = causal;
  if (mask.defined()) options.key_bias = mask_to_bias(mask, options.relative_bias.scalar_type());
  return options;
}

AttentionOptions with_bias(AttentionOptions options, const torch::Tensor& relative_bias) {
  options.relative_bias = relative_bias;
  return options;
}

// What a layer gives back, also when it is computed again: its output and, of a mixture in training,
// the loss and the statistics of the routing.
std::vector<torch::Tensor> with_routing(const torch::Tensor& output, const Routing& routing) {
  if (!routing.loss.defined()) return {output};
  return {output, routing.loss, routing.statistics};
}

torch::Tensor without_routing(const std::vector<torch::Tensor>& outputs, StackRouting& routing) {
  if (outputs.size() > 1) {
    routing.loss = routing.loss.defined() ? routing.loss + outputs[1] : outputs[1];
    routing.statistics.push_back(outputs[2].detach());
  }
  return outputs[0];
}

// One layer over the state [K, B, T, d]: the layer computes one block, the update moves all of
// them.
torch::Tensor run_layer(torch::nn::ModuleList& updates, int64_t index, const torch::Tensor& state,
                        const std::function<torch::Tensor(const torch::Tensor&)>& layer) {
  if (state.size(0) == 1) return layer(state.squeeze(0)).unsqueeze(0);
  auto& update = updates->at<AltUpUpdateImpl>(static_cast<size_t>(index));
  const auto [whole, active] = update.open(state);
  return update.forward(whole, layer(active));
}

// One layer of which only some positions are computed, over the state [1, B, S, d]: the others follow
// them or, without updates, stay as they are.
torch::Tensor run_strided_layer(torch::nn::ModuleList& updates, int64_t index,
                                const torch::Tensor& state, const StridedPositions& positions,
                                const std::function<torch::Tensor(const torch::Tensor&)>& layer) {
  const auto x = state.squeeze(0);
  const auto computed = layer(take_strided(x, positions));  // [B, S', d]
  if (updates->is_empty()) return put_strided(x, computed, positions).unsqueeze(0);
  auto& update = updates->at<SequenceUpdateImpl>(static_cast<size_t>(index - 1));
  return update.forward(x, computed, positions).unsqueeze(0);
}

void reset_updates(torch::nn::ModuleList& updates) {
  for (const auto& update : *updates) {
    if (auto* along = update->as<SequenceUpdateImpl>(); along != nullptr) {
      along->reset_parameters();
    } else {
      update->as<AltUpUpdateImpl>()->reset_parameters();
    }
  }
}

}  // namespace

EncoderImpl::EncoderImpl(const T5Config& config) : config_(config) {
  relative_bias =
      register_module("relative_bias", make_relative_bias(config, /*bidirectional=*/true));
  layers = register_module("layers", torch::nn::ModuleList());
  for (int64_t i = 0; i < config.num_encoder_layers; ++i) {
    layers->push_back(EncoderLayer(config, config.has_mixture(i)));
  }
  altup = register_module("altup", make_encoder_updates(config));
  final_norm = register_module("final_norm", RmsNorm(config.memory_width(), config.norm_epsilon));
}

void EncoderImpl::reset_parameters() {
  relative_bias->reset_parameters(bias_deviation(config_));
  for (const auto& layer : *layers) {
    const RandomBranch branch;
    layer->as<EncoderLayerImpl>()->reset_parameters();
  }
  reset_updates(altup);
  final_norm->reset_parameters();
}

// What the mixtures route; nothing where there are none.
RoutedTokens EncoderImpl::tokens_to_route(const torch::Tensor& embedded, const torch::Tensor& mask,
                                          const torch::Tensor& offsets) const {
  if (config_.num_mixtures(config_.num_encoder_layers) == 0) return {};
  auto tokens = routed_tokens(mask);
  if (config_.moe.router == Router::kExpertChoice) {
    torch::Tensor lengths;  // of the sequences
    if (offsets.defined()) {
      lengths = offsets.diff().to(embedded.device());
    } else if (mask.defined()) {
      lengths = mask.sum(1);
    } else {
      lengths = torch::full({embedded.size(0)}, embedded.size(1),
                            embedded.options().dtype(torch::kInt64));
    }
    let_experts_choose(tokens, lengths, config_.moe.experts, config_.moe.capacity_factor);
  }
  return tokens;
}

LayerPositions EncoderImpl::layer_positions(const torch::Tensor& positions,
                                            const torch::Tensor& mask, const torch::Tensor& offsets,
                                            int64_t stride) {
  return {self_attention_options(relative_bias, positions, mask, offsets, /*causal=*/false, stride),
          tokens_to_route(positions, mask, offsets)};
}

torch::Tensor EncoderImpl::compute_layer(int64_t index, const torch::Tensor& x,
                                         const LayerPositions& positions) {
  auto* layer = &layers->at<EncoderLayerImpl>(static_cast<size_t>(index));
  const auto compute = [layer, positions](const std::vector<torch::Tensor>& in) {
    Routing routed;
    const auto output =
        layer->forward(in[0], with_bias(positions.attention, in[1]), positions.tokens, &routed);
    return with_routing(output, routed);
  };
  const std::vector<torch::Tensor> in = {x, positions.attention.relative_bias};
  return without_routing(checkpoint_activations ? checkpoint_activation(compute, in) : compute(in),
                         routing);
}

torch::Tensor EncoderImpl::forward(const torch::Tensor& embedded, const torch::Tensor& mask,
                                   const torch::Tensor& offsets) {
  const auto all = layer_positions(embedded, mask, offsets, 1);
  StridedPositions strided;
  LayerPositions few;  // with average pooling, all there are from the second layer on
  if (config_.shortens_layers()) {
    const int64_t stride = config_.altup.stride;
    strided = strided_positions(embedded, mask, offsets, stride);
    const auto few_mask = config_.pools_memory() ? pooled_mask(mask, stride) : strided.mask;
    few = layer_positions(strided.places, few_mask, strided.offsets, stride);
  }
  routing = {};
  auto state = enter_blocks(apply_dropout(embedded, config_.dropout, is_training()),
                            config_);  // [K, B, S, d]
  for (int64_t i = 0; i < config_.num_encoder_layers; ++i) {
    const bool computes_few = config_.strides_layer(i) || (config_.pools_memory() && i > 0);
    const auto layer = [&](const torch::Tensor& x) {
      return compute_layer(i, x, computes_few ? few : all);
    };
    state = config_.strides_layer(i) ? run_strided_layer(altup, i, state, strided, layer)
                                     : run_layer(altup, i, state, layer);
    if (config_.pools_memory() && i == 0) {
      state = pool_strided(state[0], mask, strided).unsqueeze(0);  // [1, B, S', d]
    }
    if (watch) watch(layer_name(i), state);
  }
  const auto memory = final_norm(leave_blocks(state, config_.memory_width() != config_.d_model));
  if (watch) watch("final_norm", memory);
  return apply_dropout(memory, config_.dropout, is_training());
}

DecoderImpl::DecoderImpl(const T5Config& config) : config_(config) {
  relative_bias =
      register_module("relative_bias", make_relative_bias(config, /*bidirectional=*/false));
  layers = register_module("layers", torch::nn::ModuleList());
  for (int64_t i = 0; i < config.num_decoder_layers; ++i) {
    layers->push_back(DecoderLayer(config, config.has_mixture(i)));
  }
  altup = register_module("altup", make_updates(config, config.num_decoder_layers));
  final_norm = register_module("final_norm", RmsNorm(config.output_width(), config.norm_epsilon));
}

void DecoderImpl::reset_parameters() {
  relative_bias->reset_parameters(bias_deviation(config_));
  for (const auto& layer : *layers) {
    const RandomBranch branch;
    layer->as<DecoderLayerImpl>()->reset_parameters();
  }
  reset_updates(altup);
  final_norm->reset_parameters();
}

torch::Tensor DecoderImpl::run(const torch::Tensor& embedded, const RunDecoderLayer& layer_of) {
  routing = {};
  auto state = enter_blocks(apply_dropout(embedded, config_.dropout, is_training()),
                            config_);  // [K, B, T, d]
  for (int64_t i = 0; i < config_.num_decoder_layers; ++i) {
    state = run_layer(altup, i, state, [&](const torch::Tensor& x) { return layer_of(i, x); });
    if (watch) watch(layer_name(i), state);
  }
  const auto output = final_norm(leave_blocks(state, config_.output_width() != config_.d_model));
  if (watch) watch("final_norm", output);
  return apply_dropout(output, config_.dropout, is_training());
}

torch::Tensor DecoderImpl::forward(const torch::Tensor& embedded, const torch::Tensor& memory,
                                   const torch::Tensor& memory_mask, const SequenceOffsets& offsets,
                                   const torch::Tensor& mask) {
  const auto to_itself =
      self_attention_options(relative_bias, embedded, {}, offsets.targets, /*causal=*/true);
  AttentionOptions to_memory;
  to_memory.query_offsets = offsets.targets;
  to_memory.key_offsets = offsets.inputs;
  if (memory_mask.defined()) {
    to_memory.key_bias = mask_to_bias(memory_mask, relative_bias->weight.scalar_type());
  }
  const RoutedTokens tokens =
      config_.num_mixtures(config_.num_decoder_layers) > 0 ? routed_tokens(mask) : RoutedTokens();
  return run(embedded, [&](int64_t i, const torch::Tensor& x) {
    auto* layer = &layers->at<DecoderLayerImpl>(static_cast<size_t>(i));
    const auto compute = [layer, to_itself, to_memory,
                          tokens](const std::vector<torch::Tensor>& in) {
      Routing routed;
      const auto output =
          layer->forward(in[0], with_bias(to_itself, in[1]), in[2], to_memory, tokens, &routed);
      return with_routing(output, routed);
    };
    const std::vector<torch::Tensor> in = {x, to_itself.relative_bias, memory};
    return without_routing(
        checkpoint_activations ? checkpoint_activation(compute, in) : compute(in), routing);
  });
}

torch::Tensor DecoderImpl::cached_forward(const torch::Tensor& embedded,
                                          const torch::Tensor& memory,
                                          const torch::Tensor& memory_mask, KvCache& cache) {
  const int64_t length = embedded.size(1);
  const int64_t past = cache.length();
  if (past == 0) {
    cache.layers.resize(static_cast<size_t>(config_.num_decoder_layers));
    for (auto& layer : cache.layers) layer.self.expected_length = cache.expected_length;
  }
  torch::Tensor self_bias;  // [1, H, T, past + T]
  if (length == 1) {        // a single new token sees all that came before it
    self_bias = newest_bias(relative_bias, cache);
  } else {
    self_bias = relative_bias(length, past + length, past);
    const auto visible =
        torch::ones({length, past + length}, self_bias.options().dtype(torch::kBool)).tril(past);
    self_bias = self_bias + mask_to_bias(visible, self_bias.scalar_type());
  }
  if (past == 0 && memory_mask.defined()) {
    cache.memory_bias = mask_to_bias(memory_mask, self_bias.scalar_type());
  }
  return run(embedded, [&](int64_t i, const torch::Tensor& x) {
    const auto index = static_cast<size_t>(i);
    return layers->at<DecoderLayerImpl>(index).cached_forward(
        x, self_bias, memory, cache.memory_bias, cache.layers[index]);
  });
}

}  // namespace altup
