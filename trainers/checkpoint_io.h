// What a run keeps in a checkpoint directory, and how it comes back:
//   model.safetensors  optimizer.safetensors  state.json  config.toml  spiece.model  (+
//   manifest.json)
// A checkpoint directory suffices to evaluate, generate, export, or go on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "altup/optim/optimizer.h"
#include "trainers/run_config.h"
#include "trainers/step_sums.h"

namespace altup {

/// Everything that a resume needs beside the weights and the optimiser. Random numbers need no
/// state: dropout is seeded by (seed, step), the data by its position.
struct TrainState {
  int64_t step = 0;
  int64_t tokens = 0;          ///< input and target tokens seen, without padding
  double seconds = 0.0;        ///< of training, over all sessions
  std::string data;            ///< BatchSource::state()
  std::optional<double> best;  ///< best value of the run's best metric so far
  int64_t best_step = 0;
  bool evaluation_due = false;  ///< of this step: a signal came first
  StepSums since_record;        ///< for the next record of metrics
};

/// Writes `run`/checkpoints/step-NNNNNNNN atomically, moves `latest` (and `best` where `is_best`),
/// and removes the oldest beyond `config.train.keep_checkpoints`.
void save_checkpoint(const std::filesystem::path& run, const RunConfig& config, const T5& model,
                     const Tokenizer& tokenizer, const Optimizer& optimizer,
                     const TrainState& state, bool is_best);

/// Asked before long work: UserError where save_model() would refuse `directory`, which has to be new,
/// empty or an earlier model.
void require_model_target(const std::filesystem::path& directory);

/// A checkpoint without optimiser and state, for a model that was not trained here: `directory`
/// itself is made.
void save_model(const std::filesystem::path& directory, const RunConfig& config, const T5& model,
                const Tokenizer& tokenizer);

struct LoadedModel {
  T5 model{nullptr};
  std::shared_ptr<const Tokenizer> tokenizer;
  RunConfig config;
  std::filesystem::path directory;
};

/// `path` is a checkpoint, a `checkpoints` folder or a run directory. The model is on `device`, in
/// evaluation mode.
LoadedModel load_model(const std::filesystem::path& path, const torch::Device& device);

/// Restores the weights and the optimiser from a checkpoint and returns the rest. UserError where
/// the checkpoint is of another model or optimiser.
TrainState load_training(const std::filesystem::path& checkpoint, T5& model, Optimizer& optimizer);

}  // namespace altup
