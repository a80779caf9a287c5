#include "altup/data/batch.h"

#include <numeric>

namespace altup {
namespace {

std::span<const int64_t> ids_of(const std::vector<int64_t>& ids,
                                const std::vector<int64_t>& lengths, int64_t example) {
  const auto at = lengths.begin() + example;
  const auto begin = static_cast<size_t>(std::accumulate(lengths.begin(), at, int64_t{0}));
  return std::span(ids).subspan(begin, static_cast<size_t>(*at));
}

void append(const std::vector<int32_t>& example, std::vector<int64_t>& ids,
            std::vector<int64_t>& lengths) {
  ids.insert(ids.end(), example.begin(), example.end());
  lengths.push_back(static_cast<int64_t>(example.size()));
}

}  // namespace

std::span<const int64_t> Batch::input(int64_t example) const {
  return ids_of(input_ids, input_lengths, example);
}

std::span<const int64_t> Batch::target(int64_t example) const {
  return ids_of(target_ids, target_lengths, example);
}

Batch collate(const std::vector<Example>& examples) {
  Batch batch;
  batch.size = static_cast<int64_t>(examples.size());
  for (const auto& example : examples) {
    append(example.inputs, batch.input_ids, batch.input_lengths);
    append(example.targets, batch.target_ids, batch.target_lengths);
  }
  return batch;
}

}  // namespace altup
