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
    if (item.key().find(".altup.") != std::string::npos) count.altup += numel;
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
  // Of one layer, a token: with a mixture the experts that it has, and the router.
  const auto feed_forward_of = [&](int64_t layer, bool encoder) {
    return config.has_mixture(layer) ? experts_of_a_token(config.moe, encoder) * feed_forward +
                                           d * static_cast<double>(config.moe.experts)
                                     : feed_forward;
  };
  const auto shortened =
      static_cast<double>((input_length + config.altup.stride - 1) / config.altup.stride);
  const auto attention = [&](double queries, double keys) {
    return 2 * queries * keys * inner;
  };  // scores and context
  // Multiply-adds of each layer's products; the elementwise work and the coefficients of AltUp are
  // left out as in MFU.
  double products = t * static_cast<double>(config.output_width() * config.vocab_size);  // the head
  for (int64_t i = 0; i < config.num_encoder_layers; ++i) {
    const bool is_short = config.strides_layer(i) || (config.pools_memory() && i > 0);
    const double n = is_short ? shortened : s;
    products += n * (4 * d * inner + feed_forward_of(i, /*encoder=*/true)) + attention(n, n);
  }
  const double m = config.pools_memory() ? shortened : s;
  for (int64_t i = 0; i < config.num_decoder_layers; ++i) {
    products += t * (4 * d * inner + 2 * d * inner + feed_forward_of(i, /*encoder=*/false)) +
                2 * m * memory * inner + attention(t, t) + attention(t, m);
  }
  return {.forward_backward = 3 * 2 * products, .tokens = input_length + target_length};
}

}  // namespace altup
