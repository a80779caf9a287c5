#include "trainers/step_operations.h"

#include <algorithm>

namespace altup {
namespace {

constexpr double kFp32 = 4.0;
constexpr double kBf16 = 2.0;

/// n: tokens of the stack at hand; e: bytes of what products read and write (the residual stream,
/// norms and gradients of weights are fp32 always); d, inner, ff: widths.
class Model {
 public:
  Model(const T5Config& config, const StepShape& shape)
      : config_(config),
        shape_(shape),
        drops_(config.dropout > 0),
        e_(shape.product_bytes()),
        d_(static_cast<double>(config.d_model)),
        inner_(static_cast<double>(config.num_heads * config.d_kv)),
        ff_(static_cast<double>(config.d_ff)),
        heads_(static_cast<double>(config.num_heads)),
        blocks_(static_cast<double>(config.num_blocks())) {}

  Operations encoder() const {
    const double n = input();
    Operations all{embedding(n, /*first=*/true)};
    for (int64_t i = 0; i < config_.num_encoder_layers; ++i) {
      if (config_.strides_layer(i)) {
        append(all, strided_layer(n, i));
        continue;
      }
      const bool last = i + 1 == config_.num_encoder_layers;
      const double computed = input_positions(shape_.computed_length(config_, i));
      append(all, held(stream(computed), encoder_layer(computed, i)));
      if (blocks_ > 1) all.push_back(update(n, i == 0, last && memory_width() > d_));
      // What is pooled is kept by the addition.
      if (i == 0 && config_.pools_memory()) all.push_back({"altup", block(n), 0, block(n)});
    }
    all.push_back(final_norm(memory_positions(), memory_width()));
    // What the keys and values of cross-attention are made of, once for all layers.
    all.push_back({"attention", memory()});
    return all;
  }

  Operations decoder() const {
    const double n = target();
    Operations all{embedding(n, /*first=*/false)};
    for (int64_t i = 0; i < config_.num_decoder_layers; ++i) {
      const bool last = i + 1 == config_.num_decoder_layers;
      // The gradient of what the encoder made is added up over the layers.
      append(all, held(stream(n) + memory(), decoder_layer(n, i)));
      if (blocks_ > 1) all.push_back(update(n, i == 0, last && output_width() > d_));
    }
    all.push_back(final_norm(n, output_width()));
    return all;
  }

 private:
  double input() const { return static_cast<double>(shape_.input_tokens()); }
  double target() const { return static_cast<double>(shape_.target_tokens()); }
  double memory_width() const { return static_cast<double>(config_.memory_width()); }
  double output_width() const { return static_cast<double>(config_.output_width()); }
  double input_positions(int64_t length) const {
    return static_cast<double>(shape_.batch * length);
  }
  double memory_positions() const { return input_positions(shape_.memory_length(config_)); }
  double memory() const { return e_ * memory_positions() * memory_width(); }
  double block(double n) const { return kFp32 * n * d_; }
  /// The factors, of the products' type, that dropout multiplies `count` numbers by.
  double dropout_factors(double count) const { return drops_ ? e_ * count : 0.0; }

  // --- A layer

  Operations encoder_layer(double n, int64_t index) const {
    Operations layer{first_norm(n)};
    append(layer, self_attention(n, shape_.computed_length(config_, index)));
    layer.push_back(add_norm(n));
    append(layer, feed_forward_of_layer(n, index));
    return again(n, layer, 0.0);
  }

  Operations decoder_layer(double n, int64_t index) const {
    Operations layer{first_norm(n)};
    append(layer, self_attention(n, shape_.target_length));
    layer.push_back(add_norm(n));
    append(layer, cross_attention(n));
    layer.push_back(add_norm(n));
    append(layer, feed_forward_of_layer(n, index));
    return again(n, layer, memory());
  }

  /// The gradients that go past a layer: the residual stream's; with blocks it is that of the active
  /// one, beside those of the state.
  double stream(double n) const { return block(n) * (blocks_ > 1 ? blocks_ + 1 : 1); }

  static Operations held(double bytes, Operations layer) {
    for (auto& operation : layer) operation.temporary += bytes;
    return layer;
  }

  /// A layer that is computed again is one operation. It keeps its input, with blocks a view of the
  /// state, and once computed again holds all that its own operations keep, its output, and the
  /// gradients of its inputs: of the stream and of `memory`.
  Operations again(double n, const Operations& layer, double memory) const {
    if (!shape_.checkpointing) return layer;
    const double gradient = sum_of(layer, &Operation::gradient);
    const double inside =
        walk_back(layer, sum_of(layer, &Operation::kept), /*accumulates=*/false).bytes;
    return {{.part = "layer_inputs",
             .kept = blocks_ > 1 ? 0.0 : block(n),
             .gradient = gradient,
             .temporary = std::max(0.0, inside - gradient) + 2 * block(n) + memory}};
  }

  /// Keeps its input, with blocks a view of the state, and a number a row.
  Operation first_norm(double n) const {
    return {.part = "norms",
            .kept = (blocks_ > 1 ? 0.0 : block(n)) + kFp32 * n,
            .temporary = (e_ + kFp32) * n * d_};
  }

  /// Keeps the sum and a number a row. Makes its sub-layer's gradient in that one's type.
  Operation add_norm(double n) const {
    return {.part = "norms",
            .kept = block(n) + kFp32 * n + dropout_factors(n * d_),
            .temporary = (e_ + kFp32) * n * d_ + lowered_gradient(n)};
  }

  /// That of a sub-layer's output; in fp32 it is the residual stream's.
  double lowered_gradient(double n) const { return shape_.bf16 ? kBf16 * n * d_ : 0.0; }

  /// `count` products that read the same input, which they keep. In bf16 they multiply with copies
  /// of the weights, whose gradients are made in bf16 first.
  Operations linear(const std::string& part, double kept, double count, double in, double out,
                    double temporary) const {
    const double weights = count * in * out;
    if (!shape_.bf16) return {{part, kept, kFp32 * weights, temporary}};
    return {{"lowered_weights", kBf16 * weights, kFp32 * weights, kBf16 * weights},
            {part, kept, 0, temporary + kBf16 * weights}};
  }

  Operations self_attention(double n, int64_t length) const {
    Operations all =
        linear("attention", e_ * n * d_, 3, d_, inner_, e_ * n * (3 * inner_ + 2 * d_));
    all.push_back(scores(n, n, length, /*biased=*/true));
    append(all, output_projection(n));
    return all;
  }

  Operations cross_attention(double n) const {
    const double m = memory_positions();
    const double kv = 2 * e_ * m * inner_;
    Operations all = linear("attention", 0, 2, memory_width(), inner_, kv + e_ * n * d_ + memory());
    append(all, linear("attention", e_ * n * d_, 1, d_, inner_, kv + e_ * n * (inner_ + d_)));
    all.push_back(scores(n, m, shape_.memory_length(config_), /*biased=*/false));
    append(all, output_projection(n));
    return all;
  }

  /// Its input is attention's output, which that keeps.
  Operations output_projection(double n) const {
    return linear("attention", 0, 1, inner_, d_, lowered_gradient(n) + e_ * n * inner_);
  }

  /// altup::attention, n queries on m keys, `length` of them an example. It keeps q, k, v, its output
  /// and a number a query and head, but no weights. Its backward pass holds the gradients of these
  /// four and, head by head of every example, that of the bias, a number a distance.
  Operation scores(double n, double m, int64_t length, bool biased) const {
    const double numbers = 2 * e_ * (n + m) * inner_;
    const double heads = static_cast<double>(shape_.batch) * heads_;
    const double bias = biased ? kFp32 * heads * 2 * static_cast<double>(length) : 0.0;
    const double at_once = std::min(heads, static_cast<double>(shape_.threads));
    return {.part = "attention",
            .kept = numbers + kFp32 * n * heads_,
            .temporary = numbers + bias + at_once * scratch_of_head(length)};
  }

  /// Keys, values and both transposed; the gradients of both; scores of a block of queries and their
  /// gradients, in bf16 also rounded. See Buffers of altup/ops/attention_kernels.cpp.
  double scratch_of_head(int64_t keys) const {
    constexpr double kBlock = 48;
    const double width = static_cast<double>(config_.d_kv);
    return static_cast<double>(keys) *
           ((4 * e_ + 2 * kFp32) * width + kBlock * kFp32 * (shape_.bf16 ? 3 : 2));
  }

  Operations feed_forward_of_layer(double n, int64_t index) const {
    Operations all = config_.has_mixture(index) ? mixture(n) : feed_forward(n, 1);
    all.push_back({"feed_forward", dropout_factors(n * d_)});  // of the layer's output
    return all;
  }

  /// gated_gelu keeps both its inputs and ReLU its output; wo keeps what it reads. n are the tokens of
  /// all experts together.
  Operations feed_forward(double n, double experts) const {
    const double wide = e_ * n * ff_;
    const bool gated = config_.feed_forward == FeedForwardKind::kGatedGelu;
    const double inputs = gated ? 2 : 1;
    Operations all = linear("feed_forward", e_ * n * d_, experts * inputs, d_, ff_,
                            inputs * (wide + e_ * n * d_));
    const double activation = gated ? 2 * wide : drops_ ? wide : 0.0;
    all.push_back({"feed_forward", activation, 0, gated ? 3 * wide : 2 * wide});
    append(all, linear("feed_forward", wide + dropout_factors(n * ff_), experts, ff_, d_,
                       lowered_gradient(n) + wide));
    return all;
  }

  /// The router keeps its input in fp32, with jitter the factors too, logits and probabilities.
  /// Tokens are copied to their experts; what these say is kept to be weighted, and again, weighted,
  /// to be added up.
  Operations mixture(double n) const {
    const auto experts = static_cast<double>(config_.moe.experts);
    const double places =
        experts * static_cast<double>(StepShape::capacity(config_.moe, static_cast<int64_t>(n)));
    const double said = e_ * places * d_;
    Operations all{{.part = "feed_forward",
                    .kept = block(n) * (config_.moe.jitter > 0 ? 2 : 1) + 2 * kFp32 * n * experts,
                    .gradient = kFp32 * d_ * experts,
                    .temporary = said + 2 * block(n)}};
    append(all, feed_forward(places, experts));
    all.push_back({"feed_forward", 2 * said, 0, 2 * said + lowered_gradient(n)});
    return all;
  }

  // --- Around the layers

  /// A layer of the encoder that computes some positions only, which are copied for it. The sequence
  /// update keeps all of them and what was computed; without one nothing is kept. Backward, the
  /// gradient that goes past the layer waits for that of its input to be spread out and added.
  Operations strided_layer(double n, int64_t index) const {
    const double m = input_positions(shape_.computed_length(config_, index));
    const double both = block(n) + block(m);
    Operations all{{.part = "altup", .temporary = both + block(n)}};
    append(all, held(both, encoder_layer(m, index)));
    all.push_back({.part = "altup",
                   .kept = config_.altup.variant == Variant::kSequence ? both : 0.0,
                   .temporary = 3 * both});
    return all;
  }

  /// altup::update keeps the state and what the layer computed. Recycled-AltUp's first state is one
  /// block, seen K times. `joined`: what comes after are the blocks side by side, of whose gradient
  /// the backward pass makes a copy.
  Operation update(double n, bool first, bool joined) const {
    const bool one_block = first && config_.altup.variant == Variant::kRecycled;
    Operation operation{.part = "altup",
                        .kept = block(n) * ((one_block ? 1 : blocks_) + 1),
                        .temporary = block(n) * ((joined ? 3 : 2) * blocks_ + 1)};
    if (config_.altup.coefficients == Coefficients::kToken) {
      // p [n, K, K] and g [n, K], and the normed tokens that they are made of, once to predict and
      // once to correct; their gradients are in fp64 first.
      const double coefficients = kFp32 * n * blocks_ * (blocks_ + 1);
      operation.kept += 2 * block(n) + coefficients;
      operation.temporary += 2 * block(n) + 3 * coefficients;
    }
    return operation;
  }

  /// Keeps its input: the last state or, of several blocks, what they were joined to or their mean.
  Operation final_norm(double n, double width) const {
    const double mean = width == d_ && blocks_ > 1 ? block(n) * (blocks_ + 1) : 0.0;
    return {.part = "ends",
            .kept = kFp32 * n * (width + 1) + dropout_factors(n * width),
            .temporary = std::max((e_ + kFp32) * n * width, mean)};
  }

  /// The gradient of the embedding is a dense table. Encoder and decoder make one each, of which the
  /// second, and with a tied head either, is added to one that is there.
  Operation embedding(double n, bool first) const {
    const double width = static_cast<double>(config_.embedding_width());
    const double table = kFp32 * static_cast<double>(config_.vocab_size) * width;
    const bool adds = first || config_.tie_embeddings;
    const bool plain = config_.altup.variant == Variant::kNone;
    return {.part = "ends",
            .kept = drops_ ? kFp32 * n * width : 0.0,
            .gradient = adds ? 0.0 : table,
            .temporary = (adds ? table : 0.0) + kFp32 * n * (width + (plain ? 0 : blocks_ * d_)),
            .gradient_waits = true};
  }

  const T5Config& config_;
  const StepShape& shape_;
  const bool drops_;
  const double e_, d_, inner_, ff_, heads_, blocks_;
};

}  // namespace

Operations step_operations(const T5Config& model, const StepShape& shape) {
  const Model parts(model, shape);
  Operations all = parts.encoder();
  append(all, parts.decoder());
  return all;
}

LossMemory loss_memory(const T5Config& model, const StepShape& shape) {
  const double e = shape.product_bytes();
  const auto width = static_cast<double>(model.output_width());
  const auto vocabulary = static_cast<double>(model.vocab_size);
  const double weights = vocabulary * width;
  const double logits = e * static_cast<double>(shape.logit_rows(model.vocab_size)) * vocabulary;
  const double input = e * static_cast<double>(shape.target_tokens()) * width;
  // Beside the logits of a chunk: what the head reads (a tied head a scaled copy of it) and its
  // gradient; in bf16 a copy of the weight and a chunk's share of its gradient.
  return {.head_gradient = kFp32 * weights,
          .temporary = logits + (model.tie_embeddings ? 3 : 2) * input +
                       (shape.bf16 ? 2 * kBf16 * weights : 0.0)};
}

}  // namespace altup
