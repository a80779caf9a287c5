#include "altup/models/hugging_face_names.h"

#include "altup/util/text.h"

namespace altup::hugging_face {
namespace {

using NamePairs = std::vector<std::pair<std::string, std::string>>;

void add_attention(const std::string& theirs, const std::string& ours, NamePairs& pairs) {
  for (const char* projection : {"q", "k", "v", "o"}) {
    pairs.emplace_back(str(theirs, ".", projection, ".weight"),
                       str(ours, ".", projection, ".weight"));
  }
}

// One stack; the decoder has a cross-attention between the other two sub-layers.
void add_stack(const std::string& stack, bool is_decoder, int64_t num_layers,
               FeedForwardKind feed_forward, NamePairs& pairs) {
  pairs.emplace_back(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                     stack + ".relative_bias.weight");
  for (int64_t i = 0; i < num_layers; ++i) {
    const auto theirs = str(stack, ".block.", i, ".layer.");
    const auto ours = str(stack, ".layers.", i, ".");
    add_attention(theirs + "0.SelfAttention", ours + "self_attention", pairs);
    pairs.emplace_back(theirs + "0.layer_norm.weight", ours + "self_attention_norm.weight");
    if (is_decoder) {
      add_attention(theirs + "1.EncDecAttention", ours + "cross_attention", pairs);
      pairs.emplace_back(theirs + "1.layer_norm.weight", ours + "cross_attention_norm.weight");
    }
    const auto last = theirs + (is_decoder ? "2." : "1.");
    const auto names = feed_forward == FeedForwardKind::kGatedGelu
                           ? std::vector<std::string>{"wi_0", "wi_1", "wo"}
                           : std::vector<std::string>{"wi", "wo"};
    for (const auto& name : names) {
      pairs.emplace_back(str(last, "DenseReluDense.", name, ".weight"),
                         str(ours, "feed_forward.", name, ".weight"));
    }
    pairs.emplace_back(last + "layer_norm.weight", ours + "feed_forward_norm.weight");
  }
  pairs.emplace_back(stack + ".final_layer_norm.weight", stack + ".final_norm.weight");
}

}  // namespace

NamePairs name_pairs(const T5Config& config) {
  NamePairs pairs = {{kEmbedding, "shared.weight"}};
  add_stack("encoder", false, config.num_encoder_layers, config.feed_forward, pairs);
  add_stack("decoder", true, config.num_decoder_layers, config.feed_forward, pairs);
  return pairs;
}

bool is_our_name(const std::string& name) {
  return name.starts_with("encoder.altup.") || name.starts_with("decoder.altup.");
}

}  // namespace altup::hugging_face
