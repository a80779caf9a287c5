#include "altup/models/block_conversion.h"

#include <unordered_map>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

int64_t blocks_of(const T5Config& config) {
  return config.altup.variant == Variant::kNone ? 1 : config.altup.blocks;
}

// Copy s of block i predicts and corrects as block i does, and sees its own copy of the others.
torch::Tensor repeated_prediction(const torch::Tensor& coefs, int64_t times) {
  return torch::block_diag(std::vector<torch::Tensor>(static_cast<size_t>(times), coefs));
}

// The blocks stand along the last dimension.
torch::Tensor repeated(const torch::Tensor& weight, int64_t times) {
  return torch::cat(std::vector<torch::Tensor>(static_cast<size_t>(times), weight), -1);
}

// What sums over the blocks would count every copy: the head, cross-attention's keys and values, and
// the embedding where it is summed itself.
bool sums_blocks(const std::string& name, Variant variant) {
  if (name == "shared.weight") return variant == Variant::kSum;
  return !name.ends_with("norm.weight");
}

}  // namespace

void check_block_conversion(const T5Config& from, const T5Config& to) {
  const auto before = from.altup.variant;
  const auto after = to.altup.variant;
  if (after == Variant::kNone || (before != Variant::kNone && before != after)) {
    throw UserError(str("a model with altup.variant \"", enum_name(before), "\" cannot become \"",
                        enum_name(after), "\" with its outputs unchanged; expected ",
                        before == Variant::kNone ? "\"altup\", \"recycled\" or \"sum\""
                                                 : "the same variant with more blocks"));
  }
  if (to.altup.blocks % blocks_of(from) != 0) {
    throw UserError(str("altup.blocks is ", to.altup.blocks, "; expected a multiple of the ",
                        blocks_of(from), " that the model has"));
  }
  if (to.tie_embeddings && after == Variant::kAltUp) {
    throw UserError(
        "model.tie_embeddings is true: a head that is the embedding cannot divide by "
        "the blocks; expected the variant \"recycled\"");
  }
  auto same = from;
  same.altup.variant = after;
  same.altup.blocks = to.altup.blocks;
  same.altup.init = to.altup.init;
  if (before == Variant::kNone) same.altup = to.altup;
  if (!(same == to)) {
    throw UserError(
        "a conversion changes [altup] only; expected all other keys of the model, and "
        "those of a widened model's [altup] but the blocks, as they are");
  }
}

void convert_blocks(const T5& source, T5& target) {
  const auto& from = source->config();
  const auto& to = target->config();
  check_block_conversion(from, to);
  const int64_t times = to.altup.blocks / blocks_of(from);
  const auto parameters = named_parameters(*source);
  std::unordered_map<std::string, torch::Tensor> weights(parameters.begin(), parameters.end());
  torch::NoGradGuard no_grad;
  for (auto& [name, parameter] : named_parameters(*target)) {
    const bool prediction = name.ends_with(".prediction_coefs");
    const bool correction = name.ends_with(".correction_coefs");
    const auto found = weights.find(name);
    torch::Tensor weight;
    if (found != weights.end()) {
      weight = found->second;
    } else {  // a dense layer is one block that takes over what the layer found
      TORCH_CHECK(prediction || correction, "the dense model has no ", name);
      weight = prediction ? torch::ones({1, 1}) : torch::ones({1});
    }
    if (prediction) {
      parameter.copy_(repeated_prediction(weight, times));
    } else if (weight.sizes() == parameter.sizes()) {
      parameter.copy_(weight);
    } else {
      const double scale = correction || !sums_blocks(name, to.altup.variant)
                               ? 1.0
                               : 1.0 / static_cast<double>(times);
      parameter.copy_(repeated(weight, times).mul_(scale));
    }
  }
}

}  // namespace altup
