// One text a class. Two things differ in form from the modules, none in value:
// - relative buckets are read from a table over the distances −max … max, beyond which they no
//   longer change: no logarithm is taken whose last bit depends on the machine;
// - predict and correct is composed of ATen operators (torchscript_altup.h).
// In the texts, $NAME stands for what torchscript_source.cpp or torchscript_fused.cpp says. Methods
// of submodules are called by name, as TorchScript compiled from C++ knows no call of a module.
#include "altup/models/torchscript_text.h"

namespace altup {

const char* const kEmbedding = R"(
def forward(self, ids: Tensor) -> Tensor:
    return torch.embedding(self.weight, ids)
)";

const char* const kLinear = R"(
def forward(self, x: Tensor) -> Tensor:
    return torch.linear(x, self.weight)
)";

const char* const kRmsNorm = R"(
def forward(self, x: Tensor) -> Tensor:
    return torch.rms_norm(x, [self.weight.size(0)], self.weight, $EPSILON)
)";

const char* const kRelativeBias = R"(
def of_distances(self, first: int, count: int, stride: int) -> Tensor:
    distances = torch.arange(first, first + count, device=self.weight.device) * stride
    rows = torch.clamp(distances, -$MAX_DISTANCE, $MAX_DISTANCE) + $MAX_DISTANCE
    buckets = torch.index_select(self.buckets, 0, rows)
    return torch.index_select(self.weight, 0, buckets).t().contiguous()  # [H, count]

def forward(self, length: int, stride: int) -> Tensor:
    windows = self.of_distances(1 - length, 2 * length - 1, stride).unfold(1, length, 1)
    return torch.flip(windows, [1]).unsqueeze(0)  # [1, H, T, T]
)";

const char* const kAttention = R"(
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

const char* const kGatedGelu = R"(
def forward(self, x: Tensor) -> Tensor:
    gate = torch.gelu(self.wi_0.forward(x), approximate="tanh")
    return self.wo.forward(gate * self.wi_1.forward(x))
)";

const char* const kRelu = R"(
def forward(self, x: Tensor) -> Tensor:
    return self.wo.forward(torch.relu(self.wi.forward(x)))
)";

const char* const kGatedGeluExperts = R"(
def forward(self, x: Tensor, expert: int) -> Tensor:
    gate = torch.gelu(torch.linear(x, self.wi_0[expert]), approximate="tanh")
    return torch.linear(gate * torch.linear(x, self.wi_1[expert]), self.wo[expert])
)";

const char* const kReluExperts = R"(
def forward(self, x: Tensor, expert: int) -> Tensor:
    return torch.linear(torch.relu(torch.linear(x, self.wi[expert])), self.wo[expert])
)";

// Mixtures give padding, what is not `visible`, no expert, and so add 0 to it.
const char* const kSwitchMixture = R"(
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

const char* const kExpertChoiceMixture = R"(
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

const char* const kEncoderLayer = R"(
def forward(self, x: Tensor, bias: Tensor, visible: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys = self.self_attention.keys(normed)
    x = x + self.self_attention.attend(normed, keys, self.self_attention.values(normed), $ENCODER_TERMS)
    return x + self.feed_forward.forward(self.feed_forward_norm.forward(x)$VISIBLE)
)";

const char* const kDecoderLayer = R"(
def attend_cross(self, x: Tensor, keys: Tensor, values: Tensor, memory_bias: Tensor) -> Tensor:
    normed = self.cross_attention_norm.forward(x)
    x = x + self.cross_attention.attend(normed, keys, values, $CROSS_TERMS)
    return x + self.feed_forward.forward(self.feed_forward_norm.forward(x))

def forward(self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys = self.self_attention.keys(normed)
    x = x + self.self_attention.attend(normed, keys, self.self_attention.values(normed), $DECODER_TERMS)
    cross_keys = self.cross_attention.keys(memory)
    return self.attend_cross(x, cross_keys, self.cross_attention.values(memory), memory_bias)

def step(self, x: Tensor, position: int, bias: Tensor, keys: Tensor, values: Tensor,
         cross_keys: Tensor, cross_values: Tensor, memory_bias: Tensor) -> Tensor:
    normed = self.self_attention_norm.forward(x)
    keys.narrow($TIME, position, 1).copy_(self.self_attention.keys(normed))
    values.narrow($TIME, position, 1).copy_(self.self_attention.values(normed))
    seen_keys = keys.narrow($TIME, 0, position + 1)
    seen_values = values.narrow($TIME, 0, position + 1)
    x = x + self.self_attention.attend(normed, seen_keys, seen_values, $STEP_TERMS)
    return self.attend_cross(x, cross_keys, cross_values, memory_bias)
)";

const char* const kEncoder = R"(
def forward(self, embedded: Tensor, visible: Tensor) -> Tensor:
    bias = $ENCODER_BIAS
    state = $ENTER
    $ENCODER_LAYERS
    return self.final_norm.forward($LEAVE_ENCODER)
)";

// `cross` and `cache` hold keys and values of each layer in turn: [B, H, S, d_kv] and
// [B, H, capacity, d_kv], or with the fused operators heads and positions the other way round.
const char* const kDecoder = R"(
def forward(self, embedded: Tensor, memory: Tensor, memory_bias: Tensor) -> Tensor:
    bias = $DECODER_BIAS
    state = $ENTER
    $DECODER_LAYERS
    return self.final_norm.forward($LEAVE_DECODER)

def cross_keys_and_values(self, memory: Tensor) -> List[Tensor]:
    return [$CROSS]

def grow(self, cache: List[Tensor], capacity: int) -> List[Tensor]:
    grown: List[Tensor] = []
    for old in cache:
        shape = old.size()
        shape[$TIME] = capacity
        new = old.new_empty(shape)
        new.narrow($TIME, 0, old.size($TIME)).copy_(old)
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
const char* const kT5 = R"(
def memory_bias(self, attention_mask: Tensor) -> Tensor:
    hidden = ($MEMORY_MASK == 0).type_as(self.shared.weight)
    return $MEMORY_BIAS

def logits(self, decoded: Tensor) -> Tensor:
    return torch.linear($DECODED, $OUTPUT_WEIGHT)

def newest_logits(self, decoded: Tensor) -> Tensor:
    # [B, 1, W] -> [B, V]. For few rows W x^T is up to twice as fast as x W^T, on CPU.
    return torch.matmul($OUTPUT_WEIGHT, $DECODED.squeeze(1).t()).t().contiguous()

def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    embedded = self.shared.forward(input_ids)
    return self.encoder.forward(embedded, attention_mask != 0)

def forward(self, input_ids: Tensor, attention_mask: Tensor,
            decoder_input_ids: Tensor) -> Tensor:
    memory = self.encode(input_ids, attention_mask)
    embedded = self.shared.forward(decoder_input_ids)
    return self.logits(self.decoder.forward(embedded, memory, self.memory_bias(attention_mask)))

def generate(self, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: int) -> Tensor:
    assert max_new_tokens >= 1, "max_new_tokens must be at least 1"
    memory_bias = self.memory_bias(attention_mask)
    cross = self.decoder.cross_keys_and_values(self.encode(input_ids, attention_mask))
    cache = [tensor.narrow($TIME, 0, 0) for tensor in cross]
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
            bias = $ROW_BIAS
        seen = bias.narrow(-1, capacity - 1 - position, position + 1)
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

}  // namespace altup
