// What the texts leave open: sizes, a line for each layer, and which operators a class is made of.
#include "altup/models/torchscript_source.h"

#include <c10/core/ScalarType.h>

#include <bit>
#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "altup/models/torchscript_altup.h"
#include "altup/models/torchscript_fused.h"
#include "altup/models/torchscript_text.h"
#include "altup/util/text.h"

namespace altup {
namespace {

using ScriptValues = std::map<std::string, std::string>;

// Values may hold names themselves.
std::string fill_in(std::string source, const ScriptValues& values) {
  for (auto at = source.find('$'); at != std::string::npos; at = source.find('$', at)) {
    const auto end = source.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789", at + 1);
    const auto value = values.find(source.substr(at + 1, end - at - 1));
    if (value == values.end()) throw std::logic_error("a name without a value in " + source);
    source.replace(at, end - at, value->second);
  }
  return source;
}

std::string number(double value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}

// One line for each layer over the state: [K, B, T, d], or without AltUp just [B, T, d]. `call` is
// the layer's method and what follows its first argument.
std::string layer_lines(const T5Config& config, int64_t count,
                        const std::function<std::string(int64_t)>& arguments,
                        const std::string& method) {
  std::vector<std::string> lines;
  for (int64_t i = 0; i < count; ++i) {
    const auto layer = str("self.layers.layer_", i, ".", method, "(");
    if (config.num_blocks() == 1) {
      lines.push_back(str("state = ", layer, "state, ", arguments(i), ")"));
    } else {
      const int64_t active = config.active_block(i);
      lines.push_back(str("computed = ", layer, "state[", active, "], ", arguments(i), ")"));
      lines.push_back(
          str("state = self.altup.layer_", i, ".forward(state, computed, ", active, ")"));
    }
  }
  return join(lines, "\n    ");
}

// block_ends.h in TorchScript.
std::string enter_source(const T5Config& config) {
  const auto split = str("embedded.view([embedded.size(0), embedded.size(1), ", config.altup.blocks,
                         ", ", config.d_model, "])");
  switch (config.altup.variant) {
    case Variant::kNone:
    case Variant::kSequence:
    case Variant::kStrideSkip:
    case Variant::kAveragePool:
      return "embedded";
    case Variant::kAltUp:
      return config.num_blocks() == 1 ? "embedded" : split + ".permute([2, 0, 1, 3]).contiguous()";
    case Variant::kRecycled:
      return config.num_blocks() == 1
                 ? "embedded"
                 : str("embedded.unsqueeze(0).expand([", config.altup.blocks, ", -1, -1, -1])");
    case Variant::kSum:
      return "torch.sum(" + split + ", [2])";
  }
  throw std::logic_error("unknown variant");
}

std::string leave_source(const T5Config& config, int64_t width) {
  if (config.num_blocks() == 1) return "state";
  if (width != config.d_model) return "state.permute([1, 2, 0, 3]).flatten(2)";
  return std::has_single_bit(static_cast<uint64_t>(config.num_blocks()))  // see leave_blocks()
             ? "torch.mean(state, [0])"
             : "(state[0] + torch.mean(state - state[0], [0]))";
}

// What fused_values() has otherwise: one bias of everything, heads in front of positions.
ScriptValues composed_values() {
  const std::string relative = "self.relative_bias.forward(embedded.size(1), 1)";  // [1, H, T, T]
  return {
      {"CROSS_TERMS", "memory_bias"},
      {"DECODER_BIAS", relative + " + torch.triu(torch.full([embedded.size(1), embedded.size(1)], "
                                  "$HIDDEN, device=embedded.device), 1)"},
      {"DECODER_TERMS", "bias"},
      {"ENCODER_BIAS", relative + " + (torch.logical_not(visible).type_as(embedded) * $HIDDEN)"
                                  ".unsqueeze(1).unsqueeze(1)  # [B, H, S, S]"},
      {"ENCODER_TERMS", "bias"},
      {"FEW_BIAS",
       "self.relative_bias.forward(few.size(1), $STRIDE) + "
       "(torch.logical_not(few).type_as(embedded) * $HIDDEN).unsqueeze(1).unsqueeze(1)"},
      {"MEMORY_BIAS", "(hidden * $HIDDEN).unsqueeze(1).unsqueeze(1)  # [B, 1, 1, S]"},
      {"ROW_BIAS", "row.unsqueeze(0).unsqueeze(2)  # [1, H, 1, capacity]"},
      {"STEP_TERMS", "bias"},
      {"TIME", "2"},
  };
}

ScriptValues script_values(const T5Config& config, int64_t valid_vocab) {
  const auto same = [](const std::string& arguments) {
    return [arguments](int64_t) { return arguments; };
  };
  const auto step = [](int64_t i) {
    return str("position, bias, cache[", 2 * i, "], cache[", 2 * i + 1, "], cross[", 2 * i,
               "], cross[", 2 * i + 1, "], memory_bias");
  };
  std::vector<std::string> cross;
  for (int64_t i = 0; i < config.num_decoder_layers; ++i) {
    const auto attention = str("self.layers.layer_", i, ".cross_attention.");
    cross.push_back(attention + "keys(memory).contiguous()");
    cross.push_back(attention + "values(memory).contiguous()");
  }
  const auto scale = number(1.0 / std::sqrt(static_cast<double>(config.output_width())));
  return {
      {"EPSILON", number(config.norm_epsilon)},
      {"MAX_DISTANCE", std::to_string(config.relative_max_distance)},
      {"HEADS", std::to_string(config.num_heads)},
      {"D_KV", std::to_string(config.d_kv)},
      {"HIDDEN", "-1000000000.0"},
      {"VALID_VOCAB", std::to_string(valid_vocab)},
      {"ENTER", enter_source(config)},
      {"LEAVE_ENCODER", leave_source(config, config.memory_width())},
      {"LEAVE_DECODER", leave_source(config, config.output_width())},
      {"ENCODER_LAYERS", config.shortens_layers() ? short_encoder_layers(config)
                                                  : layer_lines(config, config.num_encoder_layers,
                                                                same("bias, visible"), "forward")},
      {"MEMORY_MASK",
       config.pools_memory() ? "self.encoder.pooled(attention_mask != 0)" : "attention_mask"},
      {"FEW", config.pools_memory()
                  ? "self.pooled(visible)"
                  : "torch.logical_and(torch.gather(visible, 1, inside), places == inside)"},
      {"STRIDE", std::to_string(config.altup.stride)},
      {"FIRST_CORRECTION", config.altup.init == CoefficientInit::kActive
                               ? "(torch.arange(x.size(0), device=x.device) == active).type_as(x)"
                               : "1.0"},
      {"WIDTH", number(static_cast<double>(config.d_model))},
      {"INT64", std::to_string(static_cast<int>(c10::ScalarType::Long))},
      {"DECODER_LAYERS", layer_lines(config, config.num_decoder_layers,
                                     same("bias, memory, memory_bias"), "forward")},
      {"DECODER_STEPS", layer_lines(config, config.num_decoder_layers, step, "step")},
      {"CROSS", join(cross, ", ")},
      {"DECODED", config.tie_embeddings ? "(decoded * " + scale + ")" : "decoded"},
      {"OUTPUT_WEIGHT", config.tie_embeddings ? "self.shared.weight" : "self.lm_head.weight"},
      {"EXPERTS", std::to_string(config.moe.experts)},
      {"CAPACITY_FACTOR", number(config.moe.capacity_factor)},
      {"FLOAT64", std::to_string(static_cast<int>(c10::ScalarType::Double))},
  };
}

}  // namespace

std::map<std::string, std::string> torchscript_sources(const T5Config& config, int64_t valid_vocab,
                                                       bool fused) {
  const bool gated = config.feed_forward == FeedForwardKind::kGatedGelu;
  std::map<std::string, std::string> sources = {
      {"AltUpUpdate", kAltUpUpdate},
      {"Attention", kAttention},
      {"Decoder", kDecoder},
      {"DecoderLayer", kDecoderLayer},
      {"Embedding", kEmbedding},
      {"Encoder", config.shortens_layers() ? kShortEncoder : kEncoder},
      {"EncoderLayer", kEncoderLayer},
      {"ExpertChoiceMixture", kExpertChoiceMixture},
      {"Experts", gated ? kGatedGeluExperts : kReluExperts},
      {"FeedForward", gated ? kGatedGelu : kRelu},
      {"Linear", kLinear},
      {"MixtureDecoderLayer", kDecoderLayer},
      {"MixtureEncoderLayer", kEncoderLayer},
      {"RelativeBias", kRelativeBias},
      {"RmsNorm", kRmsNorm},
      {"SequenceUpdate", kSequenceUpdate},
      {"SwitchMixture", kSwitchMixture},
      {"T5", kT5},
      {"TokenAltUpUpdate", kTokenAltUpUpdate}};
  auto values = fused ? fused_values() : composed_values();
  values.merge(script_values(config, valid_vocab));
  if (fused) {
    for (auto& [name, source] : fused_classes(gated)) sources[name] = source;
  }
  for (auto& [name, source] : sources) {
    values["VISIBLE"] = name.starts_with("Mixture") ? ", visible" : "";
    source = fill_in(source, values);
  }
  return sources;
}

}  // namespace altup
