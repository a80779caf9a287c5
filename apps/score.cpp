// altup score: the official metrics of prediction files, without a model.
#include <nlohmann/json.hpp>

#include "altup/tasks/task.h"
#include "altup/util/error.h"
#include "altup/util/text.h"
#include "apps/task_command.h"

namespace altup {
namespace {

struct Options {
  TaskOptions task;
  std::string predictions;
};

int score(const Options& options, const Command& command) {
  const auto tasks = find_tasks(options.task.tasks);
  std::vector<nlohmann::json> results;
  for (const Task* task : tasks) {
    const auto examples = task->load(options.task.data, options.task.split);
    for (const auto& example : examples) {
      if (!example.references.empty()) continue;
      throw UserError(options.task.data,
                      str("the ", options.task.split, " split of ", task->name,
                          " has no label to score with for example \"", example.id, "\""));
    }
    const auto path = predictions_path(options.predictions, *task, tasks.size());
    const auto predictions = task->read_predictions(path, examples);
    results.push_back({{"task", task->name},
                       {"metrics", task->score(predictions, examples)},
                       {"examples", examples.size()}});
  }
  write_json(command, task_figures(results), /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "score", "Metrics of prediction files");
  add_task_options(*sub, options->task);
  sub->add_option(
         "--predictions", options->predictions,
         "Predictions in the official layout; for several tasks, the folder of their files")
      ->required()
      ->type_name("PATH");
  sub->callback([options, &command] {
    command.action = [options, &command] { return score(*options, command); };
  });
}

}  // namespace altup
