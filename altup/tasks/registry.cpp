// Every task there is, by name. A new benchmark adds its function to benchmarks.h and one line
// here. A name that ends in ".toml" is a user's own task.
#include <algorithm>
#include <deque>
#include <filesystem>
#include <mutex>

#include "altup/tasks/benchmark_average.h"
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/own_task.h"
#include "altup/tasks/task.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = [] {
    std::vector<Task> list;
    add_glue_tasks(list);
    add_superglue_tasks(list);
    add_squad_tasks(list);
    add_triviaqa_tasks(list);
    return list;
  }();
  return tasks;
}

// Read once for each content of a file, so that a task stays where it is however its path is
// spelled, and a file that was changed is another task.
const Task& find_own_task(const std::string& path) {
  struct Loaded {
    std::filesystem::path file;
    std::string bytes;
    Task task;
  };
  static std::mutex mutex;
  static std::deque<Loaded> loaded;  // grows without moving what callers hold
  const std::string bytes = read_file(path);
  const auto file = std::filesystem::weakly_canonical(path);
  const std::lock_guard lock(mutex);
  for (const auto& known : loaded) {
    if (known.file == file && known.bytes == bytes) return known.task;
  }
  loaded.push_back({file, bytes, make_own_task(read_own_task(path, task_names()))});
  return loaded.back().task;
}

// A task as it was asked for.
struct NamedTask {
  std::string name;
  const Task* task;
};

// Metrics and files of a list of tasks are told apart by these.
void check_distinct(const NamedTask& a, const NamedTask& b) {
  if (a.task == b.task) {
    throw UserError(str("task \"", a.task->name, "\" is there twice; expected each task once"));
  }
  if (a.task->name == b.task->name) {
    throw UserError(str("tasks \"", a.name, "\" and \"", b.name, "\" are both called \"",
                        a.task->name, "\"; expected a name of its own for each"));
  }
  if (a.task->submission_file == b.task->submission_file) {
    throw UserError(str("tasks \"", a.name, "\" and \"", b.name, "\" both write ",
                        a.task->submission_file, "; expected names that give different files"));
  }
}

}  // namespace

const Task& find_task(std::string_view name) {
  if (is_own_task(name)) return find_own_task(std::string(name));
  for (const auto& task : all_tasks()) {
    if (task.name == name) return task;
  }
  const auto known = task_names();
  const std::string closest = nearest(name, known);
  throw UserError(str("task \"", name, "\" is not known; expected ",
                      closest.empty() ? "one of " + join(known, ", ") : "perhaps " + closest));
}

std::vector<const Task*> find_tasks(const std::vector<std::string>& names) {
  std::vector<NamedTask> named;
  std::vector<const Task*> tasks;
  for (const auto& name : names) {
    auto members = benchmark_tasks(name);
    if (members.empty()) members.push_back(name);
    for (const auto& member : members) {
      const NamedTask added{member, &find_task(member)};
      for (const auto& before : named) check_distinct(before, added);
      named.push_back(added);
      tasks.push_back(added.task);
    }
  }
  return tasks;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto& task : all_tasks()) names.push_back(task.name);
  return names;
}

std::string name_in_files(const Task& task) {
  std::string name = task.name;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace altup
