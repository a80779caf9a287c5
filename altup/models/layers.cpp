#include "altup/models/layers.h"

namespace altup {
namespace {

Attention make_attention(const T5Config& config, int64_t memory_width) {
  return Attention(AttentionConfig{.d_model = config.d_model,
                                   .memory_width = memory_width,
                                   .d_kv = config.d_kv,
                                   .num_heads = config.num_heads,
                                   .dropout = config.dropout});
}

FeedForward make_feed_forward(const T5Config& config) {
  return FeedForward(
      FeedForwardConfig{.d_model = config.d_model,
                        .d_ff = config.d_ff,
                        .gated_gelu = config.feed_forward == FeedForwardKind::kGatedGelu,
                        .dropout = config.dropout});
}

// Where an expert compares the tokens that want it, a token's output tells of later ones: not for a
// decoder.
MixtureOfExperts make_mixture(const T5Config& config, bool may_compare_tokens) {
  const auto& moe = config.moe;
  return MixtureOfExperts(
      MixtureConfig{.d_model = config.d_model,
                    .d_ff = config.d_ff,
                    .gated_gelu = config.feed_forward == FeedForwardKind::kGatedGelu,
                    .dropout = config.dropout,
                    .experts = moe.experts,
                    .expert_choice = may_compare_tokens && moe.router == Router::kExpertChoice,
                    .capacity_factor = moe.capacity_factor,
                    .batch_prioritised = may_compare_tokens && moe.batch_prioritised,
                    .load_balance_loss = moe.load_balance_loss,
                    .router_z_loss = moe.router_z_loss,
                    .jitter = moe.jitter});
}

RmsNorm make_norm(const T5Config& config) {
  return RmsNorm(config.d_model, config.norm_epsilon);
}

}  // namespace

torch::Tensor apply_dropout(const torch::Tensor& x, double rate, bool training) {
  return training && rate > 0 ? torch::dropout(x, rate, true) : x;
}

EncoderLayerImpl::EncoderLayerImpl(const T5Config& config, bool with_mixture)
    : dropout_(config.dropout) {
  self_attention_norm = register_module("self_attention_norm", make_norm(config));
  self_attention = register_module("self_attention", make_attention(config, config.d_model));
  feed_forward_norm = register_module("feed_forward_norm", make_norm(config));
  if (with_mixture) {
    mixture = register_module("feed_forward", make_mixture(config, /*may_compare_tokens=*/true));
  } else {
    feed_forward = register_module("feed_forward", make_feed_forward(config));
  }
}

void EncoderLayerImpl::reset_parameters() {
  self_attention_norm->reset_parameters();
  self_attention->reset_parameters();
  feed_forward_norm->reset_parameters();
  mixture.is_empty() ? feed_forward->reset_parameters() : mixture->reset_parameters();
}

torch::Tensor EncoderLayerImpl::forward(const torch::Tensor& x, const AttentionOptions& attention,
                                        const RoutedTokens& tokens, Routing* routing) {
  const auto attended = self_attention->self_attention(self_attention_norm(x), attention);
  const auto [middle, normed] =
      feed_forward_norm->add(x, apply_dropout(attended, dropout_, is_training()));
  const auto computed =
      mixture.is_empty() ? feed_forward(normed) : mixture->forward(normed, tokens, routing);
  return middle + apply_dropout(computed, dropout_, is_training());
}

DecoderLayerImpl::DecoderLayerImpl(const T5Config& config, bool with_mixture)
    : dropout_(config.dropout) {
  self_attention_norm = register_module("self_attention_norm", make_norm(config));
  self_attention = register_module("self_attention", make_attention(config, config.d_model));
  cross_attention_norm = register_module("cross_attention_norm", make_norm(config));
  cross_attention =
      register_module("cross_attention", make_attention(config, config.memory_width()));
  feed_forward_norm = register_module("feed_forward_norm", make_norm(config));
  if (with_mixture) {
    mixture = register_module("feed_forward", make_mixture(config, /*may_compare_tokens=*/false));
  } else {
    feed_forward = register_module("feed_forward", make_feed_forward(config));
  }
}

void DecoderLayerImpl::reset_parameters() {
  self_attention_norm->reset_parameters();
  self_attention->reset_parameters();
  cross_attention_norm->reset_parameters();
  cross_attention->reset_parameters();
  feed_forward_norm->reset_parameters();
  mixture.is_empty() ? feed_forward->reset_parameters() : mixture->reset_parameters();
}

template <typename ToItself, typename ToMemory>
torch::Tensor DecoderLayerImpl::run(const torch::Tensor& x, const ToItself& to_itself,
                                    const ToMemory& to_memory, const RoutedTokens& tokens,
                                    Routing* routing) {
  const auto attended = to_itself(self_attention_norm(x));
  const auto [after_self, to_cross] =
      cross_attention_norm->add(x, apply_dropout(attended, dropout_, is_training()));
  const auto [after_cross, to_feed_forward] = feed_forward_norm->add(
      after_self, apply_dropout(to_memory(to_cross), dropout_, is_training()));
  const auto computed = mixture.is_empty() ? feed_forward(to_feed_forward)
                                           : mixture->forward(to_feed_forward, tokens, routing);
  return after_cross + apply_dropout(computed, dropout_, is_training());
}

torch::Tensor DecoderLayerImpl::forward(const torch::Tensor& x, const AttentionOptions& to_itself,
                                        const torch::Tensor& memory,
                                        const AttentionOptions& to_memory,
                                        const RoutedTokens& tokens, Routing* routing) {
  return run(
      x, [&](const torch::Tensor& in) { return self_attention->self_attention(in, to_itself); },
      [&](const torch::Tensor& in) {
        return cross_attention->cross_attention(in, memory, to_memory);
      },
      tokens, routing);
}

torch::Tensor DecoderLayerImpl::cached_forward(const torch::Tensor& x,
                                               const torch::Tensor& self_bias,
                                               const torch::Tensor& memory,
                                               const torch::Tensor& memory_bias,
                                               LayerCache& cache) {
  return run(
      x,
      [&](const torch::Tensor& in) {
        return self_attention->cached_self_attention(in, self_bias, cache.self);
      },
      [&](const torch::Tensor& in) {
        return cross_attention->cached_cross_attention(in, memory, memory_bias, cache.cross);
      },
      {}, nullptr);
}

}  // namespace altup
