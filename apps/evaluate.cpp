// altup evaluate: the official metrics of a checkpoint on one task or several.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <set>

#include "altup/tasks/benchmark_average.h"
#include "altup/tasks/own_task.h"
#include "altup/tasks/task.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "apps/decoding_options.h"
#include "apps/task_command.h"
#include "trainers/checkpoint_io.h"
#include "trainers/evaluator.h"

namespace altup {
namespace {

struct Options {
  TaskOptions task;
  std::string checkpoint;
  std::string predictions;
  std::string answers;
  int64_t batch_size = 32;
  int64_t max_examples = 0;
  int64_t input_length = 0;
  GenerationConfig decoding;
  std::string precision;
};

std::filesystem::path answers_path(const std::filesystem::path& path, const Task& task,
                                   size_t num_tasks) {
  return num_tasks == 1 ? path : path / (task.submission_file + ".answers.jsonl");
}

void make_folder(const std::string& path) {
  if (std::filesystem::exists(path) && !std::filesystem::is_directory(path)) {
    throw UserError(path, "is a file; expected a folder, since there are several tasks");
  }
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw UserError(path, "cannot be made: " + error.message());
}

// Asked before the work, of every file that will be written: a file for one task, one in a folder
// for each of several.
void require_writable(const Options& options, const std::vector<const Task*>& tasks) {
  for (const auto& path : {options.predictions, options.answers}) {
    if (!path.empty() && tasks.size() > 1) make_folder(path);
  }
  std::set<std::filesystem::path> files;
  const auto require = [&](const std::filesystem::path& file) {
    require_writable_file(file);
    if (!files.insert(std::filesystem::weakly_canonical(std::filesystem::absolute(file))).second) {
      throw UserError(file.string(),
                      "would be written twice; expected files of their own for --predictions and "
                      "--answers");
    }
  };
  for (const Task* task : tasks) {
    if (!options.predictions.empty()) {
      require(predictions_path(options.predictions, *task, tasks.size()));
    }
    if (!options.answers.empty()) require(answers_path(options.answers, *task, tasks.size()));
  }
}

std::vector<TaskExample> load(const Options& options, const Task& task) {
  auto examples = task.load(options.task.data, options.task.split);
  if (options.max_examples > 0 && static_cast<int64_t>(examples.size()) > options.max_examples) {
    examples.resize(static_cast<size_t>(options.max_examples));
  }
  return examples;
}

// The longest input and answer: those that the checkpoint was fine-tuned with, where that was on
// this task, so that it is asked as its own training asked; else the task's.
struct Lengths {
  int64_t input;
  int64_t answer;
};

Lengths lengths_of(const Task& task, const TaskConfig& trained) {
  for (const auto& name : trained.names) {
    const auto members = benchmark_tasks(name);
    const bool own = is_own_task(name) && std::filesystem::exists(name);
    if (name == task.name || (own && find_task(name).name == task.name) ||
        std::find(members.begin(), members.end(), task.name) != members.end()) {
      return {trained.input_length, trained.target_length};
    }
  }
  return {task.input_length, task.target_length};
}

nlohmann::json evaluate_one(const Options& options, LoadedModel& loaded, const Task& task,
                            const std::vector<TaskExample>& examples, size_t num_tasks) {
  const auto lengths = lengths_of(task, loaded.config.task);
  TextGenerationConfig config{
      .batch_size = options.batch_size,
      .input_length = options.input_length > 0 ? options.input_length : lengths.input,
      .decoding = options.decoding,
      .precision = decoding_precision(options.precision, loaded.config)};
  if (config.decoding.max_new_tokens == 0) config.decoding.max_new_tokens = lengths.answer;
  const auto result = evaluate_task(loaded.model, *loaded.tokenizer, task, examples, config);
  if (!options.predictions.empty()) {
    task.write_predictions(predictions_path(options.predictions, task, num_tasks),
                           result.predictions, examples);
  }
  if (!options.answers.empty()) {
    write_answers(answers_path(options.answers, task, num_tasks), result, examples);
  }
  return {{"task", task.name},
          {"metrics", result.metrics},
          {"examples", result.examples},
          {"truncated_outputs", result.generation.truncated_outputs},
          {"truncated_share", result.generation.truncated_share()},
          {"truncated_inputs", result.generation.truncated_inputs}};
}

// A task's figures as soon as they are there.
void log_metrics(const std::string& task, const nlohmann::json& metrics) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : metrics.items()) {
    parts.push_back(str(name, " ", fixed(value.get<double>(), 2), " %"));
  }
  if (!parts.empty()) log_info(task, ": ", join(parts, ", "));
}

int evaluate(const Options& options, const Command& command) {
  const auto tasks = find_tasks(options.task.tasks);
  require_writable(options, tasks);
  // All files are read before any model is: a missing one is told at once.
  std::vector<std::vector<TaskExample>> examples;
  for (const Task* task : tasks) examples.push_back(load(options, *task));
  auto loaded = load_model(options.checkpoint, default_device());
  std::vector<nlohmann::json> results;
  for (size_t i = 0; i < tasks.size(); ++i) {
    results.push_back(evaluate_one(options, loaded, *tasks[i], examples[i], tasks.size()));
    if (tasks.size() > 1) log_metrics(tasks[i]->name, results.back().at("metrics"));
  }
  write_json(command, task_figures(results), /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_evaluate(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "evaluate", "Metrics of a model on tasks");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  add_task_options(*sub, options->task);
  sub->add_option("--predictions", options->predictions,
                  "Write predictions in the official layout; for several tasks, into this folder")
      ->type_name("PATH");
  sub->add_option("--answers", options->answers,
                  "Write inputs, raw outputs and references as JSON lines; for several tasks, into "
                  "this folder")
      ->type_name("PATH");
  sub->add_option("--batch-size", options->batch_size, "Examples decoded together, at most")
      ->check(whole_number(1));
  sub->add_option("--max-examples", options->max_examples, "Use at most so many (0: all)")
      ->check(whole_number(0));
  sub->add_option("--input-length", options->input_length,
                  "Longest input, tokens (0: as fine-tuned on the task, else the task's)")
      ->check(whole_number(0));
  sub->add_option("--max-new-tokens", options->decoding.max_new_tokens,
                  "Longest answer, tokens (0: as fine-tuned on the task, else the task's)")
      ->check(whole_number(0));
  add_beam_options(*sub, options->decoding);
  add_precision_option(*sub, options->precision);
  sub->callback([options, &command] {
    command.action = [options, &command] { return evaluate(*options, command); };
  });
}

}  // namespace altup
