// One output an input, the next id chosen at each step: the likeliest, or one drawn. Ids stay on the
// device; the host looks only now and then whether rows have finished, and lets those go.
#include <numeric>

#include "altup/models/generation_scores.h"
#include "altup/models/generation_steps.h"
#include "altup/ops/ops.h"
#include "altup/util/random.h"

namespace altup {
namespace {

// One number for each (seed, example, step), whatever else is in the batch. [rows] fp64
torch::Tensor uniform_numbers(const GenerationConfig& config, const std::vector<int64_t>& examples,
                              int64_t step, const torch::Device& device) {
  constexpr uint64_t kSamplingStream = 0x73616d706c65;
  std::vector<double> numbers;
  for (const int64_t example : examples) {
    const auto index = static_cast<uint64_t>(example) << 32 | static_cast<uint64_t>(step);
    numbers.push_back(CounterRng(config.seed, kSamplingStream, index).uniform());
  }
  return torch::tensor(numbers, torch::kDouble).to(device);
}

// scores [rows, vocab_size], ids [rows, t] -> [rows]
torch::Tensor choose(torch::Tensor& scores, const torch::Tensor& ids,
                     const GenerationConfig& config, int64_t valid_vocab,
                     const std::vector<int64_t>& examples) {
  if (!config.sample) {
    return std::get<1>(likeliest(scores, 1, valid_vocab, /*normalise=*/false)).squeeze(1);
  }
  scores = scores.narrow(1, 0, valid_vocab);
  if (config.temperature != 1.0) {
    // The highest becomes 0, so that no quotient overflows upwards.
    scores.sub_(scores.amax(-1, /*keepdim=*/true)).div_(config.temperature);
  }
  keep_likeliest(scores, config.top_k, config.top_p);
  return sample_ids(scores, uniform_numbers(config, examples, ids.size(1) - 1, scores.device()));
}

Hypothesis to_hypothesis(const torch::Tensor& ids, bool stop_at_eos) {
  Hypothesis hypothesis;
  const auto row = ids.accessor<int64_t, 1>();
  for (int64_t i = 1; i < row.size(0) && !hypothesis.finished; ++i) {  // 0 is the leading pad
    hypothesis.ids.push_back(row[i]);
    hypothesis.finished = stop_at_eos && row[i] == kGenerationEos;
  }
  return hypothesis;
}

}  // namespace

Generation generate_rows(DecodingSteps& steps, const GenerationConfig& config, int64_t valid_vocab,
                         const std::vector<int64_t>& examples, const TokenWatch& watch) {
  const auto device = steps.ids_options().device();
  // A look waits for the device. A watcher does so at every id, and is told none behind the end.
  const int64_t look_every = device.is_cpu() || watch ? 1 : 8;
  Generation result;
  result.outputs.resize(examples.size());
  auto ids = torch::full({static_cast<int64_t>(examples.size()), 1 + config.max_new_tokens},
                         kGenerationPad, steps.ids_options());         // [rows, 1 + limit]
  auto unfinished = torch::ones_like(ids.select(1, 0), torch::kBool);  // [rows]
  std::vector<int64_t> rows(examples.size());                          // the input of each row
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<int64_t> numbers = examples;  // of each row

  // Takes out the rows that have finished, or all.
  const auto take_out = [&](bool all, int64_t length) {
    const auto left = ids.narrow(1, 0, 1 + length).cpu();
    const auto still = unfinished.cpu();
    std::vector<int64_t> kept;
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto row = static_cast<int64_t>(r);
      if (!all && still[row].item<bool>()) {
        kept.push_back(row);
      } else {
        result.outputs[static_cast<size_t>(rows[r])] = {
            to_hypothesis(left[row], config.stop_at_eos)};
      }
    }
    return kept;
  };
  const auto keep = [&](const std::vector<int64_t>& kept) {
    steps.select_rows(kept);
    const auto index = torch::tensor(kept, steps.ids_options());
    ids = ids.index_select(0, index);
    unfinished = unfinished.index_select(0, index);
    for (size_t i = 0; i < kept.size(); ++i) {
      rows[i] = rows[static_cast<size_t>(kept[i])];
      numbers[i] = numbers[static_cast<size_t>(kept[i])];
    }
    rows.resize(kept.size());
    numbers.resize(kept.size());
  };

  int64_t length = 0;  // ids chosen
  while (length < config.max_new_tokens) {
    auto scores = steps.next(ids.select(1, length));  // [rows, vocab_size]
    const auto before = ids.narrow(1, 0, 1 + length);
    process_scores(scores, before, config);
    const auto chosen = choose(scores, before, config, valid_vocab, numbers);  // [rows]
    ids.select(1, ++length)
        .copy_(config.stop_at_eos ? chosen.where(unfinished, kGenerationPad) : chosen);
    if (watch) watch(chosen.item<int64_t>());
    if (!config.stop_at_eos) continue;
    unfinished.logical_and_(chosen != kGenerationEos);
    if (length % look_every != 0) continue;
    const auto left = unfinished.sum().item<int64_t>();
    if (left == 0) break;
    if (left < ids.size(0)) keep(take_out(/*all=*/false, length));
  }
  take_out(/*all=*/true, length);
  return result;
}

}  // namespace altup
