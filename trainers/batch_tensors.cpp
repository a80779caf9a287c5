#include "trainers/batch_tensors.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "altup/data/tokenizer.h"

namespace altup {
namespace {

// One side, inputs or targets, of some examples of a batch.
struct Side {
  std::span<const int64_t> ids;
  std::span<const int64_t> lengths;

  int64_t examples() const { return static_cast<int64_t>(lengths.size()); }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
  bool equal_lengths() const { return longest() * examples() == tokens(); }
};

Side side_of(const std::vector<int64_t>& ids, const std::vector<int64_t>& lengths, int64_t first,
             int64_t count) {
  const auto at = lengths.begin() + first;
  const auto begin = std::accumulate(lengths.begin(), at, int64_t{0});
  const auto tokens = std::accumulate(at, at + count, int64_t{0});
  return {std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(tokens)),
          std::span(lengths).subspan(static_cast<size_t>(first), static_cast<size_t>(count))};
}

// The inputs and the targets of examples [first, first + count).
std::pair<Side, Side> sides_of(const Batch& batch, int64_t first, int64_t count) {
  TORCH_CHECK(first >= 0 && count > 0 && first + count <= batch.size, "examples [", first, ", ",
              first + count, ") of a batch of ", batch.size);
  return {side_of(batch.input_ids, batch.input_lengths, first, count),
          side_of(batch.target_ids, batch.target_lengths, first, count)};
}

torch::Tensor padded_ids(const Side& side, int64_t width) {
  auto ids = torch::full({side.examples(), width}, int64_t{Tokenizer::kPad}, torch::kInt64);
  auto* row = ids.data_ptr<int64_t>();
  auto from = side.ids.begin();
  for (const int64_t length : side.lengths) {
    std::copy_n(from, length, row);
    from += length;
    row += width;
  }
  return ids;
}

// [B, width] bool, or an undefined tensor where every token is real.
torch::Tensor length_mask(const Side& side, int64_t width) {
  if (side.equal_lengths() && side.longest() == width) return {};
  const auto ends = torch::tensor(c10::IntArrayRef(side.lengths.data(), side.lengths.size()),
                                  torch::kInt64)
                        .unsqueeze(1);              // [B, 1]
  return torch::arange(width).unsqueeze(0) < ends;  // [B, width]
}

torch::Tensor to_device(const torch::Tensor& tensor, const torch::Device& device) {
  return tensor.defined() ? tensor.to(device) : tensor;
}

// Where each example begins, and the end. [B + 1] int64 on the CPU
torch::Tensor offsets_of(const Side& side) {
  auto offsets = torch::zeros({side.examples() + 1}, torch::kInt64);
  std::partial_sum(side.lengths.begin(), side.lengths.end(), offsets.data_ptr<int64_t>() + 1);
  return offsets;
}

torch::Tensor one_row(const Side& side) {  // [1, N]
  return torch::tensor(c10::IntArrayRef(side.ids.data(), side.ids.size()), torch::kInt64)
      .unsqueeze(0);
}

}  // namespace

BatchTensors to_tensors(const Batch& batch, int64_t first, int64_t count, const RunConfig& config,
                        const torch::Device& device) {
  switch (config.train.padding) {
    case Padding::kNone: {
      const auto [inputs, targets] = sides_of(batch, first, count);
      if (inputs.equal_lengths() && targets.equal_lengths()) break;
      return to_unpadded(batch, first, count, device);
    }
    case Padding::kLongest:
      break;
    case Padding::kMaximum: {
      const auto maximum = config.maximum_lengths();
      return to_padded(batch, first, count, device, maximum.input, maximum.target);
    }
  }
  return to_padded(batch, first, count, device);
}

BatchTensors to_unpadded(const Batch& batch, int64_t first, int64_t count,
                         const torch::Device& device) {
  const auto [inputs, targets] = sides_of(batch, first, count);
  BatchTensors tensors;
  tensors.offsets = {offsets_of(inputs), offsets_of(targets)};
  tensors.input_ids = one_row(inputs).to(device);
  const auto target_ids = one_row(targets);
  tensors.targets = target_ids.flatten().to(device);
  // The whole row shifted, then a pad in front of each example.
  tensors.decoder_ids =
      shift_right(target_ids)
          .index_fill_(1, tensors.offsets.targets.narrow(0, 0, count), int64_t{Tokenizer::kPad})
          .to(device);
  tensors.weights = torch::ones({targets.tokens()}, torch::kFloat).to(device);
  tensors.target_tokens = targets.tokens();
  return tensors;
}

BatchTensors to_padded(const Batch& batch, int64_t first, int64_t count,
                       const torch::Device& device, int64_t input_length, int64_t target_length) {
  const auto [inputs, targets] = sides_of(batch, first, count);
  input_length = std::max(input_length, inputs.longest());
  target_length = std::max(target_length, targets.longest());
  BatchTensors tensors;
  tensors.input_ids = padded_ids(inputs, input_length).to(device);
  tensors.input_mask = to_device(length_mask(inputs, input_length), device);
  const auto target_ids = padded_ids(targets, target_length);
  tensors.decoder_ids = shift_right(target_ids).to(device);
  tensors.targets = target_ids.flatten().to(device);
  const auto target_mask = length_mask(targets, target_length);
  tensors.weights = (target_mask.defined() ? target_mask.flatten().to(torch::kFloat)
                                           : torch::ones({target_ids.numel()}, torch::kFloat))
                        .to(device);
  tensors.target_tokens = targets.tokens();
  return tensors;
}

InputTensors to_padded_inputs(const Batch& batch, const torch::Device& device) {
  const auto inputs = side_of(batch.input_ids, batch.input_lengths, 0, batch.size);
  const int64_t longest = inputs.longest();
  return {padded_ids(inputs, longest).to(device), to_device(length_mask(inputs, longest), device)};
}

}  // namespace altup
