#include "trainers/bench.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "altup/models/evaluation_mode.h"
#include "altup/models/generation.h"
#include "altup/models/model_size.h"
#include "altup/ops/ops.h"
#include "altup/optim/optimizer.h"
#include "altup/util/text.h"
#include "trainers/runtime.h"
#include "trainers/train_step.h"

namespace altup {
namespace {

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Timing summarise(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

// Runs both bodies once to warm up, then `repeats` times in turn.
std::pair<Timing, Timing> interleave(int64_t repeats, const std::function<void()>& first,
                                     const std::function<void()>& second) {
  std::vector<double> first_seconds;
  std::vector<double> second_seconds;
  for (int64_t i = -1; i < repeats; ++i) {
    const double a = seconds_of(first);
    const double b = second ? seconds_of(second) : 0.0;
    if (i < 0) continue;
    first_seconds.push_back(a);
    if (second) second_seconds.push_back(b);
  }
  return {summarise(first_seconds), summarise(second_seconds)};
}

class ReferenceKernels {
 public:
  ReferenceKernels() : before_(use_reference_kernels()) { set_use_reference_kernels(true); }
  ~ReferenceKernels() { set_use_reference_kernels(before_); }
  ReferenceKernels(const ReferenceKernels&) = delete;
  ReferenceKernels& operator=(const ReferenceKernels&) = delete;

 private:
  bool before_;
};

Batch random_batch(int64_t size, int64_t input_length, int64_t target_length, int64_t vocab_size) {
  CounterRng rng(1);
  const auto ids = [&](int64_t length) {
    constexpr int64_t kFirstPiece = 3;  // after pad, eos and unk
    std::vector<int32_t> row(static_cast<size_t>(length));
    for (auto& id : row) {
      id = static_cast<int32_t>(kFirstPiece + static_cast<int64_t>(rng.below(static_cast<uint64_t>(
                                                  vocab_size - kFirstPiece))));
    }
    return row;
  };
  std::vector<Example> examples;
  for (int64_t i = 0; i < size; ++i) examples.push_back({ids(input_length), ids(target_length)});
  return collate(examples);
}

}  // namespace

StepBench bench_step(const RunConfig& config, int64_t steps) {
  const auto device = default_device();
  torch::manual_seed(config.train.seed);
  T5 model(config.model);
  model->to(device);
  model->set_activation_checkpointing(config.train.activation_checkpointing);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  const auto lengths = config.data.lengths();
  const Batch batch =
      random_batch(config.train.batch_size, lengths.input, lengths.target, config.model.vocab_size);

  StepBench result;
  result.steps = steps;
  result.precision = resolve_precision(config.train.precision, device);
  int64_t step = 0;
  const auto run = [&] {
    train_step(model, config.model.vocab_size, *optimizer, batch, ++step, config, result.precision);
  };
  const auto run_reference = [&] {
    const ReferenceKernels reference;
    run();
  };
  const bool has_kernels = config.model.num_blocks() > 1 && !use_reference_kernels();
  run();
  result.peak_memory_mib = peak_memory_mib();  // before the reference path adds its own
  std::tie(result.fused, result.reference) =
      interleave(steps, run, has_kernels ? std::function<void()>(run_reference) : nullptr);
  result.tokens = batch.input_tokens() + batch.target_tokens();
  result.flops = static_cast<double>(batch.size) *
                 count_flops(config.model, lengths.input, lengths.target).forward_backward;
  result.parameters = count_parameters(config.model).total;
  return result;
}

GenerateBench bench_generate(T5& model, const GenerateBenchConfig& config) {
  torch::NoGradGuard no_grad;
  EvaluationMode evaluation(*model);
  const auto device = model->shared->weight.device();
  const int64_t vocabulary = model->config().vocab_size;
  const int64_t valid_vocab =
      config.valid_vocab > 0 ? std::min(config.valid_vocab, vocabulary) : vocabulary;
  AutocastGuard autocast(config.precision, device);
  const auto inputs = torch::randint(3, valid_vocab, {config.batch_size, config.input_length},
                                     torch::TensorOptions().dtype(torch::kInt64).device(device));
  const auto cached = [&] {
    generate(model, inputs, {},
             {.max_new_tokens = config.new_tokens,
              .valid_vocab = valid_vocab,
              .stop_at_eos = false,
              .beams = config.beams});
  };
  const auto uncached = [&] {
    const auto memory = model->encode(inputs, {});
    auto ids = torch::zeros({config.batch_size, 1}, inputs.options());
    for (int64_t i = 0; i < config.new_tokens; ++i) {
      const auto decoded = model->decode(ids, memory, {});
      const auto logits = model->logits(decoded.narrow(1, i, 1)).narrow(-1, 0, valid_vocab);
      ids = torch::cat({ids, logits.argmax(-1)}, 1);
    }
  };
  GenerateBench result;
  const bool both = config.uncached && config.beams == 1;
  std::tie(result.cached, result.uncached) =
      interleave(config.repeats, cached, both ? std::function<void()>(uncached) : nullptr);
  result.tokens = config.batch_size * config.new_tokens;
  return result;
}

std::vector<OpBench> bench_ops(int64_t repeats) {
  std::vector<OpBench> results;
  for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
    for (const int64_t blocks : {2, 4}) {
      const auto x = torch::randn({blocks, 8, 512, 512}).to(dtype).requires_grad_();
      const auto x_tilde = torch::randn({8, 512, 512}).to(dtype).requires_grad_();
      const auto p = torch::eye(blocks).requires_grad_();
      const auto g = torch::ones({blocks}).requires_grad_();
      const auto gradient = torch::randn_like(x);
      const auto forward = [&] {
        torch::NoGradGuard no_grad;
        update(x, x_tilde, p, g, 0);
      };
      const auto both = [&] {
        torch::autograd::grad({update(x, x_tilde, p, g, 0)}, {x, x_tilde, p, g}, {gradient});
      };
      const std::string shape =
          altup::str(" K=", blocks, dtype == torch::kFloat ? " fp32" : " bf16", " [", blocks,
                     ", 8, 512, 512]");
      const auto measure = [&](const std::string& what, const std::function<void()>& body) {
        OpBench result{.name = "update " + what + shape, .fused = {}, .reference = {}};
        std::tie(result.fused, result.reference) = interleave(repeats, body, [&] {
          const ReferenceKernels reference;
          body();
        });
        results.push_back(result);
      };
      measure("forward", forward);
      measure("forward+backward", both);
    }
  }
  return results;
}

}  // namespace altup
