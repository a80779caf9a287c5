// An experiment: a grid of variants × seeds, trained one run after the other, each in a process of its
// own (`altup pretrain`), so that memory, threads and signals are a run's own. Runs of one seed see the
// same batches in the same order and start with the same weights wherever they have the same ones; they
// are therefore compared in pairs. The directory of an experiment:
//
//   experiment.json           what is in it, for the report (experiment_plan.h)
//   step_times.json           of bench_experiment()
//   VARIANT/seed-N/           a run directory
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainers/run_config.h"

namespace altup {

struct ExperimentVariant {
  std::string name;      ///< a folder's
  std::string label;     ///< what the report calls it
  std::string group;     ///< variants of a group share a figure; may be empty
  std::string baseline;  ///< the variant that it is compared with; itself where it is one
  std::vector<std::filesystem::path> configs;  ///< the experiment's, then its own
  std::vector<std::string> overrides;          ///< likewise, then the command line's
};

struct Experiment {
  std::string name;  ///< of the file
  std::filesystem::path output;
  std::string baseline;
  std::vector<int64_t> seeds;
  std::vector<ExperimentVariant> variants;

  std::filesystem::path run_directory(const ExperimentVariant& variant, int64_t seed) const;
};

/// Reads the TOML file:
///
///   [experiment]
///   output = "runs/novels"              # from the working directory
///   configs = ["../runs/x.toml"]        # of every variant, from this file's folder
///   set = ["train.steps=1000"]          # as --set
///   seeds = [1, 2, 3]
///   baseline = "dense"                  # a variant; default: the first
///   [[variant]]
///   name = "altup_k2"
///   label = "AltUp, K = 2"              # optional, as are all below
///   group = "blocks"
///   baseline = "dense"                  # other than the experiment's
///   steps = 2000                        # train.steps
///   configs = ["../altup/altup_k2.toml"]
///   set = ["altup.init=active"]
///
/// `overrides` are the command line's, over all. UserError with file and line.
Experiment read_experiment(const std::filesystem::path& file,
                           const std::vector<std::string>& overrides);

/// What the run of one seed is trained with, checked for pre-training.
RunConfig experiment_config(const ExperimentVariant& variant, int64_t seed);

/// Which part of the grid, in the order of the file; an empty list: all. UserError for a name or a seed
/// that the experiment does not have.
struct ExperimentPart {
  std::vector<std::string> variants = {};
  std::vector<int64_t> seeds = {};
};

/// How far a run is.
struct RunProgress {
  std::string variant;
  int64_t seed = 0;
  std::filesystem::path directory;
  int64_t step = 0;  ///< of its newest checkpoint
  int64_t steps = 0;
  bool finished = false;  ///< with the evaluation of its last step
};

/// In the order in which they are trained: the variants of the first seed, then of the second, so that
/// whole pairs finish first. UserError where a run that was begun has other settings than the experiment
/// has now; how it computes, logs and saves may differ.
std::vector<RunProgress> experiment_progress(const Experiment& experiment,
                                             const ExperimentPart& part = {});

/// How the runs are started: `program pretrain …`, with `arguments` (--threads …) behind all others.
struct ExperimentProcess {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  int64_t jobs = 1;  ///< runs at the same time, of run_experiment()
};

struct ExperimentOutcome {
  int64_t runs = 0;
  int64_t finished = 0;
  std::vector<std::string> failed = {};  ///< directories; the others were trained nevertheless
  int signal = 0;  ///< SIGINT, SIGTERM or SIGHUP where one ended the experiment, else 0
  bool out_of_time = false;
};

/// Trains what is not finished, and goes on where a run was interrupted. A signal is handed on: the runs
/// in hand save, and nothing more is started; so it is after `minutes` (0: no limit). `command` is kept for the
/// report. UserError where another process trains the same experiment.
ExperimentOutcome run_experiment(const Experiment& experiment, const ExperimentPart& part,
                                 const ExperimentProcess& process, double minutes,
                                 const std::string& command);

/// Times `steps` training steps of each variant by `program bench step`, all variants in turn, `rounds`
/// times, and writes the medians over the rounds to step_times.json. For a machine that does nothing
/// else. Returns the signal that ended it, or 0; what whole rounds there were is written.
int bench_experiment(const Experiment& experiment, const ExperimentPart& part,
                     const ExperimentProcess& process, int64_t rounds, int64_t steps,
                     int64_t threads);

}  // namespace altup
