// What padding costs: steps on the batches of real tasks, padded in every way. A batch meets all ways
// one after the other, another one first each time, so that what else the machine does meets all
// alike; and since the same examples go through, their times compare batch by batch.
#include <algorithm>
#include <array>

#include "altup/models/t5.h"
#include "altup/optim/optimizer.h"
#include "trainers/batch_tensors.h"
#include "trainers/bench.h"
#include "trainers/runtime.h"
#include "trainers/task_training.h"
#include "trainers/timing.h"
#include "trainers/train_step.h"
#include "trainers/training.h"

namespace altup {
namespace {

/// Tokens that go through the model, padding included.
double computed_tokens(const Batch& batch, const RunConfig& config) {
  const int64_t micro =
      config.train.micro_batch_size > 0 ? config.train.micro_batch_size : batch.size;
  int64_t tokens = 0;
  for (int64_t first = 0; first < batch.size; first += micro) {
    const auto tensors =
        to_tensors(batch, first, std::min(micro, batch.size - first), config, torch::kCPU);
    tokens += tensors.input_ids.numel() + tensors.decoder_ids.numel();
  }
  return static_cast<double>(tokens);
}

}  // namespace

FinetuneBench bench_finetune(const RunConfig& run, int64_t steps) {
  constexpr std::array kWays = {Padding::kNone, Padding::kLongest, Padding::kMaximum};

  RunConfig config = run;
  config.validate_finetuning();
  std::shared_ptr<const Tokenizer> tokenizer;
  T5 model = make_model(config, tokenizer);
  model->set_activation_checkpointing(config.train.activation_checkpointing);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  const auto source = open_task_mixture(config, *tokenizer);

  FinetuneBench result;
  result.steps = steps;
  result.precision = resolve_precision(config.train.precision, model->shared->weight.device());
  std::array<std::vector<double>, kWays.size()> seconds;  // of each batch
  std::vector<double> tokens;                             // of each batch
  for (const auto way : kWays) result.paddings.emplace_back().padding = way;
  int64_t step = 0;
  for (int64_t number = -1; number < steps; ++number) {  // the first batch warms up
    const Batch batch = source->next();
    for (size_t turn = 0; turn < kWays.size(); ++turn) {
      const size_t way = (turn + static_cast<size_t>(number + 1)) % kWays.size();
      config.train.padding = kWays[way];
      const double taken = seconds_of([&] {
        train_step(model, tokenizer->pieces(), *optimizer, batch, ++step, config, result.precision);
      });
      if (number < 0) continue;
      seconds[way].push_back(taken);
      result.paddings[way].computed_tokens +=
          computed_tokens(batch, config) / static_cast<double>(steps);
    }
    if (number < 0) continue;
    tokens.push_back(static_cast<double>(batch.input_tokens() + batch.target_tokens()));
    result.tokens += tokens.back() / static_cast<double>(steps);
  }

  const auto& at_maximum = seconds.back();
  for (size_t way = 0; way < kWays.size(); ++way) {
    std::vector<double> rates;
    std::vector<double> ratios;
    for (size_t i = 0; i < tokens.size(); ++i) {
      rates.push_back(tokens[i] / seconds[way][i]);
      ratios.push_back(at_maximum[i] / seconds[way][i]);
    }
    auto& bench = result.paddings[way];
    bench.tokens_per_second = median(rates);
    bench.ratio = median(ratios);
    bench.step = summarise(seconds[way]);
  }
  return result;
}

}  // namespace altup
