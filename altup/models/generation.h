// Turning inputs into output ids, one token at a time, with the decoder's cache: greedily, by beam
// search or by sampling. Options have the names and the definitions of Hugging Face's generate(), and
// greedy and beam search give its ids. docs/generation.md has them all.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "altup/models/t5.h"
#include "altup/util/fields.h"

namespace altup {

/// When an input's beam search is done, once it has as many finished outputs as beams: kFalse, where
/// the best beam, at its present length, scores below all of them; kTrue, at once; kNever, where no
/// beam could score better at any length up to the limit.
enum class EarlyStopping { kFalse, kTrue, kNever };
template <>
struct EnumNames<EarlyStopping> {
  static constexpr std::array<std::pair<std::string_view, EarlyStopping>, 3> kNames = {
      {{"false", EarlyStopping::kFalse},
       {"true", EarlyStopping::kTrue},
       {"never", EarlyStopping::kNever}}};
};

struct GenerationConfig {
  int64_t max_new_tokens = 0;  ///< eos included; must be set, and there is no other limit
  /// Ids from here on are never produced: the rows that pad the embedding past pieces + sentinels.
  /// 0: vocab_size.
  int64_t valid_vocab = 0;
  bool stop_at_eos = true;  ///< false: always max_new_tokens, for timings

  int64_t beams = 1;            ///< 1: greedy, or sampling
  int64_t n_best = 1;           ///< outputs of an input, at most `beams`
  double length_penalty = 1.0;  ///< a score is the sum of log-probabilities / length^length_penalty
  EarlyStopping early_stopping = EarlyStopping::kFalse;

  bool sample = false;       ///< draw each token; not with beams
  double temperature = 1.0;  ///< divides the logits, before top_k and top_p; at least 1e-6
  int64_t top_k = 0;         ///< draw from the k likeliest ids; 0: from all
  double top_p = 1.0;        ///< of these, from the fewest whose probabilities reach p
  uint64_t seed = 1;  ///< a token is a function of (seed, example, step) and its probabilities

  /// Divides the positive and multiplies the negative scores of ids that the output has already, the
  /// pad that it starts from included. 1: off.
  double repetition_penalty = 1.0;
  int64_t no_repeat_ngram_size = 0;  ///< no n ids occur twice in an output; 0: off

  /// Throws UserError for values out of range and for options that contradict each other, by name.
  void validate() const;
};

struct Hypothesis {
  std::vector<int64_t> ids;  ///< without the leading pad, eos included where it was produced
  bool finished = false;     ///< false: the limit cut it before eos
  double score = 0.0;        ///< of beam search, see length_penalty; else 0
};

struct Generation {
  std::vector<std::vector<Hypothesis>> outputs;  ///< n_best of each input, the best first
  int64_t truncated = 0;                         ///< inputs whose best output the limit cut
};

/// Is told each id as soon as it is chosen.
using TokenWatch = std::function<void(int64_t id)>;

/// input_ids [B, S] int64, input_mask [B, S] bool or undefined. An example's ids do not depend on the
/// others in its batch (but for rounding, in matrix products of other sizes). `examples` [B] are the
/// inputs' numbers, which sampling goes by; empty: 0 … B − 1. `watch` is for one input without beams.
/// Runs without gradients and in evaluation mode, whatever the model's mode is.
Generation generate(T5& model, const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                    const GenerationConfig& config, const std::vector<int64_t>& examples = {},
                    const TokenWatch& watch = {});

}  // namespace altup
