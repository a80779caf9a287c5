#include "altup/models/generation_steps.h"

#include <limits>

#include "altup/models/generation_scores.h"

namespace altup {

DecodingSteps::DecodingSteps(T5& model, const torch::Tensor& input_ids,
                             const torch::Tensor& input_mask)
    : model_(model), input_mask_(input_mask), memory_(model->encode(input_ids, input_mask)) {}

torch::Tensor DecodingSteps::next(const torch::Tensor& ids) {
  const auto decoded =
      model_->decode(ids.unsqueeze(1), memory_, input_mask_, &cache_);  // [R, 1, W]
  memory_ = torch::Tensor();
  return model_->logits(decoded.squeeze(1)).to(torch::kFloat);
}

void DecodingSteps::select_rows(const std::vector<int64_t>& rows) {
  cache_.select_rows(torch::tensor(rows, ids_options()));
}

void DecodingSteps::select_inputs(const std::vector<int64_t>& inputs) {
  cache_.select_inputs(torch::tensor(inputs, ids_options()));
}

torch::TensorOptions DecodingSteps::ids_options() const {
  return torch::TensorOptions().dtype(torch::kInt64).device(model_->shared->weight.device());
}

void process_scores(torch::Tensor& scores, const torch::Tensor& ids, const GenerationConfig& config,
                    int64_t valid_vocab) {
  scores.narrow(1, valid_vocab, scores.size(1) - valid_vocab)
      .fill_(-std::numeric_limits<float>::infinity());
  if (config.repetition_penalty != 1.0)
    penalise_repetitions(scores, ids, config.repetition_penalty);
  if (config.no_repeat_ngram_size > 0)
    forbid_repeated_ngrams(scores, ids, config.no_repeat_ngram_size);
}

bool worth_dropping(int64_t unfinished, int64_t all) {
  return 4 * unfinished <=
         3 * all;  // all copies together are then a few copies of the first caches
}

}  // namespace altup
