#include "trainers/evaluator.h"

#include <nlohmann/json.hpp>

#include "altup/models/evaluation_mode.h"
#include "altup/ops/ops.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "trainers/batch_tensors.h"

namespace altup {

torch::Tensor span_weights(const torch::Tensor& targets, const torch::Tensor& weights,
                           int64_t pieces) {
  return weights * (targets != Tokenizer::kEos).logical_and(targets < pieces).to(torch::kFloat);
}

LossEvaluation evaluate_loss(T5& model, const Tokenizer& tokenizer,
                             const std::vector<Batch>& batches, Precision precision) {
  torch::NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const auto device = model->shared->weight.device();
  AutocastGuard autocast(precision, device);
  double nll = 0.0;
  double correct = 0.0;
  double span_tokens = 0.0;
  LossEvaluation result;
  for (const auto& batch : batches) {
    if (stop_requested()) {
      result.complete = false;
      break;
    }
    const auto tensors = to_padded(batch, 0, batch.size, device);
    const auto batch_loss = model->loss(tensors.input_ids, tensors.input_mask, tensors.decoder_ids,
                                        tensors.targets, tensors.weights, {});
    nll += batch_loss.nll.item<double>();
    const auto counted = span_weights(tensors.targets, tensors.weights, tokenizer.pieces());
    correct += (counted * (batch_loss.predictions == tensors.targets)).sum().item<double>();
    span_tokens += counted.sum().item<double>();
    result.target_tokens += tensors.target_tokens;
  }
  if (result.target_tokens > 0) result.loss = nll / static_cast<double>(result.target_tokens);
  if (span_tokens > 0) result.accuracy = 100.0 * correct / span_tokens;
  return result;
}

TaskEvaluation evaluate_task(T5& model, const Tokenizer& tokenizer, const Task& task,
                             const std::vector<TaskExample>& examples,
                             const TextGenerationConfig& config) {
  std::vector<std::string> inputs;
  inputs.reserve(examples.size());
  size_t unlabelled = 0;
  for (const auto& example : examples) {
    inputs.push_back(example.input);
    if (example.references.empty()) ++unlabelled;
  }
  TaskEvaluation evaluation;
  evaluation.task = task.name;
  evaluation.examples = static_cast<int64_t>(examples.size());
  evaluation.generation = generate_texts(model, tokenizer, inputs, config);
  if (!evaluation.generation.complete) return evaluation;
  for (size_t i = 0; i < examples.size(); ++i) {
    evaluation.predictions.push_back(task.postprocess(evaluation.generation.texts[i], examples[i]));
  }
  if (unlabelled > 0) {
    log_warning(task.name, ": ", unlabelled, " of ", examples.size(),
                " examples have no label, so there are no metrics");
  } else if (!examples.empty()) {
    evaluation.metrics = task.score(evaluation.predictions, examples);
  }
  if (evaluation.generation.truncated_outputs > 0) {
    log_info(task.name, ": ", evaluation.generation.truncated_outputs, " of ", examples.size(),
             " answers were cut at ", config.decoding.max_new_tokens, " tokens before eos");
  }
  if (evaluation.generation.truncated_inputs > 0) {
    log_info(task.name, ": ", evaluation.generation.truncated_inputs, " of ", examples.size(),
             " inputs were cut to ", config.input_length, " tokens");
  }
  return evaluation;
}

void write_answers(const std::filesystem::path& path, const TaskEvaluation& evaluation,
                   const std::vector<TaskExample>& examples) {
  std::string lines;
  for (size_t i = 0; i < examples.size(); ++i) {
    const nlohmann::json line = {{"id", examples[i].id},
                                 {"input", examples[i].input},
                                 {"output", evaluation.generation.texts[i]},
                                 {"prediction", evaluation.predictions[i]},
                                 {"references", examples[i].references}};
    lines += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  write_file_atomic(path, lines);
}

}  // namespace altup
