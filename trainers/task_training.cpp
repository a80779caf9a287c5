#include "trainers/task_training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "trainers/evaluator.h"
#include "trainers/runtime.h"

namespace altup {
namespace {

// The record of several tasks together: the mean of their best metrics.
constexpr const char* kAverage = "average";
constexpr const char* kAverageScore = "score";

std::vector<Example> encode_examples(const std::string& task,
                                     const std::vector<TaskExample>& examples,
                                     const Tokenizer& tokenizer, const TaskConfig& config) {
  std::vector<Example> encoded;
  int64_t cut = 0;
  for (const auto& example : examples) {
    bool cut_input = false;
    bool cut_target = false;
    encoded.push_back(
        {encode_with_eos(tokenizer, example.input, config.input_length, &cut_input),
         encode_with_eos(tokenizer, example.target, config.target_length, &cut_target)});
    if (cut_input || cut_target) ++cut;
  }
  if (cut > 0) {
    log_warning(task, ": ", cut, " of ", examples.size(),
                " training examples were cut to task.input_length or target_length");
  }
  return encoded;
}

double mixing_size(size_t examples, int64_t cap) {
  const auto size = static_cast<int64_t>(examples);
  return static_cast<double>(cap > 0 ? std::min(size, cap) : size);
}

void log_shares(const std::vector<MixturePart>& parts) {
  double total = 0.0;
  for (const auto& part : parts) total += part.weight;
  for (const auto& part : parts) {
    log_info(part.name, ": ", thousands(static_cast<int64_t>(part.examples.size())), " examples, ",
             fixed(100.0 * part.weight / total, 1), " % of the mixture");
  }
}

struct HeldOut {
  const Task* task;
  std::vector<TaskExample> examples;
  std::string answers_file;
};

std::vector<HeldOut> load_held_out(const TaskConfig& config) {
  const auto tasks = find_tasks(config.names);
  std::vector<HeldOut> all;
  for (const Task* task : tasks) {
    HeldOut held_out{task, task->load(config.data, config.validation_split), "answers.jsonl"};
    for (const auto& example : held_out.examples) {
      if (!example.references.empty()) continue;
      throw UserError(str("task.validation_split is \"", config.validation_split, "\", but ",
                          task->name, " has no label there for example \"", example.id,
                          "\"; expected a labelled split such as dev"));
    }
    const auto limit = static_cast<size_t>(config.validation_examples);
    if (limit > 0 && held_out.examples.size() > limit) held_out.examples.resize(limit);
    if (tasks.size() > 1) held_out.answers_file = str("answers_", name_in_files(*task), ".jsonl");
    all.push_back(std::move(held_out));
  }
  return all;
}

// "score" of "average", "accuracy" of the only task, or "glue/rte/accuracy".
struct BestMetric {
  std::string split;
  std::string metric;
};

BestMetric best_metric(const std::string& wanted, const std::vector<HeldOut>& all) {
  const bool alone = all.size() == 1;
  std::vector<std::string> known;
  if (!alone) known.emplace_back(kAverage);
  for (const auto& held_out : all) {
    const std::vector<std::string> nothing(held_out.examples.size());
    for (const auto& [metric, value] : held_out.task->score(nothing, held_out.examples)) {
      known.push_back(alone ? metric : str(held_out.task->name, "/", metric));
    }
  }
  const auto& first = *all.front().task;
  const std::string chosen = !wanted.empty() ? wanted
                             : alone         ? first.best_metric
                                             : std::string(kAverage);
  if (std::find(known.begin(), known.end(), chosen) == known.end()) {
    throw UserError(str("task.best_metric is \"", chosen, "\"; expected ", join(known, " or ")));
  }
  if (alone) return {first.name, chosen};
  if (chosen == kAverage) return {kAverage, kAverageScore};
  const size_t slash = chosen.rfind('/');
  return {chosen.substr(0, slash), chosen.substr(slash + 1)};
}

}  // namespace

std::unique_ptr<BatchSource> open_task_mixture(const RunConfig& config,
                                               const Tokenizer& tokenizer) {
  auto tasks = find_tasks(config.task.names);
  const auto trained_on = [](const Task* task) { return !task->evaluation_only; };
  if (std::any_of(tasks.begin(), tasks.end(), trained_on)) {
    tasks.erase(std::stable_partition(tasks.begin(), tasks.end(), trained_on), tasks.end());
  }
  std::vector<MixturePart> parts;
  for (const Task* task : tasks) {
    const auto examples = task->load(config.task.data, config.task.split);
    parts.push_back({task->name, encode_examples(task->name, examples, tokenizer, config.task),
                     mixing_size(examples.size(), config.task.mixing_cap)});
  }
  if (parts.size() > 1) log_shares(parts);
  return make_mixture_source(std::move(parts), config.train.batch_size,
                             static_cast<uint64_t>(config.train.seed), config.task.bucket_batches);
}

void prepare_task_evaluation(TrainingRun& run) {
  const TaskConfig& config = run.config.task;
  const auto all = std::make_shared<const std::vector<HeldOut>>(load_held_out(config));
  const auto best = best_metric(config.best_metric, *all);
  run.best_split = best.split;
  run.best_metric = best.metric;
  run.higher_is_better = true;
  const TextGenerationConfig decoding{
      .batch_size = 64,
      .input_length = config.input_length,
      .decoding = {.max_new_tokens = config.target_length},
      .precision = resolve_precision(run.config.train.precision, default_device())};
  run.rehearse = [&run, all, decoding] {
    std::vector<std::string> inputs;
    for (const auto& held_out : *all) {
      for (const auto& example : held_out.examples) inputs.push_back(example.input);
    }
    const auto batch = largest_batch(*run.tokenizer, inputs, decoding);
    log_info("the largest batch of an evaluation, tried first: ", batch.size(), " inputs");
    generate_texts(run.model, *run.tokenizer, batch, decoding);
  };
  run.evaluate = [&run, all, decoding] {
    std::vector<MetricRecord> records;
    double sum = 0.0;
    for (const auto& held_out : *all) {
      const auto result =
          evaluate_task(run.model, *run.tokenizer, *held_out.task, held_out.examples, decoding);
      if (!result.generation.complete) return std::vector<MetricRecord>();
      write_answers(run.output / held_out.answers_file, result, held_out.examples);
      auto values = result.metrics;
      values["cut_answers"] = 100.0 * result.generation.truncated_share();
      records.push_back({0, held_out.task->name, std::move(values)});
      const double value = result.metrics.at(held_out.task->best_metric);
      sum += std::isnan(value) ? 0.0 : value;  // a correlation of constant predictions
    }
    if (all->size() > 1) {
      records.push_back({0, kAverage, {{kAverageScore, sum / static_cast<double>(all->size())}}});
    }
    return records;
  };
}

}  // namespace altup
