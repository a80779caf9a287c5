#include "altup/models/model_size.h"

#include "altup/models/t5.h"

namespace altup {

ParameterCount count_parameters(const T5Config& config) {
  const T5 model(config, /*initialise=*/false);
  ParameterCount count;
  for (const auto& item : model->named_parameters()) {
    const int64_t numel = item.value().numel();
    count.total += numel;
    if (item.key() == "shared.weight" || item.key() == "lm_head.weight") count.embedding += numel;
    if (item.key().ends_with("_coefs")) count.altup += numel;
  }
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
  const auto attention = [&](double queries, double keys) {
    return 2 * queries * keys * inner;
  };  // scores and context
  // Multiply-adds of each layer's products; the elementwise work and the K^2 + K of AltUp are left
  // out as in MFU.
  const double encoder_layer = s * (4 * d * inner + feed_forward) + attention(s, s);
  const double decoder_layer = t * (4 * d * inner + 2 * d * inner + feed_forward) +
                               2 * s * memory * inner + attention(t, t) + attention(t, s);
  const double head = t * static_cast<double>(config.output_width() * config.vocab_size);
  const double forward =
      2 * (static_cast<double>(config.num_encoder_layers) * encoder_layer +
           static_cast<double>(config.num_decoder_layers) * decoder_layer + head);
  return {.forward_backward = 3 * forward, .tokens = input_length + target_length};
}

}  // namespace altup
