// The grid's runs: how far each is, training what is left, and timing the steps.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include "altup/checkpoint/directory.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "trainers/child_process.h"
#include "trainers/experiment.h"
#include "trainers/experiment_plan.h"
#include "trainers/metrics.h"
#include "trainers/runtime.h"
#include "trainers/statistics.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kUsage = 2;        // exit codes of the program: what a user can mend,
constexpr int kSignalled = 128;  // and 128 + the signal after which a run was saved

const ExperimentVariant& find_variant(const Experiment& experiment, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& variant : experiment.variants) {
    if (variant.name == name) return variant;
    names.push_back(variant.name);
  }
  const auto like = nearest(name, names);
  throw UserError(str(
      "the experiment has no variant \"", name, "\"; ",
      like.empty() ? "expected one of " + join(names, ", ") : "did you mean \"" + like + "\"?"));
}

std::vector<ExperimentVariant> chosen_variants(const Experiment& experiment,
                                               const ExperimentPart& part) {
  for (const auto& name : part.variants) find_variant(experiment, name);
  std::vector<ExperimentVariant> chosen;
  for (const auto& variant : experiment.variants) {
    const bool wanted =
        std::find(part.variants.begin(), part.variants.end(), variant.name) != part.variants.end();
    if (part.variants.empty() || wanted) chosen.push_back(variant);
  }
  return chosen;
}

std::vector<int64_t> chosen_seeds(const Experiment& experiment, const ExperimentPart& part) {
  const auto& all = experiment.seeds;
  for (const auto seed : part.seeds) {
    if (std::find(all.begin(), all.end(), seed) != all.end()) continue;
    std::vector<std::string> names;
    for (const auto known : all) names.push_back(std::to_string(known));
    throw UserError(
        str("the experiment has no seed ", seed, "; expected one of ", join(names, ", ")));
  }
  return part.seeds.empty() ? all : part.seeds;
}

/// How a run computes, logs and saves, but not what it learns.
bool may_differ(const std::string& key) {
  static const std::set<std::string> keys = {"train.log_every", "train.save_every",
                                             "train.keep_checkpoints", "data.prefetch"};
  return key.starts_with("runtime.") || keys.contains(key);
}

void require_same_settings(const fs::path& directory, const RunConfig& wanted) {
  const auto file = directory / "config.toml";
  if (!fs::is_regular_file(file)) return;
  const auto before = resolved_values(load_run_config({file}, {}));
  const auto now = resolved_values(wanted);
  for (const auto& [key, value] : now) {
    if (may_differ(key) || before.at(key) == value) continue;
    throw UserError(directory.string(),
                    str("was begun with ", key, " = ", before.at(key), ", which is now ", value,
                        "; expected the same, another output, or this directory moved away"));
  }
}

/// Of the newest checkpoint, by its name; 0 where there is none.
int64_t checkpoint_step(const fs::path& run) {
  std::error_code missing;
  const auto name = fs::read_symlink(run / "checkpoints" / "latest", missing).filename().string();
  if (missing || !name.starts_with("step-")) return 0;
  return std::stoll(name.substr(5));
}

bool was_evaluated(const fs::path& run, int64_t step) {
  const auto file = run / "metrics.jsonl";
  if (!fs::is_regular_file(file)) return false;
  const auto records = read_metrics(file);
  return std::any_of(records.begin(), records.end(), [&](const MetricRecord& record) {
    return record.split == "validation" && record.step == step;
  });
}

RunProgress progress_of(const Experiment& experiment, const ExperimentVariant& variant,
                        int64_t seed) {
  const auto config = experiment_config(variant, seed);
  RunProgress run{.variant = variant.name,
                  .seed = seed,
                  .directory = experiment.run_directory(variant, seed),
                  .step = 0,
                  .steps = config.train.steps};
  require_same_settings(run.directory, config);
  run.step = checkpoint_step(run.directory);
  // A run whose checkpoints were removed to save room is finished all the same.
  const bool saved = run.step == run.steps || !fs::exists(run.directory / "checkpoints");
  run.finished = saved && was_evaluated(run.directory, run.steps);
  if (run.finished) run.step = run.steps;
  return run;
}

void add_run(std::vector<std::string>& command, const ExperimentVariant& variant, int64_t seed) {
  command.emplace_back("--config");
  for (const auto& path : variant.configs) command.push_back(path.string());
  command.emplace_back("--set");
  command.insert(command.end(), variant.overrides.begin(), variant.overrides.end());
  command.push_back(str("train.seed=", seed));
}

void add_arguments(std::vector<std::string>& command, const ExperimentProcess& process) {
  command.insert(command.end(), process.arguments.begin(), process.arguments.end());
}

void make_directory(const fs::path& directory) {
  if (fs::exists(directory) && !fs::is_directory(directory)) {
    throw UserError(directory.string(), "is a file; expected the directory of an experiment");
  }
  fs::create_directories(directory);
}

std::string how_it_ended(const ChildResult& result) {
  return result.signal != 0 ? str("was killed by signal ", result.signal)
                            : str("ended with exit code ", result.exit_code);
}

/// Runs taken one after the other, by as many threads as there are to be runs at the same time.
class RunQueue {
 public:
  /// `stop` gives a signal for the runs in hand where no other is to be started, else 0.
  RunQueue(const Experiment& experiment, const ExperimentProcess& process,
           const std::vector<RunProgress>& runs, std::function<int()> stop)
      : experiment_(experiment), process_(process), runs_(runs), stop_(std::move(stop)) {}

  ExperimentOutcome work_off() {
    outcome_.runs = static_cast<int64_t>(runs_.size());
    outcome_.finished =
        std::count_if(runs_.begin(), runs_.end(), [](const auto& run) { return run.finished; });
    const auto jobs = std::min(process_.jobs, outcome_.runs - outcome_.finished);
    {
      std::vector<std::jthread> others;
      for (int64_t i = 1; i < jobs; ++i) others.emplace_back([this] { take_runs(); });
      take_runs();
    }
    if (error_) std::rethrow_exception(error_);
    return outcome_;
  }

 private:
  int stop() const { return gave_up_ ? SIGTERM : stop_(); }

  void take_runs() {
    try {
      while (const auto* run = next()) train(*run);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      gave_up_ = true;
    }
  }

  const RunProgress* next() {
    const std::lock_guard lock(mutex_);
    while (next_ < runs_.size() && runs_[next_].finished) ++next_;
    if (next_ == runs_.size() || stop() != 0) return nullptr;
    const auto& run = runs_[next_++];
    log_info("run ", next_, " of ", runs_.size(), ": ", run.directory.string(),
             run.step > 0 ? str(", after step ", run.step) : "", ", ", run.steps, " steps");
    return &run;
  }

  void train(const RunProgress& run) {
    std::vector<std::string> words = {process_.program.string(), "pretrain"};
    add_run(words, find_variant(experiment_, run.variant), run.seed);
    words.insert(words.end(), {"--output", run.directory.string()});
    add_arguments(words, process_);
    const auto result = run_child(words, [this] { return stop(); });
    // Ended because we said so: after a save, or before there was anything to save.
    const bool asked = stop() != 0 && (result.signal == SIGINT || result.signal == SIGTERM ||
                                       result.signal == SIGHUP || result.exit_code > kSignalled);
    const std::lock_guard lock(mutex_);
    if (result.signal == 0 && result.exit_code == 0) {
      ++outcome_.finished;
      if (process_.jobs > 1) log_info("finished: ", run.directory.string());
    } else if (result.signal == 0 && result.exit_code == kUsage) {
      throw UserError(run.directory.string(), "was refused; the line above says why");
    } else if (!asked) {
      log_error(run.directory.string(), ": ", how_it_ended(result), "; going on with the next run");
      outcome_.failed.push_back(run.directory.string());
    }
  }

  const Experiment& experiment_;
  const ExperimentProcess& process_;
  const std::vector<RunProgress>& runs_;
  std::function<int()> stop_;
  std::atomic<bool> gave_up_ = false;
  std::mutex mutex_;  // of all below
  size_t next_ = 0;
  ExperimentOutcome outcome_;
  std::exception_ptr error_;
};

}  // namespace

std::vector<RunProgress> experiment_progress(const Experiment& experiment,
                                             const ExperimentPart& part) {
  const auto variants = chosen_variants(experiment, part);
  std::vector<RunProgress> runs;
  for (const auto seed : chosen_seeds(experiment, part)) {
    for (const auto& variant : variants) runs.push_back(progress_of(experiment, variant, seed));
  }
  return runs;
}

ExperimentOutcome run_experiment(const Experiment& experiment, const ExperimentPart& part,
                                 const ExperimentProcess& process, double minutes,
                                 const std::string& command) {
  const auto runs =
      experiment_progress(experiment, part);  // all settings are checked before any run
  make_directory(experiment.output);
  const DirectoryLock lock(experiment.output);
  write_plan(make_plan(experiment, command), experiment.output);

  const SignalWatch signals;
  const auto end = Clock::now() + std::chrono::duration<double>(60 * minutes);
  const auto time_is_up = [&] { return minutes > 0 && Clock::now() >= end; };
  const auto stop = [&] { return time_is_up() ? SIGTERM : signals.received(); };

  RunQueue queue(experiment, process, runs, stop);
  auto outcome = queue.work_off();
  outcome.signal = signals.received();
  outcome.out_of_time =
      outcome.signal == 0 && time_is_up() &&
      outcome.finished + static_cast<int64_t>(outcome.failed.size()) < outcome.runs;
  return outcome;
}

int bench_experiment(const Experiment& experiment, const ExperimentPart& part,
                     const ExperimentProcess& process, int64_t rounds, int64_t steps,
                     int64_t threads) {
  const auto variants = chosen_variants(experiment, part);
  for (const auto& variant : variants) experiment_config(variant, experiment.seeds.front());
  make_directory(experiment.output);
  const auto file = experiment.output / "step_time.tmp.json";
  const SignalWatch signals;
  StepTimes times{.steps = steps, .threads = threads, .precision = "", .variants = {}};
  for (int64_t round = 1; round <= rounds && signals.received() == 0; ++round) {
    auto with_round = times;
    for (const auto& variant : variants) {
      std::vector<std::string> words = {process.program.string(), "bench",   "step",
                                        "--no-reference",         "--steps", std::to_string(steps)};
      add_run(words, variant, experiment.seeds.front());
      words.insert(words.end(), {"--json", file.string()});
      add_arguments(words, process);
      const auto result = run_child(words, [&] { return signals.received(); });
      if (signals.received() != 0) break;
      if (result.signal != 0 || result.exit_code != 0) {
        throw std::runtime_error(str("timing ", variant.name, " ", how_it_ended(result)));
      }
      const auto json = nlohmann::json::parse(read_file(file));
      auto& time = with_round.variants[variant.name];
      time.rounds.push_back(json.at("seconds_per_step").get<double>());
      time.seconds = median(time.rounds);
      time.tokens = json.at("tokens").get<int64_t>();
      time.peak_memory_mib =
          std::max(time.peak_memory_mib, json.at("peak_memory_mib").get<double>());
      with_round.precision = json.at("precision").get<std::string>();
      log_info("round ", round, " of ", rounds, ": ", variant.name, " ",
               fixed(1e3 * time.rounds.back(), 1), " ms");
    }
    if (signals.received() != 0) break;  // a round counts where all variants met the same machine
    times = with_round;
    write_step_times(times, experiment.output);
  }
  fs::remove(file);
  return signals.received();
}

}  // namespace altup
