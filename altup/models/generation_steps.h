// What every way of decoding shares: a batch that is encoded once and then asked for the scores of
// the next token, again and again, while rows are reordered and finished ones leave.
#pragma once

#include <torch/types.h>

#include "altup/models/generation.h"

namespace altup {

class DecodingSteps {
 public:
  /// Encodes the inputs, [B, S] with a mask [B, S] or undefined. At most max_new_tokens steps follow.
  DecodingSteps(T5& model, const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                int64_t max_new_tokens);

  /// The last id of each row, [R] int64 -> logits of the next one, [R, vocab_size] fp32. At first
  /// there is a row an input.
  torch::Tensor next(const torch::Tensor& ids);
  /// Row i becomes what row rows[i] was; rows may be left out or occur often.
  void select_rows(const std::vector<int64_t>& rows);

  torch::TensorOptions ids_options() const;  ///< int64, on the model's device

 private:
  T5& model_;
  torch::Tensor input_mask_;
  torch::Tensor memory_;  ///< undefined once the cache holds its keys and values
  KvCache cache_;
};

/// Whether the config asks anything of the scores before an id is chosen.
bool changes_scores(const GenerationConfig& config);
/// That, on scores [R, vocab_size], whichever way is taken. ids [R, t]: the outputs so far, with the
/// leading pad.
void process_scores(torch::Tensor& scores, const torch::Tensor& ids,
                    const GenerationConfig& config);

/// The two ways of decoding. Arguments as generate()'s, checked and completed.
Generation generate_rows(DecodingSteps& steps, const GenerationConfig& config, int64_t valid_vocab,
                         const std::vector<int64_t>& examples, const TokenWatch& watch);
Generation generate_beams(DecodingSteps& steps, const GenerationConfig& config, int64_t valid_vocab,
                          int64_t inputs);

constexpr int64_t kGenerationPad = 0;  ///< outputs start from it, and rest on it after eos
constexpr int64_t kGenerationEos = 1;

}  // namespace altup
