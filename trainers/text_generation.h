// Texts in, texts out: tokenise, batch by length, decode, put back in order.
#pragma once

#include <string>
#include <vector>

#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "trainers/runtime.h"

namespace altup {

struct TextGenerationConfig {
  int64_t batch_size = 16;        ///< examples decoded together, at most
  int64_t batch_tokens = 16'384;  ///< input tokens of a batch, padding included, at most
  int64_t input_length =
      512;  ///< longest input, tokens with eos; longer ones are cut (and counted)
  int64_t max_new_tokens = 64;  ///< eos included
  Precision precision = Precision::kFp32;
};

struct TextGeneration {
  std::vector<std::string> texts;  ///< one for each input, in order
  int64_t truncated_inputs = 0;    ///< longer than input_length
  int64_t truncated_outputs = 0;   ///< cut by max_new_tokens before eos
  int64_t generated_tokens = 0;
  bool complete = true;  ///< false where stop_requested() ended it early
};

TextGeneration generate_texts(T5& model, const Tokenizer& tokenizer,
                              const std::vector<std::string>& inputs,
                              const TextGenerationConfig& config);

/// Ids of `text` with eos, at most `length` of them.
std::vector<int32_t> encode_with_eos(const Tokenizer& tokenizer, const std::string& text,
                                     int64_t length, bool* truncated = nullptr);

}  // namespace altup
