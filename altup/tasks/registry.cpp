// Every task there is, by name. A new benchmark adds its function to benchmarks.h and one line
// here.
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/task.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace {

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = [] {
    std::vector<Task> list;
    add_glue_tasks(list);
    add_superglue_tasks(list);
    add_squad_tasks(list);
    return list;
  }();
  return tasks;
}

}  // namespace

const Task& find_task(std::string_view name) {
  for (const auto& task : all_tasks()) {
    if (task.name == name) return task;
  }
  const auto known = task_names();
  const std::string closest = nearest(name, known);
  throw UserError(str("task \"", name, "\" is not known; expected ",
                      closest.empty() ? "one of " + join(known, ", ") : "perhaps " + closest));
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto& task : all_tasks()) names.push_back(task.name);
  return names;
}

}  // namespace altup
