#include "trainers/batch_tensors.h"

#include <algorithm>

#include "altup/models/t5.h"

namespace altup {
namespace {

// Rows [first, first + count) of a row-major [., width] array, cut to `length` columns.
torch::Tensor cut_rows(const std::vector<int64_t>& ids, int64_t first, int64_t count, int64_t width,
                       int64_t length) {
  auto* data = const_cast<int64_t*>(ids.data()) +
               first * width;  // from_blob only reads here: clone() follows
  return torch::from_blob(data, {count, width}, torch::kInt64).narrow(1, 0, length).clone();
}

}  // namespace

torch::Tensor length_mask(const std::vector<int64_t>& lengths, int64_t longest,
                          const torch::Device& device) {
  if (std::all_of(lengths.begin(), lengths.end(),
                  [&](int64_t length) { return length == longest; }))
    return {};
  const auto ends = torch::tensor(lengths, torch::kInt64).unsqueeze(1);  // [B, 1]
  return (torch::arange(longest).unsqueeze(0) < ends).to(device);        // [B, S]
}

BatchTensors to_tensors(const Batch& batch, int64_t first, int64_t count,
                        const torch::Device& device) {
  TORCH_CHECK(first >= 0 && count > 0 && first + count <= batch.size, "examples [", first, ", ",
              first + count, ") of a batch of ", batch.size);
  const auto slice = [&](const std::vector<int64_t>& lengths) {
    return std::vector<int64_t>(lengths.begin() + first, lengths.begin() + first + count);
  };
  const auto input_lengths = slice(batch.input_lengths);
  const auto target_lengths = slice(batch.target_lengths);
  const int64_t longest_input = *std::max_element(input_lengths.begin(), input_lengths.end());
  const int64_t longest_target = *std::max_element(target_lengths.begin(), target_lengths.end());

  BatchTensors tensors;
  tensors.input_ids =
      cut_rows(batch.input_ids, first, count, batch.input_length, longest_input).to(device);
  tensors.input_mask = length_mask(input_lengths, longest_input, device);
  const auto targets =
      cut_rows(batch.target_ids, first, count, batch.target_length, longest_target).to(device);
  tensors.decoder_ids = shift_right(targets);
  tensors.targets = targets.flatten();
  const auto target_mask = length_mask(target_lengths, longest_target, device);
  tensors.weights = target_mask.defined()
                        ? target_mask.flatten().to(torch::kFloat)
                        : torch::ones(tensors.targets.sizes(), torch::kFloat).to(device);
  for (const int64_t length : target_lengths) tensors.target_tokens += length;
  return tensors;
}

}  // namespace altup
