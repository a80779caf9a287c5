#include "altup/models/generation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "altup/models/evaluation_mode.h"
#include "altup/models/generation_steps.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw UserError(message);
}

// Logits and their sums may be multiplied and divided by these and stay finite fp32 numbers.
constexpr double kSmallestFactor = 1e-30;
constexpr double kLargestFactor = 1e30;
constexpr double kSmallestTemperature = 1e-6;  // the likeliest id alone, for all that fp32 can tell

bool is_factor(double value) {
  return value >= kSmallestFactor && value <= kLargestFactor;
}

}  // namespace

void GenerationConfig::validate() const {
  require(max_new_tokens >= 1, str("max_new_tokens is ", max_new_tokens, "; expected at least 1"));
  require(beams >= 1, str("beams is ", beams, "; expected at least 1"));
  require(n_best >= 1 && n_best <= beams,
          str("n_best is ", n_best, "; expected 1 to the number of beams, ", beams));
  require(beams > 1 || length_penalty == 1.0,
          str("length_penalty is ", length_penalty, "; it needs beams, expected more than 1"));
  require(beams > 1 || early_stopping == EarlyStopping::kFalse,
          str("early_stopping is ", enum_name(early_stopping),
              "; it needs beams, expected more than 1"));
  require(std::isfinite(length_penalty),
          str("length_penalty is ", length_penalty, "; expected a finite number"));
  require(is_factor(std::pow(static_cast<double>(max_new_tokens), length_penalty)),
          str("length_penalty is ", length_penalty, "; expected one with which max_new_tokens^it, ",
              max_new_tokens, "^", length_penalty, ", is from ", kSmallestFactor, " to ",
              kLargestFactor));
  require(!sample || beams == 1,
          str("sample is set and beams is ", beams, "; expected one or the other"));
  require(sample || (temperature == 1.0 && top_k == 0 && top_p == 1.0),
          "temperature, top_k and top_p are for sampling; expected sample to be set");
  require(temperature >= kSmallestTemperature && temperature <= kLargestFactor,
          str("temperature is ", temperature, "; expected ", kSmallestTemperature, " to ",
              kLargestFactor));
  require(top_k >= 0, str("top_k is ", top_k, "; expected 0 (all) or more"));
  require(top_p > 0 && top_p <= 1, str("top_p is ", top_p, "; expected more than 0, at most 1"));
  require(is_factor(repetition_penalty),
          str("repetition_penalty is ", repetition_penalty, "; expected ", kSmallestFactor, " to ",
              kLargestFactor));
  require(no_repeat_ngram_size >= 0,
          str("no_repeat_ngram_size is ", no_repeat_ngram_size, "; expected 0 (off) or more"));
}

Generation generate(T5& model, const torch::Tensor& input_ids, const torch::Tensor& input_mask,
                    const GenerationConfig& config, const std::vector<int64_t>& examples,
                    const TokenWatch& watch) {
  config.validate();
  const int64_t inputs = input_ids.size(0);
  TORCH_CHECK(!watch || (inputs == 1 && config.beams == 1), "tokens can be watched of one input ",
              "without beams; got ", inputs, " inputs, ", config.beams, " beams");
  const int64_t vocabulary = model->config().vocab_size;
  const int64_t valid_vocab =
      config.valid_vocab > 0 ? std::min(config.valid_vocab, vocabulary) : vocabulary;
  require(config.beams == 1 || config.beams <= valid_vocab / 2,
          str("beams is ", config.beams, "; expected at most half of the vocabulary, ",
              valid_vocab / 2));
  std::vector<int64_t> numbers = examples;
  if (numbers.empty()) {
    numbers.resize(static_cast<size_t>(inputs));
    std::iota(numbers.begin(), numbers.end(), 0);
  }
  TORCH_CHECK(static_cast<int64_t>(numbers.size()) == inputs, inputs, " inputs have ",
              numbers.size(), " numbers");

  const c10::InferenceMode inference;
  EvaluationMode evaluation(*model);
  DecodingSteps steps(model, input_ids, input_mask, config.max_new_tokens);
  auto result = config.beams > 1 ? generate_beams(steps, config, valid_vocab, inputs)
                                 : generate_rows(steps, config, valid_vocab, numbers, watch);
  for (const auto& output : result.outputs) {
    if (!output.front().finished) ++result.truncated;
  }
  return result;
}

}  // namespace altup
