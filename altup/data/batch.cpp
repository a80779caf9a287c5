#include "altup/data/batch.h"

#include <algorithm>
#include <numeric>

#include "altup/data/tokenizer.h"

namespace altup {
namespace {

/// Copies one side of the examples into `ids` [B, width], filled up with pad.
void pad_side(const std::vector<Example>& examples, std::vector<int32_t> Example::*side,
              int64_t& width, std::vector<int64_t>& ids, std::vector<int64_t>& lengths) {
  lengths.reserve(examples.size());
  for (const auto& example : examples) {
    lengths.push_back(static_cast<int64_t>((example.*side).size()));
    width = std::max(width, lengths.back());
  }
  ids.assign(examples.size() * static_cast<size_t>(width), Tokenizer::kPad);
  for (size_t row = 0; row < examples.size(); ++row) {
    std::ranges::copy(examples[row].*side, ids.begin() + static_cast<int64_t>(row) * width);
  }
}

}  // namespace

int64_t Batch::input_tokens() const {
  return std::accumulate(input_lengths.begin(), input_lengths.end(), int64_t{0});
}

int64_t Batch::target_tokens() const {
  return std::accumulate(target_lengths.begin(), target_lengths.end(), int64_t{0});
}

Batch collate(const std::vector<Example>& examples) {
  Batch batch;
  batch.size = static_cast<int64_t>(examples.size());
  pad_side(examples, &Example::inputs, batch.input_length, batch.input_ids, batch.input_lengths);
  pad_side(examples, &Example::targets, batch.target_length, batch.target_ids,
           batch.target_lengths);
  return batch;
}

}  // namespace altup
