#include "trainers/text_generation.h"

#include <algorithm>
#include <numeric>

#include "trainers/batch_tensors.h"
#include "trainers/text_stream.h"

namespace altup {
namespace {

struct Encoded {
  std::vector<Example> inputs;  // without targets
  int64_t truncated = 0;        // of them
};

Encoded encode_all(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                   int64_t length) {
  Encoded encoded;
  for (const auto& text : texts) {
    bool truncated = false;
    encoded.inputs.push_back({encode_with_eos(tokenizer, text, length, &truncated), {}});
    if (truncated) ++encoded.truncated;
  }
  return encoded;
}

// The places of the inputs of each batch. Inputs of like length share one, so that little of it is
// padding. The longest go first: what does not fit into memory fails at once, not at the end.
std::vector<std::vector<int64_t>> batches_by_length(const std::vector<Example>& inputs,
                                                    const TextGenerationConfig& config) {
  std::vector<int64_t> order(inputs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto tokens = [&](int64_t i) { return inputs[static_cast<size_t>(i)].inputs.size(); };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return tokens(a) > tokens(b); });
  std::vector<std::vector<int64_t>> batches;
  for (auto first = order.begin(); first != order.end();) {
    const auto longest = static_cast<int64_t>(tokens(*first));
    const int64_t room = std::clamp<int64_t>(config.batch_tokens / longest, 1, config.batch_size);
    const auto end = first + std::min(room, order.end() - first);
    batches.emplace_back(first, end);
    first = end;
  }
  return batches;
}

GenerationConfig decoding_of(const TextGenerationConfig& config, const Tokenizer& tokenizer) {
  auto decoding = config.decoding;
  decoding.valid_vocab = tokenizer.vocab_size();
  decoding.validate();
  return decoding;
}

// One batch through the model. Sampling goes by `numbers`.
Generation run_batch(T5& model, const std::vector<Example>& inputs,
                     const std::vector<int64_t>& numbers, const GenerationConfig& decoding,
                     const TokenWatch& watch = {}) {
  const auto tensors = to_padded_inputs(collate(inputs), model->shared->weight.device());
  return generate(model, tensors.ids, tensors.mask, decoding, numbers, watch);
}

// `places` are the inputs' places in the result.
void add_outputs(const Generation& generation, const std::vector<int64_t>& places,
                 const Tokenizer& tokenizer, TextGeneration& result) {
  for (size_t i = 0; i < places.size(); ++i) {
    const auto at = static_cast<size_t>(places[i]);
    for (const auto& output : generation.outputs[i]) {
      TextHypothesis hypothesis{.text = {},
                                .ids = {output.ids.begin(), output.ids.end()},
                                .score = output.score,
                                .finished = output.finished};
      hypothesis.text = tokenizer.decode(hypothesis.ids);
      result.hypotheses[at].push_back(std::move(hypothesis));
    }
    const auto& best = result.hypotheses[at].front();
    result.texts[at] = best.text;
    result.generated_tokens += static_cast<int64_t>(best.ids.size());
  }
  result.truncated_outputs += generation.truncated;
  ++result.batches;
}

}  // namespace

std::vector<int32_t> encode_with_eos(const Tokenizer& tokenizer, const std::string& text,
                                     int64_t length, bool* truncated) {
  auto ids = tokenizer.encode(text);
  const auto room = static_cast<size_t>(length - 1);
  if (truncated != nullptr) *truncated = ids.size() > room;
  if (ids.size() > room) ids.resize(room);
  ids.push_back(Tokenizer::kEos);
  return ids;
}

TextGeneration generate_texts(T5& model, const Tokenizer& tokenizer,
                              const std::vector<std::string>& inputs,
                              const TextGenerationConfig& config, int64_t first_number) {
  const auto decoding = decoding_of(config, tokenizer);
  const auto encoded = encode_all(tokenizer, inputs, config.input_length);
  TextGeneration result;
  result.texts.resize(inputs.size());
  result.hypotheses.resize(inputs.size());
  result.truncated_inputs = encoded.truncated;
  AutocastGuard autocast(config.precision, model->shared->weight.device());
  for (const auto& places : batches_by_length(encoded.inputs, config)) {
    if (stop_requested()) {
      result.complete = false;
      break;
    }
    std::vector<int64_t> numbers;
    std::vector<Example> examples;
    for (const int64_t place : places) {
      numbers.push_back(first_number + place);
      examples.push_back(encoded.inputs[static_cast<size_t>(place)]);
    }
    add_outputs(run_batch(model, examples, numbers, decoding), places, tokenizer, result);
  }
  return result;
}

std::vector<std::string> largest_batch(const Tokenizer& tokenizer,
                                       const std::vector<std::string>& inputs,
                                       const TextGenerationConfig& config) {
  if (inputs.empty()) return {};
  const auto encoded = encode_all(tokenizer, inputs, config.input_length);
  const auto batches = batches_by_length(encoded.inputs, config);
  std::vector<std::string> largest;
  for (const int64_t place : batches.front()) largest.push_back(inputs[static_cast<size_t>(place)]);
  return largest;
}

TextGeneration stream_text(T5& model, const Tokenizer& tokenizer, const std::string& input,
                           int64_t example, const TextGenerationConfig& config,
                           const std::function<void(std::string_view)>& print) {
  const auto encoded = encode_all(tokenizer, {input}, config.input_length);
  TextGeneration result;
  result.texts.resize(1);
  result.hypotheses.resize(1);
  result.truncated_inputs = encoded.truncated;
  AutocastGuard autocast(config.precision, model->shared->weight.device());
  TextStream stream(tokenizer);
  const auto watch = [&](int64_t id) { print(stream.add(static_cast<int32_t>(id))); };
  const auto generation =
      run_batch(model, encoded.inputs, {example}, decoding_of(config, tokenizer), watch);
  print(stream.finish());
  add_outputs(generation, {0}, tokenizer, result);
  return result;
}

}  // namespace altup
