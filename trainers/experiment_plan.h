// What an experiment keeps in its directory for the report: what is in the grid, how large its models
// are, and how long a step of each takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainers/experiment.h"

namespace altup {

struct PlannedVariant {
  std::string name;
  std::string label;
  std::string group;
  std::string baseline;
  int64_t steps = 0;
  int64_t parameters = 0;
  int64_t embedding_parameters = 0;  ///< the embedding and the head
  double flops_per_token = 0;        ///< forward and backward; input and target tokens
};

/// experiment.json
struct ExperimentPlan {
  std::string name;
  std::string command;  ///< that made it, as typed
  std::string baseline;
  std::vector<int64_t> seeds;
  std::vector<PlannedVariant> variants;
};

ExperimentPlan make_plan(const Experiment& experiment, const std::string& command);
void write_plan(const ExperimentPlan& plan, const std::filesystem::path& directory);
/// Whether there is one.
bool holds_experiment(const std::filesystem::path& directory);
/// UserError where the file is missing or broken.
ExperimentPlan read_plan(const std::filesystem::path& directory);

struct StepTime {
  double seconds = 0;               ///< median over the rounds
  std::vector<double> rounds = {};  ///< the median of each
  int64_t tokens = 0;               ///< of a step
  double peak_memory_mib = 0;       ///< largest
};

/// step_times.json
struct StepTimes {
  int64_t steps = 0;  ///< timed in each round
  int64_t threads = 0;
  std::string precision;
  std::map<std::string, StepTime> variants;
};

void write_step_times(const StepTimes& times, const std::filesystem::path& directory);
/// None where there is no such file; UserError where it is broken.
StepTimes read_step_times(const std::filesystem::path& directory);

}  // namespace altup
