// Texts in, texts out: tokenise, batch by length, decode, put back in order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "trainers/runtime.h"

namespace altup {

struct TextGenerationConfig {
  int64_t batch_size = 16;
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
};

/// `progress(done, total)` is called after each batch where given.
TextGeneration generate_texts(T5& model, const Tokenizer& tokenizer,
                              const std::vector<std::string>& inputs,
                              const TextGenerationConfig& config,
                              const std::function<void(size_t, size_t)>& progress = nullptr);

/// Ids of `text` with eos, at most `length` of them.
std::vector<int32_t> encode_with_eos(const Tokenizer& tokenizer, const std::string& text,
                                     int64_t length, bool* truncated = nullptr);

}  // namespace altup
