#include "trainers/step_work.h"

#include <algorithm>

#include "altup/models/model_size.h"

namespace altup {
namespace {

constexpr double kFp32 = 4.0;

/// Fills a StepWork, a part at a time. n: tokens of a stack; e: bytes of what products read and
/// write.
class Counter {
 public:
  Counter(const T5Config& config, const StepShape& shape, StepWork& work)
      : config_(config),
        shape_(shape),
        work_(work),
        e_(shape.product_bytes()),
        d_(static_cast<double>(config.d_model)),
        forward_(static_cast<double>(work.forward_passes)) {}

  void encoder() {
    for (int64_t i = 0; i < config_.num_encoder_layers; ++i) {
      const int64_t length = shape_.computed_length(config_, i);
      const int64_t n = shape_.batch * length;
      self_attention(n, length, /*causal=*/false);
      feed_forward_of_layer(n, i);
      norms_and_sums(n, /*sublayers=*/2);
      if (config_.strides_layer(i)) {
        strided_layer(n);
      } else {
        update(n);
      }
    }
    final_norm(shape_.batch * shape_.memory_length(config_), config_.memory_width());
  }

  void decoder() {
    const int64_t n = shape_.target_tokens();
    for (int64_t i = 0; i < config_.num_decoder_layers; ++i) {
      self_attention(n, shape_.target_length, /*causal=*/true);
      cross_attention(n);
      feed_forward_of_layer(n, i);
      norms_and_sums(n, /*sublayers=*/3);
      update(n);
    }
    final_norm(n, config_.output_width());
  }

  /// A chunk of rows at a time. The kernel goes over a row of logits three times, but it stays in the
  /// cache meanwhile.
  void head() {
    const int64_t chunks = shape_.logit_chunks(config_.vocab_size);
    const double logits =
        static_cast<double>(shape_.target_tokens()) * static_cast<double>(config_.vocab_size);
    linear("head", shape_.logit_rows(config_.vocab_size), config_.output_width(),
           config_.vocab_size, chunks);
    move("head", 2 * e_ * logits);
    if (shape_.bf16) {  // the weight's copy, and every chunk's product added to its gradient
      const double weights = static_cast<double>(config_.output_width() * config_.vocab_size);
      move("types", (6 + 10 * static_cast<double>(chunks)) * weights);
    }
    work_.exponentials += micro() * 2 * logits;
  }

  /// Rows are gathered and their gradients scattered into a dense table, once for the encoder and
  /// once for the decoder; then the two are added.
  void embedding() {
    const double width = static_cast<double>(config_.embedding_width());
    const double tokens = static_cast<double>(shape_.input_tokens() + shape_.target_tokens());
    const double table = kFp32 * static_cast<double>(config_.vocab_size) * width;
    move("embedding", 5 * kFp32 * tokens * width + 5 * table);
  }

  /// Adafactor reads the gradient three times and the weight twice and writes it once; AdamW reads
  /// gradient, weight and two moments and writes all but the gradient. The gradient's norm reads it
  /// once more.
  void optimizer(OptimizerName name) {
    const double weights = kFp32 * static_cast<double>(count_parameters(config_).total);
    add_traffic("optimizer", ((name == OptimizerName::kAdamW ? 7 : 6) + 1) * weights);
    if (shape_.micro_batches > 1) add_traffic("accumulation", 3 * (micro() - 1) * weights);
  }

 private:
  double micro() const { return static_cast<double>(shape_.micro_batches); }

  void add_traffic(const std::string& part, double bytes) {
    for (auto& traffic : work_.traffic) {
      if (traffic.part == part) {
        traffic.bytes += bytes;
        return;
      }
    }
    work_.traffic.push_back({part, bytes});
  }

  /// Of every micro-batch.
  void move(const std::string& part, double bytes) { add_traffic(part, micro() * bytes); }

  void linear(const std::string& part, int64_t rows, int64_t in, int64_t out, int64_t times) {
    const int64_t all = times * shape_.micro_batches;
    for (auto& work : work_.linears) {
      if (work.part == part && work.rows == rows && work.in == in && work.out == out) {
        work.times += all;
        return;
      }
    }
    work_.linears.push_back({part, rows, in, out, all});
  }

  void linear_of_layer(const std::string& part, int64_t rows, int64_t in, int64_t out,
                       int64_t times) {
    linear(part, rows, in, out, times);
    if (!shape_.bf16) return;
    // The weight is copied in every forward pass, and its gradient comes back to fp32.
    move("types", 6 * (forward_ + 1) * static_cast<double>(times * in * out));
  }

  /// Numbers of one block.
  double width(int64_t n) const { return static_cast<double>(n) * d_; }
  double block(int64_t n) const { return kFp32 * width(n); }

  /// The gradients of an input that several operations read, added up.
  void sum_gradients(double sums, double bytes) { move("sums", sums * 3 * bytes); }

  void self_attention(int64_t n, int64_t length, bool causal) {
    attention(n, n, config_.d_model, length, length, /*biased=*/true, causal);
    sum_gradients(2, e_ * width(n));
  }

  void cross_attention(int64_t n) {
    const int64_t length = shape_.memory_length(config_);
    const int64_t m = shape_.batch * length;
    attention(n, m, config_.memory_width(), shape_.target_length, length, /*biased=*/false,
              /*causal=*/false);
    // Of keys and of values, over all layers.
    sum_gradients(2, e_ * static_cast<double>(m * config_.memory_width()));
  }

  void attention(int64_t n, int64_t m, int64_t key_width, int64_t queries, int64_t keys,
                 bool biased, bool causal) {
    const int64_t inner = config_.num_heads * config_.d_kv;
    linear_of_layer("projections", n, config_.d_model, inner, 1);
    linear_of_layer("projections", n, inner, config_.d_model, 1);
    linear_of_layer("projections", m, key_width, inner, 2);
    AttentionWork work{.queries = queries,
                       .keys = keys,
                       .heads = config_.num_heads,
                       .width = config_.d_kv,
                       .batch = shape_.batch,
                       .biased = biased,
                       .causal = causal};
    const auto found = std::find_if(work_.attentions.begin(), work_.attentions.end(),
                                    [&](const AttentionWork& other) {
                                      return other.queries == queries && other.keys == keys &&
                                             other.biased == biased && other.causal == causal;
                                    });
    auto& all = found == work_.attentions.end() ? work_.attentions.emplace_back(work) : *found;
    all.times += shape_.micro_batches;
  }

  /// The first norm reads x and writes y, the others read a sub-layer's output and write the sum too.
  /// Backward: y's gradient, x, the sum's gradient, and the result. Then the last residual; the
  /// gradient of the layer's input, which comes from the norm and from the residual; and in bf16
  /// those of the sub-layers' outputs.
  void norms_and_sums(int64_t n, int64_t sublayers) {
    const auto all = static_cast<double>(sublayers);
    move("norms", width(n) * (forward_ * (kFp32 + e_) + (e_ + 2 * kFp32) +
                              (all - 1) * (forward_ * (2 * kFp32 + 2 * e_) + (e_ + 3 * kFp32))));
    move("sums", width(n) * forward_ * (2 * kFp32 + e_));
    sum_gradients(1, block(n));
    if (shape_.bf16) move("types", width(n) * all * (kFp32 + e_));
  }

  void feed_forward_of_layer(int64_t n, int64_t index) {
    if (!config_.has_mixture(index)) {
      feed_forward(n, 1);
      return;
    }
    const int64_t places = StepShape::capacity(config_.moe, n);  // of an expert
    linear_of_layer("feed_forward", n, config_.d_model, config_.moe.experts, 1);
    feed_forward(places, config_.moe.experts);
    // The router's input times its jitter. Tokens are copied to the experts, and what these say is
    // weighted and added up; backward each of the three reads and writes as much twice.
    const double said = e_ * width(places * config_.moe.experts);
    move("feed_forward", 3 * (forward_ + 1) * block(n) + said * (8 * forward_ + 16));
  }

  /// `rows` of each expert.
  void feed_forward(int64_t rows, int64_t experts) {
    const double wide = static_cast<double>(rows * experts * config_.d_ff);
    const bool gated = config_.feed_forward == FeedForwardKind::kGatedGelu;
    linear_of_layer("feed_forward", rows, config_.d_model, config_.d_ff, experts * (gated ? 2 : 1));
    linear_of_layer("feed_forward", rows, config_.d_ff, config_.d_model, experts);
    // Forward each input is read and the product written; backward the product's gradient is read
    // too, and one written for each input.
    if (!gated) {
      move("feed_forward", e_ * wide * (2 * forward_ + 3));
      return;
    }
    move("feed_forward", e_ * wide * (3 * forward_ + 5));
    sum_gradients(1, e_ * width(rows * experts));
    work_.exponentials += micro() * (forward_ + 1) * wide;
  }

  /// Forward the update reads K + 1 blocks and writes K; backward it reads the K gradients and the
  /// K + 1 blocks and writes K + 1, and the active block's gradient is added to its own in the
  /// state's. Coefficients of the token are made of a norm, a quotient and a product, twice.
  void update(int64_t n) {
    if (config_.num_blocks() == 1) return;
    const auto blocks = static_cast<double>(config_.num_blocks());
    move("altup", block(n) * (2 * blocks + 1 + 3 * blocks + 2 + 3));
    if (config_.altup.coefficients == Coefficients::kToken) move("altup", block(n) * 2 * (5 + 8));
  }

  /// Of all positions N the m computed ones are copied, and their gradients spread out and added.
  /// Forward the sequence update is two sums of three terms, backward a product and three scalar
  /// products; without one, computed positions take their places, and their gradients are parted.
  void strided_layer(int64_t m) {
    const int64_t all = shape_.input_tokens();
    const double steps = config_.altup.variant == Variant::kSequence ? 12 + 7 : 5 + 8;
    move("altup", block(all) * (steps + 4) + block(m) * (2 + 15));
  }

  void final_norm(int64_t n, int64_t width) {
    move("norms", static_cast<double>(n * width) * (2 * kFp32 + 2 * e_ + 2 * kFp32));
  }

  const T5Config& config_;
  const StepShape& shape_;
  StepWork& work_;
  const double e_, d_, forward_;
};

constexpr double kAttentionForward = 2;  // products
constexpr double kAttentionBackward = 5;

}  // namespace

double LinearWork::flops() const {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
}

double AttentionWork::flops() const {
  return 2.0 * static_cast<double>(batch * heads * width) * static_cast<double>(queries * keys);
}

/// Checkpointing does not repeat the head, whose gradients are made in the forward pass.
int64_t StepWork::forward_passes_of(const LinearWork& linear) const {
  return linear.part == "head" ? 1 : forward_passes;
}

double StepWork::linear_flops(const std::string& part) const {
  double sum = 0;
  for (const auto& linear : linears) {
    if (!part.empty() && linear.part != part) continue;
    sum += static_cast<double>((forward_passes_of(linear) + 2) * linear.times) * linear.flops();
  }
  return sum;
}

double StepWork::linear_flops() const {
  return linear_flops("");
}

double StepWork::attention_flops() const {
  const double products =
      static_cast<double>(forward_passes) * kAttentionForward + kAttentionBackward;
  double sum = 0;
  for (const auto& attention : attentions) {
    sum += products * static_cast<double>(attention.times) * attention.flops();
  }
  return sum;
}

double StepWork::bytes() const {
  double sum = 0;
  for (const auto& part : traffic) sum += part.bytes;
  return sum;
}

StepWork step_work(const T5Config& model, const OptimizerConfig& optimizer,
                   const StepShape& shape) {
  StepWork work;
  work.forward_passes = shape.checkpointing ? 2 : 1;
  work.bf16 = shape.bf16;
  Counter counter(model, shape, work);
  counter.encoder();
  counter.decoder();
  counter.head();
  counter.embedding();
  counter.optimizer(optimizer.name);
  return work;
}

}  // namespace altup
