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
    const int64_t layers = config_.num_encoder_layers;
    const int64_t n = shape_.input_tokens();
    self_attention(layers, n, shape_.input_length, /*causal=*/false);
    stack(layers, n, /*sublayers=*/2);
    final_norm(n, config_.memory_width());
  }

  void decoder() {
    const int64_t layers = config_.num_decoder_layers;
    const int64_t n = shape_.target_tokens();
    self_attention(layers, n, shape_.target_length, /*causal=*/true);
    cross_attention(layers, n);
    stack(layers, n, /*sublayers=*/3);
    final_norm(n, config_.output_width());
  }

  /// A chunk of rows at a time. The kernel goes over a row of logits three times, but it stays in the
  /// cache meanwhile.
  void head() {
    const int64_t chunks = shape_.logit_chunks(config_.vocab_size);
    const double logits =
        static_cast<double>(shape_.target_tokens()) * static_cast<double>(config_.vocab_size);
    linear("head", 1, shape_.logit_rows(config_.vocab_size), config_.output_width(),
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

  void linear(const std::string& part, int64_t layers, int64_t rows, int64_t in, int64_t out,
              int64_t times) {
    const int64_t all = layers * times * shape_.micro_batches;
    for (auto& work : work_.linears) {
      if (work.part == part && work.rows == rows && work.in == in && work.out == out) {
        work.times += all;
        return;
      }
    }
    work_.linears.push_back({part, rows, in, out, all});
  }

  void layers_linear(const std::string& part, int64_t layers, int64_t rows, int64_t in, int64_t out,
                     int64_t times) {
    linear(part, layers, rows, in, out, times);
    if (!shape_.bf16) return;
    // The weight is copied in every forward pass, and its gradient comes back to fp32.
    move("types", 6 * (forward_ + 1) * static_cast<double>(layers * times * in * out));
  }

  /// The gradients of an input of `numbers` that several operations read, added up.
  void sum_gradients(double layers, double sums, double bytes_of_number, double numbers) {
    move("sums", layers * sums * 3 * bytes_of_number * numbers);
  }

  void self_attention(int64_t layers, int64_t n, int64_t length, bool causal) {
    attention(layers, n, n, config_.d_model, length, length, /*biased=*/true, causal);
    sum_gradients(static_cast<double>(layers), 2, e_, static_cast<double>(n) * d_);
  }

  void cross_attention(int64_t layers, int64_t n) {
    const int64_t m = shape_.input_tokens();
    attention(layers, n, m, config_.memory_width(), shape_.target_length, shape_.input_length,
              /*biased=*/false, /*causal=*/false);
    // Of keys and of values, over all layers.
    sum_gradients(static_cast<double>(layers), 2, e_,
                  static_cast<double>(m * config_.memory_width()));
  }

  void attention(int64_t layers, int64_t n, int64_t m, int64_t key_width, int64_t queries,
                 int64_t keys, bool biased, bool causal) {
    const int64_t inner = config_.num_heads * config_.d_kv;
    layers_linear("projections", layers, n, config_.d_model, inner, 1);
    layers_linear("projections", layers, n, inner, config_.d_model, 1);
    layers_linear("projections", layers, m, key_width, inner, 2);
    work_.attentions.push_back({.queries = queries,
                                .keys = keys,
                                .heads = config_.num_heads,
                                .width = config_.d_kv,
                                .batch = shape_.batch,
                                .biased = biased,
                                .causal = causal,
                                .times = layers * shape_.micro_batches});
  }

  /// What the layers of a stack have beside attention.
  void stack(int64_t layers, int64_t n, int64_t sublayers) {
    const double l = static_cast<double>(layers);
    const double width = static_cast<double>(n) * d_;  // numbers of one block
    feed_forward(layers, n);
    // Norms: the first reads x and writes y, the others read a sub-layer's output and write the sum
    // too. Backward: y's gradient, x, the sum's gradient, and the result.
    const double others = static_cast<double>(sublayers - 1);
    move("norms", l * width *
                      (forward_ * (kFp32 + e_) + (e_ + 2 * kFp32) +
                       others * (forward_ * (2 * kFp32 + 2 * e_) + (e_ + 3 * kFp32))));
    // The last residual; the gradient of the layer's input, which comes from the norm and from the
    // residual; and in bf16 those of the sub-layers' outputs.
    move("sums", l * width * forward_ * (2 * kFp32 + e_));
    sum_gradients(l, 1, kFp32, width);
    if (shape_.bf16) move("types", l * width * static_cast<double>(sublayers) * (kFp32 + e_));
    update(l, width);
  }

  void feed_forward(int64_t layers, int64_t n) {
    const double l = static_cast<double>(layers);
    const double wide = static_cast<double>(n * config_.d_ff);
    const bool gated = config_.feed_forward == FeedForwardKind::kGatedGelu;
    layers_linear("feed_forward", layers, n, config_.d_model, config_.d_ff, gated ? 2 : 1);
    layers_linear("feed_forward", layers, n, config_.d_ff, config_.d_model, 1);
    // Forward each input is read and the product written; backward the product's gradient is read
    // too, and one written for each input.
    if (!gated) {
      move("feed_forward", l * e_ * wide * (2 * forward_ + 3));
      return;
    }
    move("feed_forward", l * e_ * wide * (3 * forward_ + 5));
    sum_gradients(l, 1, e_, static_cast<double>(n) * d_);
    work_.exponentials += micro() * l * (forward_ + 1) * wide;
  }

  /// The active block's gradient is put into a state of zeros. With more blocks than that, forward
  /// the update reads K + 1 blocks and writes K; backward it reads the K gradients and the K + 1
  /// blocks and writes K + 1; and the state of zeros is added to the state's gradient.
  void update(double layers, double width) {
    const auto blocks = static_cast<double>(config_.num_blocks());
    const double block = kFp32 * width;
    const bool alone = config_.num_blocks() == 1;
    move(alone ? "sums" : "altup", layers * block * (blocks + 2));
    if (alone) return;
    move("altup", layers * block * (2 * blocks + 1 + 3 * blocks + 2));
    move("altup", layers * block * 3 * blocks);
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
