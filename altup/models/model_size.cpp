#include "altup/models/model_size.h"

#include <algorithm>
#include <cmath>

#include "altup/models/t5.h"

namespace altup {
namespace {

// Experts that compute a token, on average.
double experts_of_a_token(const MoeConfig& moe, bool encoder) {
  if (!encoder || moe.router == Router::kSwitch) return 1.0;
  return std::min(moe.capacity_factor, static_cast<double>(moe.experts));
}

}  // namespace

ParameterCount count_parameters(const T5Config& config) {
  const T5 model(config, /*initialise=*/false);
  ParameterCount count;
  double idle = 0;
  for (const auto& item : model->named_parameters()) {
    const int64_t numel = item.value().numel();
    count.total += numel;
    if (item.key() == "shared.weight" || item.key() == "lm_head.weight") count.embedding += numel;
    if (item.key().ends_with("_coefs")) count.altup += numel;
    if (item.key().find(".experts.") != std::string::npos) {
      count.experts += numel;
      const double used = experts_of_a_token(config.moe, item.key().starts_with("encoder."));
      idle += static_cast<double>(numel) * (1.0 - used / static_cast<double>(config.moe.experts));
    }
  }
  count.active = count.total - std::llround(idle);
  return count;
}

FlopCount count_flops(const T5Config& config, int64_t input_length, int64_t target_length) {
  const auto s = static_cast<double>(input_length);
  const auto t = static_cast<double>(target_length);
  const auto d = static_cast<double>(config.d_model);
  const auto inner = static_cast<double>(config.num_heads * config.d_kv);
  const auto memory = static_cast<double>(config.memory_width());
  const double feed_forward = (config.feed_forward == FeedForwardKind::kGatedGelu ? 3 : 2) * d *
                              static_cast<double>(config.d_ff);
  // Of all layers of a stack, a token: the mixtures' experts that it has, and their routers.
  const auto feed_forwards = [&](int64_t layers, bool encoder) {
    const auto mixtures = static_cast<double>(config.num_mixtures(layers));
    return (static_cast<double>(layers) - mixtures) * feed_forward +
           mixtures * (experts_of_a_token(config.moe, encoder) * feed_forward +
                       d * static_cast<double>(config.moe.experts));
  };
  const auto attention = [&](double queries, double keys) {
    return 2 * queries * keys * inner;
  };  // scores and context
  // Multiply-adds of each layer's products; the elementwise work and the K^2 + K of AltUp are left
  // out as in MFU.
  const double encoder_layer = s * 4 * d * inner + attention(s, s);
  const double decoder_layer = t * (4 * d * inner + 2 * d * inner) + 2 * s * memory * inner +
                               attention(t, t) + attention(t, s);
  const double head = t * static_cast<double>(config.output_width() * config.vocab_size);
  const double forward =
      2 * (static_cast<double>(config.num_encoder_layers) * encoder_layer +
           s * feed_forwards(config.num_encoder_layers, /*encoder=*/true) +
           static_cast<double>(config.num_decoder_layers) * decoder_layer +
           t * feed_forwards(config.num_decoder_layers, /*encoder=*/false) + head);
  return {.forward_backward = 3 * forward, .tokens = input_length + target_length};
}

}  // namespace altup
