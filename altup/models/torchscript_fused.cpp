// Where the ATen form makes one bias [B, H, T, S] of distances, causality and padding, the operator
// takes them apart: a number for each head and distance, a flag, and a number for each key. Keys and
// values lie as the projections leave them, [B, S, H, d_kv].
#include "altup/models/torchscript_fused.h"

namespace altup {
namespace {

// As modules/linear.cpp chooses.
constexpr const char* kLinear = R"(
def forward(self, x: Tensor) -> Tensor:
    if x.numel() <= 64 * x.size(-1):
        return altup.linear_few_rows(x, self.weight)
    return altup.linear(x, self.weight)
)";

constexpr const char* kRmsNorm = R"(
def forward(self, x: Tensor) -> Tensor:
    return altup.rms_norm(x, self.weight, $EPSILON)[0]
)";

constexpr const char* kAttention = R"(
def split_heads(self, x: Tensor) -> Tensor:
    return x.view([x.size(0), x.size(1), $HEADS, $D_KV])

def keys(self, x: Tensor) -> Tensor:
    return self.split_heads(self.k.forward(x))

def values(self, x: Tensor) -> Tensor:
    return self.split_heads(self.v.forward(x))

def attend(self, x: Tensor, keys: Tensor, values: Tensor, relative: Optional[Tensor],
           zero_distance: int, causal: bool, key_bias: Optional[Tensor]) -> Tensor:
    queries = self.split_heads(self.q.forward(x))
    context = altup.attention(queries, keys, values, relative, zero_distance, causal, key_bias)[0]
    return self.o.forward(context.flatten(2))
)";

constexpr const char* kGatedGelu = R"(
def forward(self, x: Tensor) -> Tensor:
    return self.wo.forward(altup.gated_gelu(self.wi_0.forward(x), self.wi_1.forward(x)))
)";

constexpr const char* kGatedGeluExperts = R"(
def forward(self, x: Tensor, expert: int) -> Tensor:
    gate = altup.linear(x, self.wi_0[expert])
    hidden = altup.gated_gelu(gate, altup.linear(x, self.wi_1[expert]))
    return altup.linear(hidden, self.wo[expert])
)";

constexpr const char* kAltUpUpdate = R"(
def forward(self, x: Tensor, x_tilde: Tensor, active: int) -> Tensor:
    return altup.update(x, x_tilde, self.prediction_coefs, self.correction_coefs, active)
)";

constexpr const char* kTokenAltUpUpdate = R"(
def route(self, tokens: Tensor) -> Tensor:
    return torch.tanh(self.router.forward(self.router_norm.forward(tokens) / $WIDTH))

def forward(self, x: Tensor, x_tilde: Tensor, active: int) -> Tensor:
    learnt = torch.linear(self.route(x[active]), self.prediction_coefs)
    learnt = learnt.view([x.size(1), x.size(2), x.size(0), x.size(0)])  # [B, T, K, K]
    identity = torch.eye(x.size(0), dtype=learnt.dtype, device=learnt.device)
    gates = torch.linear(self.route(x_tilde), self.correction_coefs) + $FIRST_CORRECTION
    return altup.update(x, x_tilde, learnt + identity, gates, active)
)";

constexpr const char* kSequenceUpdate = R"(
def forward(self, x: Tensor, own: Tensor, x_tilde: Tensor, inside: Tensor,
            anchors: Tensor) -> Tensor:
    row = torch.arange(x.size(0), device=x.device).unsqueeze(1)  # [B, 1]
    places = (inside + row * x.size(1)).flatten()
    of_rows = (anchors + row * inside.size(1)).flatten()
    updated = altup.sequence_update(x.flatten(0, 1), x_tilde.flatten(0, 1), places, of_rows,
                                    self.prediction_coefs, self.correction_coefs)
    return updated.view(x.size())
)";

}  // namespace

std::map<std::string, std::string> fused_classes(bool gated) {
  std::map<std::string, std::string> classes = {{"AltUpUpdate", kAltUpUpdate},
                                                {"Attention", kAttention},
                                                {"Linear", kLinear},
                                                {"RmsNorm", kRmsNorm},
                                                {"SequenceUpdate", kSequenceUpdate},
                                                {"TokenAltUpUpdate", kTokenAltUpUpdate}};
  if (gated) {
    classes["Experts"] = kGatedGeluExperts;
    classes["FeedForward"] = kGatedGelu;
  }
  return classes;
}

std::map<std::string, std::string> fused_values() {
  // A bias of the distances 1 − T … T − 1 has distance 0 in its middle.
  return {
      {"CROSS_TERMS", "None, 0, False, memory_bias"},
      {"DECODER_BIAS",
       "self.relative_bias.of_distances(1 - embedded.size(1), "
       "2 * embedded.size(1) - 1, 1)"},
      {"DECODER_TERMS", "bias, bias.size(1) // 2, True, None"},
      {"ENCODER_BIAS",
       "self.relative_bias.of_distances(1 - embedded.size(1), "
       "2 * embedded.size(1) - 1, 1)"},
      {"ENCODER_TERMS",
       "bias, bias.size(1) // 2, False, "
       "torch.logical_not(visible).type_as(x) * $HIDDEN"},
      {"FEW_BIAS",
       "self.relative_bias.of_distances(1 - few.size(1), 2 * few.size(1) - 1, $STRIDE)"},
      {"MEMORY_BIAS", "hidden * $HIDDEN"},
      {"ROW_BIAS", "row"},
      {"STEP_TERMS", "bias, 0, False, None"},
      {"TIME", "1"},
  };
}

}  // namespace altup
