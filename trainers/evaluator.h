// Measuring a model: loss and span accuracy on held-out text, and the official metrics of a task.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "altup/data/batch.h"
#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "altup/tasks/task.h"
#include "trainers/runtime.h"
#include "trainers/text_generation.h"

namespace altup {

struct LossEvaluation {
  double loss = 0.0;  ///< nats per target token, sentinels and eos included
  double accuracy =
      0.0;  ///< percent of span tokens (targets that are no sentinel and no eos), teacher-forced
  int64_t target_tokens = 0;
  bool complete = true;  ///< false where stop_requested() ended it early
};

/// Loss without z-loss and label smoothing.
LossEvaluation evaluate_loss(T5& model, const Tokenizer& tokenizer,
                             const std::vector<Batch>& batches, Precision precision);

/// 1 for the targets that count for span accuracy: real, no sentinel (an id below `pieces`), no
/// eos. [N] fp32.
torch::Tensor span_weights(const torch::Tensor& targets, const torch::Tensor& weights,
                           int64_t pieces);

struct TaskEvaluation {
  std::string task;
  Metrics metrics;
  int64_t examples = 0;
  TextGeneration generation;             ///< the model's texts as they came
  std::vector<std::string> predictions;  ///< post-processed
};

/// Answers every example, decoding as the config says, and scores the answers; where an example
/// has no references (a test split), with a warning, and where stop_requested() ended the decoding, the metrics are empty.
TaskEvaluation evaluate_task(T5& model, const Tokenizer& tokenizer, const Task& task,
                             const std::vector<TaskExample>& examples,
                             const TextGenerationConfig& config);

/// One JSON object a line: input, output, prediction, references. Kept with an evaluation, so that
/// a surprising figure can be looked into.
void write_answers(const std::filesystem::path& path, const TaskEvaluation& evaluation,
                   const std::vector<TaskExample>& examples);

}  // namespace altup
