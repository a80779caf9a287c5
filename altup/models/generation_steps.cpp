#include "altup/models/generation_steps.h"

#include <optional>

#include "altup/models/generation_scores.h"
#include "altup/modules/without_autocast.h"
#include "altup/ops/ops.h"

namespace altup {

DecodingSteps::DecodingSteps(T5& model, const torch::Tensor& input_ids,
                             const torch::Tensor& input_mask, int64_t max_new_tokens)
    : model_(model), input_mask_(input_mask) {
  // The encoder's products of many rows are in fp32 where bf16 would be emulated.
  std::optional<WithoutAutocast> in_fp32;
  if (input_ids.is_cpu() && !multiplies_bf16()) in_fp32.emplace(at::kCPU);
  memory_ = model->encode(input_ids, input_mask);
  cache_.expected_length = max_new_tokens;
}

torch::Tensor DecodingSteps::next(const torch::Tensor& ids) {
  const auto decoded =
      model_->decode(ids.unsqueeze(1), memory_, input_mask_, &cache_);  // [R, 1, W]
  memory_ = torch::Tensor();
  return model_->logits(decoded.squeeze(1)).to(torch::kFloat);
}

void DecodingSteps::select_rows(const std::vector<int64_t>& rows) {
  cache_.select_rows(torch::tensor(rows, ids_options()));
}

torch::TensorOptions DecodingSteps::ids_options() const {
  return torch::TensorOptions().dtype(torch::kInt64).device(model_->shared->weight.device());
}

bool changes_scores(const GenerationConfig& config) {
  return config.repetition_penalty != 1.0 || config.no_repeat_ngram_size > 0;
}

void process_scores(torch::Tensor& scores, const torch::Tensor& ids,
                    const GenerationConfig& config) {
  if (config.repetition_penalty != 1.0)
    penalise_repetitions(scores, ids, config.repetition_penalty);
  if (config.no_repeat_ngram_size > 0)
    forbid_repeated_ngrams(scores, ids, config.no_repeat_ngram_size);
}

}  // namespace altup
