// Texts in, texts out: tokenise, batch by length, decode, put back in order; or one text, printed
// while it is made.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "altup/data/tokenizer.h"
#include "altup/models/generation.h"
#include "altup/models/t5.h"
#include "trainers/runtime.h"

namespace altup {

struct TextGenerationConfig {
  int64_t batch_size = 16;        ///< inputs decoded together, at most
  int64_t batch_tokens = 16'384;  ///< input tokens of a batch, padding included, at most
  int64_t input_length =
      512;  ///< longest input, tokens with eos; longer ones are cut (and counted)
  /// How the ids are chosen, and how many. valid_vocab is the tokenizer's, whatever it says.
  GenerationConfig decoding = {};
  Precision precision = Precision::kFp32;
};

struct TextHypothesis {
  std::string text;
  std::vector<int32_t> ids;  ///< eos included where it was produced
  double score = 0.0;        ///< of beam search; else 0
  bool finished = false;     ///< false: the limit cut it before eos
};

struct TextGeneration {
  std::vector<std::string> texts;  ///< one for each input, in order: the best
  /// All n_best of each input, the best first.
  std::vector<std::vector<TextHypothesis>> hypotheses;
  int64_t truncated_inputs = 0;   ///< longer than input_length
  int64_t truncated_outputs = 0;  ///< texts cut by max_new_tokens before eos
  int64_t generated_tokens = 0;   ///< of `texts`
  int64_t batches = 0;
  bool complete = true;  ///< false where stop_requested() ended it early

  /// Share of the texts that the limit cut before eos.
  double truncated_share() const {
    return texts.empty()
               ? 0.0
               : static_cast<double>(truncated_outputs) / static_cast<double>(texts.size());
  }
};

/// Which inputs share a batch does not change their texts. Sampling goes by an input's number: its
/// place in `inputs`, counted from `first_number`. UserError where config.decoding is not valid.
TextGeneration generate_texts(T5& model, const Tokenizer& tokenizer,
                              const std::vector<std::string>& inputs,
                              const TextGenerationConfig& config, int64_t first_number = 0);

/// The inputs of the batch that takes the most memory, which generate_texts() begins with.
std::vector<std::string> largest_batch(const Tokenizer& tokenizer,
                                       const std::vector<std::string>& inputs,
                                       const TextGenerationConfig& config);

/// The text of one input, greedy or sampled as number `example`, told piece by piece to `print` as it
/// is made; the pieces are valid UTF-8 and together the text.
TextGeneration stream_text(T5& model, const Tokenizer& tokenizer, const std::string& input,
                           int64_t example, const TextGenerationConfig& config,
                           const std::function<void(std::string_view)>& print);

/// Ids of `text` with eos, at most `length` of them.
std::vector<int32_t> encode_with_eos(const Tokenizer& tokenizer, const std::string& text,
                                     int64_t length, bool* truncated = nullptr);

}  // namespace altup
