// altup evaluate: the official metrics of a checkpoint on a task.
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/tasks/task.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"
#include "trainers/evaluator.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string task;
  std::string data;
  std::string split = "dev";
  std::string predictions;
  std::string answers;
  int64_t batch_size = 32;
  int64_t max_examples = 0;
  int64_t input_length = 0;
  int64_t max_new_tokens = 0;
};

int evaluate(const Options& options, const Command& command) {
  for (const auto& file : {options.predictions, options.answers}) {
    if (!file.empty()) require_writable_file(file);
  }
  const Task& task = find_task(options.task);
  auto examples = task.load(options.data, options.split);
  if (options.max_examples > 0 && static_cast<int64_t>(examples.size()) > options.max_examples) {
    examples.resize(static_cast<size_t>(options.max_examples));
  }
  auto loaded = load_model(options.checkpoint, default_device());
  const TextGenerationConfig decoding{
      .batch_size = options.batch_size,
      .input_length = options.input_length > 0 ? options.input_length : task.input_length,
      .decoding = {.max_new_tokens =
                       options.max_new_tokens > 0 ? options.max_new_tokens : task.target_length},
      .precision = resolve_precision(loaded.config.train.precision, default_device())};
  const auto result = evaluate_task(loaded.model, *loaded.tokenizer, task, examples, decoding);
  if (!options.predictions.empty())
    task.write_predictions(options.predictions, result.predictions, examples);
  if (!options.answers.empty()) write_answers(options.answers, result, examples);
  if (result.metrics.empty())
    log_warning("the ", options.split, " split has no labels: predictions only, no metrics");
  const nlohmann::json figures = {{"task", task.name},
                                  {"metrics", result.metrics},
                                  {"examples", result.examples},
                                  {"truncated_outputs", result.generation.truncated_outputs},
                                  {"truncated_inputs", result.generation.truncated_inputs}};
  write_json(command, figures, /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_evaluate(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "evaluate", "Metrics of a model on a task");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--task", options->task, "Task name, as glue/sst2 or squad")
      ->required()
      ->type_name("NAME");
  sub->add_option("--data", options->data, "Directory of the official files, or a file")
      ->required();
  sub->add_option("--split", options->split, "Split")->capture_default_str();
  sub->add_option("--predictions", options->predictions, "Write predictions in the official layout")
      ->type_name("FILE");
  sub->add_option("--answers", options->answers,
                  "Write inputs, raw outputs and references as JSON lines")
      ->type_name("FILE");
  sub->add_option("--batch-size", options->batch_size, "Examples decoded together, at most")
      ->check(CLI::PositiveNumber);
  sub->add_option("--max-examples", options->max_examples, "Use at most so many (0: all)")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--input-length", options->input_length, "Longest input, tokens (0: the task's)")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--max-new-tokens", options->max_new_tokens,
                  "Longest answer, tokens (0: the task's)")
      ->check(CLI::NonNegativeNumber);
  sub->callback([options, &command] {
    command.action = [options, &command] { return evaluate(*options, command); };
  });
}

}  // namespace altup
