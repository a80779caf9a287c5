// altup score: the official metrics of a prediction file, without a model.
#include <nlohmann/json.hpp>

#include "altup/tasks/task.h"
#include "altup/util/error.h"
#include "apps/command.h"

namespace altup {
namespace {

struct Options {
  std::string task;
  std::string data;
  std::string split = "dev";
  std::string predictions;
};

int score(const Options& options, const Command& command) {
  const Task& task = find_task(options.task);
  const auto examples = task.load(options.data, options.split);
  if (examples.empty() || examples.front().references.empty()) {
    throw UserError(options.data, "the " + options.split + " split of " + task.name +
                                      " has no labels to score with");
  }
  const auto predictions = task.read_predictions(options.predictions, examples);
  const nlohmann::json figures = {{"task", task.name},
                                  {"metrics", task.score(predictions, examples)},
                                  {"examples", examples.size()}};
  write_json(command, figures, /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "score", "Metrics of a prediction file");
  sub->add_option("--task", options->task, "Task name, as glue/sst2 or squad")
      ->required()
      ->type_name("NAME");
  sub->add_option("--data", options->data, "Directory of the official files, or a file")
      ->required();
  sub->add_option("--split", options->split, "Split")->capture_default_str();
  sub->add_option("--predictions", options->predictions, "Predictions in the official layout")
      ->required()
      ->type_name("FILE");
  sub->callback([options, &command] {
    command.action = [options, &command] { return score(*options, command); };
  });
}

}  // namespace altup
