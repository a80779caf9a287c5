// What evaluate and score share: which tasks, where their predictions are, and the figures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "altup/tasks/task.h"
#include "apps/command.h"

namespace altup {

/// --task NAME… --data DIR --split NAME
struct TaskOptions {
  std::vector<std::string> tasks;
  std::string data;
  std::string split = "dev";
};

void add_task_options(CLI::App& command, TaskOptions& options);

/// The file of one task's predictions: `path` itself, or for several tasks the task's own file in
/// the folder `path`.
std::filesystem::path predictions_path(const std::filesystem::path& path, const Task& task,
                                       size_t num_tasks);

/// {"task", "metrics", "examples", …} of each task, in order -> that object for one task; for
/// several {"tasks": […], "averages": {"glue": …}}, with the average of each benchmark of which
/// every task is among them.
nlohmann::json task_figures(const std::vector<nlohmann::json>& results);

}  // namespace altup
