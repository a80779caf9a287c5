// One text a class. Two things differ in form from the modules, none in value:
// - relative buckets are read from a table over the distances −max … max, beyond which they no
//   longer change: no logarithm is taken whose last bit depends on the machine;
// - predict and correct is composed of ATen operators (torchscript_altup.h).
// In the texts, $NAME stands for what script_values() says. Methods of submodules are called by
// name, as TorchScript compiled from C++ knows no call of a module.
#include "altup/models/torchscript_source.h"

#include <c10/core/ScalarType.h>

#include <bit>
#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "altup/models/torchscript_altup.h"
#include "altup/util/text.h"

namespace altup {
namespace {

constexpr const char* kEmbedding = R"(
def forward(self, ids: Tensor) -> Tensor:
    return torch.embedding(self.weight, ids)
)";

constexpr const char* kLinear = R"(
def forward(self, x: Tensor) -> Tensor:
    return torch.linear(x, self.weight)
)";

constexpr const char* kRmsNorm = R"(
def forward(self, x: Tensor) -> Tensor:
    return torch.rms_norm(x, [self.weight.size(0)], self.weight, $EPSILON)
)";

constexpr const char* kRelativeBias = R"(
def of_distances(self, first: int, count: int, stride: int) -> Tensor:
    distances = torch.arange(first, first + count, device=self.weight.device) * stride
    rows = torch.clamp(distances, -$MAX_DISTANCE, $MAX_DISTANCE) + $MAX_DISTANCE
    buckets = torch.index_select(self.buckets, 0, rows)
    return torch.index_select(self.weight, 0, buckets).t().contiguous()  # [H, count]

def forward(self, length: int, stride: int) -> Tensor:
    windows = self.of_distances(1 - length, 2 * length - 1, stride).unfold(1, length, 1)
    return torch.flip(windows, [1]).unsqueeze(0)  # [1, H, T, T]
)";

constexpr const char* kAttention = R"(
def split_heads(self, x: Tensor) -> Tensor:
    return x.view([x.size(0), x.size(1), $HEADS, $D_KV]).transpose(1, 2)  # [B, H, T, d_kv]

def keys(self, x: Tensor) -> Tensor:
    return self.split_heads(self.k.forward(x))

def values(self, x: Tensor) -> Tensor:
    return self.split_heads(self.v.forward(x))

def attend(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    queries = self.split_heads(self.q.forward(x))
    context = torch.scaled_dot_product_attention(queries, keys, values, bias, 0., False, scale=1.)
    return self.o.forward(context.transpose(1, 2).flatten(2))
)";

constexpr const char* kGatedGelu = R"(
def forward(self, x: Tensor) -> Tensor:
    gate = torch.gelu(self.wi_0.forward(x), approximate="tanh")
    return self.wo.forward(gate * self.wi_1.forward(x))
)";

constexpr const char* kRelu = R"(
def forward(self, x: Tensor) -> Tensor:
    return self.wo.forward(torch.relu(self.wi.forward(x)))
)";

constexpr const char* kGatedGeluExperts = R"(
def forward(self, x: Tensor, expert: int) -> Tensor:
    gate = torch.gelu(torch.linear(x, self.wi_0[expert]), approximate="tanh")
    return torch.linear(gate * torch.linear(x, self.wi_1[expert]), self.wo[expert])
)";

constexpr const char* kReluExperts = R"(
def forward(self, x: Tensor, expert: int) -> Tensor:
    return torch.linear(torch.relu(torch.linear(x, self.wi[expert])), self.wo[expert])
)";

// Mixtures give padding, what is not `visible`, no expert, and so add 0 to it.
constexpr const char* kSwitchMixture = R"(
def forward(self, x: Tensor, visible: Optional[Tensor] = None) -> Tensor:
    rows = x.flatten(0, 1)
    gates, chosen = torch.max(torch.softmax(self.router.forward(rows), 1), 1)
    if visible is not None:
        chosen = torch.where(visible.flatten(), chosen, -1)
    output = torch.zeros_like(rows)
    for expert in range($EXPERTS):
        tokens = torch.nonzero(chosen == expert).squeeze(1)
        if tokens.size(0) > 0:
            computed = self.experts.forward(rows.index_select(0, tokens), expert)
            computed = computed * gates.index_select(0, tokens).unsqueeze(1)
            output.index_copy_(0, tokens, computed)
    return output.view(x.size())
)";

constexpr const char* kExpertChoiceMixture = R"(
def forward(self, x: Tensor, visible: Tensor) -> Tensor:
    rows = x.flatten(0, 1)
    probabilities = torch.softmax(self.router.forward(x), 2)  # [B, S, E]
    lengths = torch.to(torch.sum(visible, [1]), $FLOAT64)
    share = lengths * $CAPACITY_FACTOR / $EXPERTS
    places = torch.ceil(share - 1e-9).view([-1, 1, 1])
    hidden = torch.logical_not(visible).unsqueeze(2)
    order = torch.argsort(probabilities.masked_fill(hidden, -1.0), stable=True, dim=1,
                          descending=True)
    rank = torch.argsort(order, 1)  # the inverse of the permutation
    taken = torch.logical_and(rank < places, visible.unsqueeze(2)).flatten(0, 1)  # [B S, E]
    gates = probabilities.flatten(0, 1)
    output = torch.zeros_like(rows)
    for expert in range($EXPERTS):
        tokens = torch.nonzero(taken.select(1, expert)).squeeze(1)
        if tokens.size(0) > 0:
            computed = self.experts.forward(rows.index_select(0, tokens), expert)
            gate = gates.select(1, expert).index_select(0, tokens)
            output.index_add_(0, tokens, computed * gate.unsqueeze(1))
    return output.view(x.size())
)";

constexpr const char* kEncoderLayer = R"(
def forward(self, x: Tensor, bias: Tensor, visible: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys = self.self_attention.keys(normed)
    x = x + self.self_attention.attend(normed, keys, self.self_attention.values(normed), bias)
    return x + self.feed_forward.forward(self.feed_forward_norm.forward(x)$VISIBLE)
)";

constexpr const char* kDecoderLayer = R"(
def attend_cross(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    normed = self.cross_attention_norm.forward(x)
    x = x + self.cross_attention.attend(normed, keys, values, bias)
    return x + self.feed_forward.forward(self.feed_forward_norm.forward(x))

def forward(self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys = self.self_attention.keys(normed)
    x = x + self.self_attention.attend(normed, keys, self.self_attention.values(normed), bias)
    cross_keys = self.cross_attention.keys(memory)
    return self.attend_cross(x, cross_keys, self.cross_attention.values(memory), memory_bias)

def step(self, x: Tensor, position: int, bias: Tensor, keys: Tensor, values: Tensor,
         cross_keys: Tensor, cross_values: Tensor, memory_bias: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys.narrow(2, position, 1).copy_(self.self_attention.keys(normed))
    values.narrow(2, position, 1).copy_(self.self_attention.values(normed))
    seen_keys = keys.narrow(2, 0, position + 1)
    seen_values = values.narrow(2, 0, position + 1)
    x = x + self.self_attention.attend(normed, seen_keys, seen_values, bias)
    return self.attend_cross(x, cross_keys, cross_values, memory_bias)
)";

constexpr const char* kEncoder = R"(
def forward(self, embedded: Tensor, mask_bias: Tensor, visible: Tensor) -> Tensor:
    bias = self.relative_bias.forward(embedded.size(1), 1) + mask_bias  # [B, H, S, S]
    state = $ENTER
    $ENCODER_LAYERS
    return self.final_norm.forward($LEAVE_ENCODER)
)";

// `cross` and `cache` hold keys and values of each layer in turn: [B, H, S, d_kv] and
// [B, H, capacity, d_kv].
constexpr const char* kDecoder = R"(
def forward(self, embedded: Tensor, memory: Tensor, memory_bias: Tensor) -> Tensor:
    bias = self.relative_bias.forward(embedded.size(1), 1)
    bias = bias + torch.triu(torch.full_like(bias, $HIDDEN), 1)  # [1, H, T, T]
    state = $ENTER
    $DECODER_LAYERS
    return self.final_norm.forward($LEAVE_DECODER)

def cross_keys_and_values(self, memory: Tensor) -> List[Tensor]:
    return [$CROSS]

def grow(self, cache: List[Tensor], capacity: int) -> List[Tensor]:
    grown: List[Tensor] = []
    for old in cache:
        new = old.new_empty([old.size(0), old.size(1), capacity, old.size(3)])
        new.narrow(2, 0, old.size(2)).copy_(old)
        grown.append(new)
    return grown

def step(self, embedded: Tensor, position: int, bias: Tensor, cache: List[Tensor],
         cross: List[Tensor], memory_bias: Tensor) -> Tensor:
    state = $ENTER
    $DECODER_STEPS
    return self.final_norm.forward($LEAVE_DECODER)
)";

// The cache grows by doubling. The bias of the newest query on all keys is the end of one row,
// that of the distances 1 − capacity … 0.
constexpr const char* kT5 = R"(
def mask_bias(self, attention_mask: Tensor) -> Tensor:
    hidden = (attention_mask == 0).type_as(self.shared.weight)
    return (hidden * $HIDDEN).unsqueeze(1).unsqueeze(1)  # [B, 1, 1, S]

def memory_bias(self, attention_mask: Tensor) -> Tensor:
    return self.mask_bias($MEMORY_MASK)

def logits(self, decoded: Tensor) -> Tensor:
    return torch.linear($DECODED, $OUTPUT_WEIGHT)

def newest_logits(self, decoded: Tensor) -> Tensor:
    # [B, 1, W] -> [B, V]. For few rows W x^T is up to twice as fast as x W^T, on CPU.
    return torch.matmul($OUTPUT_WEIGHT, $DECODED.squeeze(1).t()).t().contiguous()

def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    embedded = self.shared.forward(input_ids)
    return self.encoder.forward(embedded, self.mask_bias(attention_mask), attention_mask != 0)

def forward(self, input_ids: Tensor, attention_mask: Tensor,
            decoder_input_ids: Tensor) -> Tensor:
    memory = self.encode(input_ids, attention_mask)
    embedded = self.shared.forward(decoder_input_ids)
    return self.logits(self.decoder.forward(embedded, memory, self.memory_bias(attention_mask)))

def generate(self, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: int) -> Tensor:
    assert max_new_tokens >= 1, "max_new_tokens must be at least 1"
    memory_bias = self.memory_bias(attention_mask)
    cross = self.decoder.cross_keys_and_values(self.encode(input_ids, attention_mask))
    cache = [tensor.narrow(2, 0, 0) for tensor in cross]
    bias = memory_bias
    token = torch.zeros_like(input_ids.narrow(1, 0, 1))
    finished = token != 0
    produced: List[Tensor] = []
    capacity = 0
    position = 0
    running = True
    while running:
        if position == capacity:
            capacity = min(max(2 * capacity, 16), max_new_tokens)
            cache = self.decoder.grow(cache, capacity)
            row = self.decoder.relative_bias.of_distances(1 - capacity, capacity, 1)
            bias = row.unsqueeze(0).unsqueeze(2)  # [1, H, 1, capacity]
        seen = bias.narrow(3, capacity - 1 - position, position + 1)
        embedded = self.shared.forward(token)
        decoded = self.decoder.step(embedded, position, seen, cache, cross, memory_bias)
        scores = self.newest_logits(decoded).narrow(1, 0, $VALID_VOCAB)
        token = torch.argmax(scores, -1, True).masked_fill(finished, 0)
        produced.append(token)
        finished = torch.logical_or(finished, token == 1)
        position += 1
        running = position < max_new_tokens and not bool(torch.all(finished))
    return torch.cat(produced, 1)
)";

using ScriptValues = std::map<std::string, std::string>;

std::string fill_in(std::string source, const ScriptValues& values) {
  for (const auto& [name, value] : values) {
    const auto key = "$" + name;
    for (auto at = source.find(key); at != std::string::npos;
         at = source.find(key, at + value.size())) {
      source.replace(at, key.size(), value);
    }
  }
  if (source.find('$') != std::string::npos) {
    throw std::logic_error("a name without a value in " + source);
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
      {"VISIBLE", ""},
  };
}

}  // namespace

std::map<std::string, std::string> torchscript_sources(const T5Config& config,
                                                       int64_t valid_vocab) {
  const bool gated = config.feed_forward == FeedForwardKind::kGatedGelu;
  const bool is_short = config.shortens_layers();
  std::map<std::string, std::string> sources = {{"AltUpUpdate", kAltUpUpdate},
                                                {"Attention", kAttention},
                                                {"Decoder", kDecoder},
                                                {"DecoderLayer", kDecoderLayer},
                                                {"Embedding", kEmbedding},
                                                {"Encoder", is_short ? kShortEncoder : kEncoder},
                                                {"EncoderLayer", kEncoderLayer},
                                                {"FeedForward", gated ? kGatedGelu : kRelu},
                                                {"Linear", kLinear},
                                                {"RelativeBias", kRelativeBias},
                                                {"RmsNorm", kRmsNorm},
                                                {"SequenceUpdate", kSequenceUpdate},
                                                {"T5", kT5},
                                                {"TokenAltUpUpdate", kTokenAltUpUpdate}};
  auto values = script_values(config, valid_vocab);
  for (auto& [name, source] : sources) source = fill_in(source, values);
  if (config.moe.experts > 0) {
    values["VISIBLE"] = ", visible";
    sources["Experts"] = gated ? kGatedGeluExperts : kReluExperts;
    sources["ExpertChoiceMixture"] = fill_in(kExpertChoiceMixture, values);
    sources["MixtureDecoderLayer"] = fill_in(kDecoderLayer, values);
    sources["MixtureEncoderLayer"] = fill_in(kEncoderLayer, values);
    sources["SwitchMixture"] = fill_in(kSwitchMixture, values);
  }
  return sources;
}

}  // namespace altup
