#include "altup/models/block_conversion.h"

#include <unordered_map>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

int64_t blocks_of(const T5Config& config) {
  return config.altup.variant == Variant::kNone ? 1 : config.altup.blocks;
}

bool has_blocks(Variant variant) {
  return variant == Variant::kAltUp || variant == Variant::kRecycled || variant == Variant::kSum;
}

bool is_of_token(const AltUpConfig& altup) {
  return altup.coefficients == Coefficients::kToken &&
         (altup.variant == Variant::kAltUp || altup.variant == Variant::kRecycled);
}

// Copy s of block i predicts and corrects as block i does, and sees its own copy of the others.
torch::Tensor repeated_prediction(const torch::Tensor& coefs, int64_t times) {
  return torch::block_diag(std::vector<torch::Tensor>(static_cast<size_t>(times), coefs));
}

// Coefficients of the token: the maps read the router's first outputs, which are those that it had.
// Copies of a block go by the same token, so that the router sees what it saw.
void repeat_token_coefs(AltUpUpdateImpl& update, const AltUpUpdateImpl& of, int64_t times) {
  const int64_t blocks = of.correction_coefs.size(0);
  const int64_t more = blocks * times;
  update.reset_parameters();
  update.router_norm->weight.copy_(of.router_norm->weight);
  update.router->weight.narrow(0, 0, blocks).copy_(of.router->weight);
  const auto prediction = of.prediction_coefs.view({blocks, blocks, blocks});
  const auto repeated = update.prediction_coefs.view({more, more, more}).narrow(2, 0, blocks);
  for (int64_t copy = 0; copy < times; ++copy) {
    const int64_t first = copy * blocks;
    repeated.narrow(0, first, blocks).narrow(1, first, blocks).copy_(prediction);
    update.correction_coefs.narrow(0, first, blocks)
        .narrow(1, 0, blocks)
        .copy_(of.correction_coefs);
  }
}

// Of one stack. Without updates to repeat, the new ones stay at their start: the identity.
void convert_token_coefs(const torch::nn::ModuleList& from, torch::nn::ModuleList& to,
                         int64_t times) {
  for (size_t i = 0; i < to->size(); ++i) {
    auto& update = to->at<AltUpUpdateImpl>(i);
    if (from->is_empty()) {
      update.reset_parameters();
    } else {
      repeat_token_coefs(update, from->at<AltUpUpdateImpl>(i), times);
    }
  }
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
  if (before != Variant::kNone && !has_blocks(before)) {
    throw UserError(str("a model with altup.variant \"", enum_name(before),
                        "\" has no blocks that could become more; expected one with \"none\", "
                        "\"altup\", \"recycled\" or \"sum\""));
  }
  if (!has_blocks(after) || (before != Variant::kNone && before != after)) {
    throw UserError(str("a model with altup.variant \"", enum_name(before), "\" cannot become \"",
                        enum_name(after), "\" with its outputs unchanged; expected ",
                        before == Variant::kNone ? "\"altup\", \"recycled\" or \"sum\""
                                                 : "the same variant with more blocks"));
  }
  // Numbers of the layer are copied for every copy of the active block; with coefficients of the token
  // that block's one is not among the weights.
  const bool one_moves = to.altup.init == CoefficientInit::kActive ||
                         (before != Variant::kNone && from.altup.init == CoefficientInit::kActive);
  if (is_of_token(to.altup) && one_moves && from != to) {
    throw UserError(
        "altup.init is \"active\", with which coefficients of the token start by moving one block "
        "alone, so that the outputs would change; expected altup.init \"identity\"");
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
  const bool of_token = is_of_token(to.altup);
  const auto parameters = named_parameters(*source);
  std::unordered_map<std::string, torch::Tensor> weights(parameters.begin(), parameters.end());
  torch::NoGradGuard no_grad;
  if (of_token) {
    convert_token_coefs(source->encoder->altup, target->encoder->altup, times);
    convert_token_coefs(source->decoder->altup, target->decoder->altup, times);
  }
  for (auto& [name, parameter] : named_parameters(*target)) {
    if (of_token && name.find(".altup.") != std::string::npos) continue;
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
