// The training run: pre-training from text and fine-tuning on tasks, over one loop.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "altup/data/batch.h"
#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "trainers/metrics.h"
#include "trainers/run_config.h"

namespace altup {

/// What to do where the run directory already holds checkpoints: go on from the newest whole one;
/// refuse; or insist that there is one.
enum class Resume { kAuto, kNever, kMust };

struct TrainingResult {
  int64_t step = 0;
  int signal = 0;        ///< SIGINT, SIGTERM or SIGHUP where one ended the run after a save, else 0
  double seconds = 0.0;  ///< of training, over all sessions, without evaluation and saving
  double tokens_per_second = 0.0;        ///< over this session
  std::vector<MetricRecord> evaluation;  ///< of the last evaluation
};

/// Trains on [data] and validates on held-out text. `profile`: where a trace of a few steps goes, see
/// TrainingRun; empty for none.
TrainingResult pretrain(const RunConfig& config, const std::filesystem::path& output, Resume resume,
                        const std::filesystem::path& profile = {});

/// Trains on [task], one task or a mixture, and validates by the tasks' metrics. Starts from train.init_from where given, whose
/// model and tokenizer are then those of the run.
TrainingResult finetune(const RunConfig& config, const std::filesystem::path& output, Resume resume,
                        const std::filesystem::path& profile = {});

/// A run put together: what pretrain() and finetune() hand to the loop, and what tests hand to it
/// directly.
struct TrainingRun {
  RunConfig config;
  std::filesystem::path output;
  Resume resume = Resume::kAuto;
  /// Where a Chrome trace of three steps goes, after two that warm up; empty for none.
  std::filesystem::path profile = {};
  T5 model{nullptr};
  std::shared_ptr<const Tokenizer> tokenizer = nullptr;
  std::unique_ptr<BatchSource> source = nullptr;
  /// Measures the model as it is; records without their step, none where a signal ended it early.
  /// May be empty.
  std::function<std::vector<MetricRecord>()> evaluate = nullptr;
  /// The part of evaluate() that takes the most memory; done before the first step, so that a run
  /// fails then and not at its first evaluation. May be empty.
  std::function<void()> rehearse = nullptr;
  /// The value that picks `checkpoints/best`: which of the records of evaluate(), and which of its
  /// values.
  std::string best_split = "validation";
  std::string best_metric = "loss";
  bool higher_is_better = false;
};

TrainingResult run_training(TrainingRun& run);

struct TrainingData {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<BatchSource> source;
};

/// The batches that the run will see: of [task] where task.names is set, else of [data].
TrainingData open_training_data(const RunConfig& config);

/// With train.init_from, gives `config` the model and the tokenizer of that checkpoint; UserError where
/// the config's own [model] contradicts it.
void adopt_start(RunConfig& config);

/// A new model on the default device, seeded; with train.init_from, the weights, model and
/// tokenizer of that checkpoint. `config` gets the model that results. UserError where the config's
/// own [model] contradicts it, or where the vocabulary is too small for the tokenizer.
T5 make_model(RunConfig& config, std::shared_ptr<const Tokenizer>& tokenizer);

}  // namespace altup
