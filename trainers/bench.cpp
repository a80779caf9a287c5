#include "trainers/bench.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "altup/models/evaluation_mode.h"
#include "altup/models/generation.h"
#include "altup/models/model_size.h"
#include "altup/ops/ops.h"
#include "altup/optim/optimizer.h"
#include "altup/util/text.h"
#include "trainers/profile.h"
#include "trainers/runtime.h"
#include "trainers/timing.h"
#include "trainers/train_step.h"

namespace altup {
namespace {

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

// A model, its optimiser and one batch.
class StepRun {
 public:
  explicit StepRun(const RunConfig& config)
      : config_(config),
        precision_(resolve_precision(config.train.precision, default_device())),
        model_(seeded_model(config)),
        optimizer_(make_optimizer(config.optimizer, named_parameters(*model_))),
        batch_(random_batch(config.train.batch_size, config.maximum_lengths().input,
                            config.maximum_lengths().target, config.model.vocab_size)) {}

  void operator()() {
    train_step(model_, config_.model.vocab_size, *optimizer_, batch_, ++step_, config_, precision_);
  }
  const Batch& batch() const { return batch_; }
  Precision precision() const { return precision_; }

 private:
  static T5 seeded_model(const RunConfig& config) {
    torch::manual_seed(config.train.seed);
    T5 model(config.model);
    model->to(default_device());
    model->set_activation_checkpointing(config.train.activation_checkpointing);
    return model;
  }

  const RunConfig& config_;
  Precision precision_;
  T5 model_;
  std::unique_ptr<Optimizer> optimizer_;
  Batch batch_;
  int64_t step_ = 0;
};

}  // namespace

StepBench bench_step(const RunConfig& config, int64_t steps, bool reference,
                     const std::filesystem::path& profile) {
  StepRun run(config);
  StepBench result;
  result.steps = steps;
  result.precision = run.precision();
  const auto run_reference = [&] {
    const ReferenceKernels kernels;
    run();
  };
  const bool both = reference && !use_reference_kernels();
  run();
  result.peak_memory_mib = peak_memory_mib();  // before the reference path adds its own
  std::tie(result.fused, result.reference) = interleave(
      steps, [&] { run(); }, both ? std::function<void()>(run_reference) : nullptr);
  if (!both) result.peak_memory_mib = peak_memory_mib();  // of all the steps
  if (!profile.empty()) {
    Profile trace;
    run();
    trace.write(profile);
  }
  const auto lengths = config.maximum_lengths();
  result.tokens = run.batch().input_tokens() + run.batch().target_tokens();
  result.flops = static_cast<double>(run.batch().size) *
                 count_flops(config.model, lengths.input, lengths.target).forward_backward;
  result.parameters = count_parameters(config.model).total;
  return result;
}

StepComparison compare_steps(const RunConfig& config, const RunConfig& other, int64_t steps) {
  StepRun run(config);
  StepRun run_other(other);
  std::vector<double> seconds;
  std::vector<double> other_seconds;
  std::vector<double> ratios;
  for (int64_t i = -1; i < steps; ++i) {
    const bool first = i % 2 == 0;
    double mine = 0.0;
    if (first) mine = seconds_of([&] { run(); });
    const double others = seconds_of([&] { run_other(); });
    if (!first) mine = seconds_of([&] { run(); });
    if (i < 0) continue;
    seconds.push_back(mine);
    other_seconds.push_back(others);
    ratios.push_back(mine / others);
  }
  std::sort(ratios.begin(), ratios.end());
  const auto quartile = [&](double part) {
    const auto index = part * static_cast<double>(ratios.size() - 1);
    return ratios[static_cast<size_t>(std::lround(index))];
  };
  return {summarise(seconds), summarise(other_seconds), median(ratios), quartile(0.25),
          quartile(0.75)};
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

}  // namespace altup
