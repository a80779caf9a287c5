// altup experiment: a grid of variants × seeds, trained run after run, and its step times.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/child_process.h"
#include "trainers/experiment.h"

namespace altup {
namespace {

constexpr int kFailed = 1;
constexpr int kSignalled = 128;  // + the signal

struct Options {
  std::filesystem::path file;
  std::vector<std::string> overrides;
  std::string output;
  ExperimentPart part;
  double minutes = 0;
  int64_t jobs = 1;
  bool list = false;
  bool bench = false;
  int64_t rounds = 5;
  int64_t steps = 10;
};

bool is_plain(const std::string& word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || std::strchr("-_./=,:+@%", c) != nullptr);
  });
}

/// As a shell reads it.
std::string quoted(const std::string& word) {
  if (is_plain(word)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// What says which experiment it is; which part of it a session trains is no matter.
std::string command_line(const Options& options) {
  std::string line = "altup experiment --config " + quoted(options.file.string());
  if (!options.output.empty()) line += " --output " + quoted(options.output);
  if (!options.overrides.empty()) line += " --set";
  for (const auto& text : options.overrides) line += " " + quoted(text);
  return line;
}

int list(const std::vector<RunProgress>& runs, const Command& command) {
  nlohmann::json figures = nlohmann::json::array();
  size_t width = 0;
  for (const auto& run : runs) width = std::max(width, run.directory.string().size());
  for (const auto& run : runs) {
    text_output(command) << std::left << std::setw(static_cast<int>(width))
                         << run.directory.string() << "  "
                         << (run.finished    ? "finished"
                             : run.step == 0 ? "not begun"
                                             : str("step ", run.step, " of ", run.steps))
                         << "\n";
    figures.push_back({{"variant", run.variant},
                       {"seed", run.seed},
                       {"output", run.directory.string()},
                       {"step", run.step},
                       {"steps", run.steps},
                       {"finished", run.finished}});
  }
  text_output(command) << std::flush;
  write_json(command, figures);
  return 0;
}

int train(const Experiment& experiment, const Options& options, const ExperimentProcess& process,
          const Command& command) {
  const auto outcome =
      run_experiment(experiment, options.part, process, options.minutes, command_line(options));
  write_json(command, {{"runs", outcome.runs},
                       {"finished", outcome.finished},
                       {"failed", outcome.failed},
                       {"output", experiment.output.string()}});
  log_info(outcome.finished, " of ", outcome.runs, " runs are finished",
           outcome.finished < outcome.runs ? "; run the same command again to go on" : "");
  if (outcome.signal != 0) return kSignalled + outcome.signal;
  return outcome.failed.empty() ? 0 : kFailed;
}

/// Runs at the same time share the threads, and what each of them logs would be a muddle: of those only
/// warnings are shown.
ExperimentProcess process_of(const Options& options, const Command& command) {
  const bool alone = options.jobs == 1;
  const auto level = alone || command.log_level != "info" ? command.log_level : "warning";
  ExperimentProcess process{own_program(), {"--log-level", level}, options.jobs};
  auto threads = static_cast<int64_t>(command.threads);
  if (threads == 0 && !alone) {
    threads = std::max<int64_t>(at::get_num_threads() / options.jobs, 1);
  }
  if (threads > 0) {
    process.arguments.insert(process.arguments.end(), {"--threads", std::to_string(threads)});
  }
  return process;
}

int experiment(const Options& options, const Command& command) {
  if (command.seed >= 0) {
    throw UserError("--seed: an experiment has seeds of its own; expected --seeds, some of them");
  }
  auto found = read_experiment(options.file, options.overrides);
  if (!options.output.empty()) found.output = options.output;
  if (options.list) return list(experiment_progress(found, options.part), command);
  if (options.bench && options.jobs > 1) {
    throw UserError("--jobs: steps are timed one variant at a time; expected --bench without it");
  }
  const auto process = process_of(options, command);
  if (!options.bench) return train(found, options, process, command);
  const int signal = bench_experiment(found, options.part, process, options.rounds, options.steps,
                                      at::get_num_threads());
  write_json(command, {{"output", (found.output / "step_times.json").string()}});
  return signal == 0 ? 0 : kSignalled + signal;
}

}  // namespace

void add_experiment(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "experiment",
                          "Train a grid of variants and seeds, going on where it was interrupted");
  sub->add_option("--config", options->file, "The experiment's TOML file")
      ->required()
      ->type_name("FILE");
  sub->add_option("--set", options->overrides, "Override one key in every run")
      ->type_name("KEY.PATH=VALUE");
  sub->add_option("--output", options->output, "Directory, instead of the file's")
      ->type_name("DIR");
  sub->add_option("--only", options->part.variants, "Variants; default: all")->type_name("VARIANT");
  sub->add_option("--seeds", options->part.seeds, "Some of the seeds; default: all")
      ->type_name("N");
  sub->add_option("--minutes", options->minutes,
                  "After so long, save the runs in hand and start no other")
      ->check(above_zero());
  sub->add_option("--jobs", options->jobs,
                  "Runs trained at the same time; they share the threads unless --threads is given")
      ->capture_default_str()
      ->check(whole_number(1));
  sub->add_flag("--list", options->list, "Say how far each run is, and train nothing");
  sub->add_flag("--bench", options->bench,
                "Time the steps of all variants in turn; on a machine that does nothing else");
  sub->add_option("--rounds", options->rounds, "With --bench: times that each variant has its turn")
      ->capture_default_str()
      ->check(whole_number(1));
  sub->add_option("--steps", options->steps, "With --bench: steps timed in a turn")
      ->capture_default_str()
      ->check(whole_number(1));
  sub->callback([options, &command] {
    command.action = [options, &command] { return experiment(*options, command); };
  });
}

}  // namespace altup
