#include "trainers/text_generation.h"

#include <algorithm>
#include <numeric>

#include "altup/models/generation.h"
#include "trainers/batch_tensors.h"

namespace altup {

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
                              const TextGenerationConfig& config) {
  const auto device = model->shared->weight.device();
  TextGeneration result;
  result.texts.resize(inputs.size());
  std::vector<Example> encoded(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    bool truncated = false;
    encoded[i].inputs = encode_with_eos(tokenizer, inputs[i], config.input_length, &truncated);
    if (truncated) ++result.truncated_inputs;
  }
  // Inputs of like length share a batch, so that little of it is padding. The longest go first:
  // what does not fit into memory fails at once, not at the end.
  std::vector<size_t> order(inputs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return encoded[a].inputs.size() > encoded[b].inputs.size();
  });

  const GenerationConfig decoding{.max_new_tokens = config.max_new_tokens,
                                  .valid_vocab = tokenizer.vocab_size()};
  AutocastGuard autocast(config.precision, device);
  for (size_t first = 0, end = 0; first < order.size(); first = end) {
    if (stop_requested()) {
      result.complete = false;
      break;
    }
    const auto longest = static_cast<int64_t>(encoded[order[first]].inputs.size());
    const int64_t room = std::clamp<int64_t>(config.batch_tokens / longest, 1, config.batch_size);
    end = std::min(order.size(), first + static_cast<size_t>(room));
    std::vector<Example> examples;
    for (size_t i = first; i < end; ++i) examples.push_back(encoded[order[i]]);
    const Batch batch = collate(examples);
    const auto ids = torch::tensor(batch.input_ids, torch::kInt64)
                         .view({batch.size, batch.input_length})
                         .to(device);
    const auto mask = length_mask(batch.input_lengths, batch.input_length, device);
    const auto generation = generate_greedy(model, ids, mask, decoding);
    for (size_t i = first; i < end; ++i) {
      const auto& row = generation.ids[i - first];
      const std::vector<int32_t> narrow(row.begin(), row.end());
      result.texts[order[i]] = tokenizer.decode(narrow);
      result.generated_tokens += static_cast<int64_t>(row.size());
    }
    result.truncated_outputs += generation.truncated;
  }
  return result;
}

}  // namespace altup
