// The formulas are those of modules/altup.h and modules/sequence_altup.h; of coefficients of the token
// the identity that they start from is added to the state rather than to them. Rows are gathered
// along their own dimension, since nothing here is unpadded.
#include "altup/models/torchscript_altup.h"

#include <vector>

#include "altup/util/text.h"

namespace altup {

const char* const kAltUpUpdate = R"(
def forward(self, x: Tensor, x_tilde: Tensor, active: int) -> Tensor:
    predicted = torch.matmul(self.prediction_coefs, x.flatten(1)).view(x.size())  # [K, B, T, d]
    innovation = x_tilde - predicted[active]
    return torch.addcmul(predicted, self.correction_coefs.view([-1, 1, 1, 1]), innovation)
)";

const char* const kTokenAltUpUpdate = R"(
def route(self, tokens: Tensor) -> Tensor:
    return torch.tanh(self.router.forward(self.router_norm.forward(tokens) / $WIDTH))

def forward(self, x: Tensor, x_tilde: Tensor, active: int) -> Tensor:
    learnt = torch.linear(self.route(x[active]), self.prediction_coefs)
    learnt = learnt.view([x.size(1), x.size(2), x.size(0), x.size(0)])  # [B, T, K, K]
    moved = torch.matmul(learnt, x.permute([1, 2, 0, 3]))  # [B, T, K, d]
    predicted = x + moved.permute([2, 0, 1, 3])
    gates = torch.linear(self.route(x_tilde), self.correction_coefs) + $FIRST_CORRECTION
    innovation = x_tilde - predicted[active]
    return torch.addcmul(predicted, gates.permute([2, 0, 1]).unsqueeze(3), innovation)
)";

const char* const kSequenceUpdate = R"(
def forward(self, x: Tensor, own: Tensor, x_tilde: Tensor, inside: Tensor,
            anchors: Tensor) -> Tensor:
    a1 = self.prediction_coefs[0]
    a2 = self.prediction_coefs[1]
    b = self.correction_coefs[0]
    shared = own * (a2 - b * (a1 + a2)) + x_tilde * b  # [B, S', d]
    return x * a1 + torch.gather(shared, 1, anchors.unsqueeze(2).expand([-1, -1, x.size(2)]))
)";

// `visible` [B, S] bool. Of a row, `inside` has the computed positions [B, S'] and `anchors` of each
// position the number of its own [B, S]; `few` are the first or the means' tokens [B, S'].
const char* const kShortEncoder = R"(
def first(self, visible: Tensor) -> Tensor:
    return torch.argmax(torch.to(visible, $INT64), 1, True)  # [B, 1]

def anchors_of(self, visible: Tensor) -> Tensor:
    positions = torch.arange(visible.size(1), device=visible.device) - self.first(visible)
    return torch.floor_divide(torch.clamp_min(positions, 0), $STRIDE)

def places_of(self, visible: Tensor) -> Tensor:
    strides = torch.arange(0, visible.size(1), $STRIDE, device=visible.device)
    return self.first(visible) + strides  # [B, S'], of which some may be behind the end

def counts(self, visible: Tensor) -> Tensor:
    none = torch.zeros_like(self.places_of(visible))
    return torch.scatter_add(none, 1, self.anchors_of(visible), torch.to(visible, $INT64))

def pooled(self, visible: Tensor) -> Tensor:
    return self.counts(visible) > 0

def take(self, x: Tensor, places: Tensor) -> Tensor:
    return torch.gather(x, 1, places.unsqueeze(2).expand([-1, -1, x.size(2)]))

def put(self, x: Tensor, computed: Tensor, inside: Tensor, anchors: Tensor) -> Tensor:
    own = torch.gather(inside, 1, anchors) == torch.arange(x.size(1), device=x.device)
    return torch.where(own.unsqueeze(2), self.take(computed, anchors), x)

def pool(self, x: Tensor, visible: Tensor, anchors: Tensor) -> Tensor:
    counts = self.counts(visible).type_as(x).unsqueeze(2)
    none = x.new_zeros([x.size(0), counts.size(1), x.size(2)])
    index = anchors.unsqueeze(2).expand([-1, -1, x.size(2)])
    sums = torch.scatter_add(none, 1, index, x * visible.type_as(x).unsqueeze(2))
    return sums / torch.clamp_min(counts, 1)

def forward(self, embedded: Tensor, visible: Tensor) -> Tensor:
    bias = $ENCODER_BIAS
    anchors = self.anchors_of(visible)
    places = self.places_of(visible)
    inside = torch.clamp_max(places, embedded.size(1) - 1)
    few = $FEW
    few_bias = $FEW_BIAS
    state = $ENTER
    $ENCODER_LAYERS
    return self.final_norm.forward($LEAVE_ENCODER)
)";

std::string short_encoder_layers(const T5Config& config) {
  std::vector<std::string> lines;
  for (int64_t i = 0; i < config.num_encoder_layers; ++i) {
    const auto layer = str("self.layers.layer_", i, ".forward(");
    if (config.strides_layer(i)) {
      lines.emplace_back("own = self.take(state, inside)");
      lines.push_back(str("computed = ", layer, "own, few_bias, few)"));
      lines.push_back(config.altup.variant == Variant::kSequence
                          ? str("state = self.altup.layer_", i - 1,
                                ".forward(state, own, computed, inside, anchors)")
                          : str("state = self.put(state, computed, inside, anchors)"));
      continue;
    }
    const bool is_pooled = config.pools_memory() && i > 0;
    lines.push_back(
        str("state = ", layer, is_pooled ? "state, few_bias, few)" : "state, bias, visible)"));
    if (config.pools_memory() && i == 0) {
      lines.emplace_back("state = self.pool(state, visible, anchors)");
    }
  }
  return join(lines, "\n    ");
}

}  // namespace altup
