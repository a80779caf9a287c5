// Small models with odd sizes, one of each kind, for the tests of this room.
#pragma once

#include <torch/types.h>

#include <ostream>
#include <string>
#include <vector>

#include "altup/models/t5.h"
#include "tests/support/one_thread.h"

namespace altup::testing {

/// No two widths are equal, and heads · d_kv is not d_model.
inline T5Config small_config() {
  T5Config config;
  config.size = ModelSize::kCustom;
  config.d_model = 16;
  config.d_ff = 20;
  config.d_kv = 4;
  config.num_heads = 3;
  config.num_encoder_layers = 3;
  config.num_decoder_layers = 2;
  config.vocab_size = 40;
  config.relative_buckets = 8;
  config.relative_max_distance = 20;
  return config;
}

inline T5Config small_config(Variant variant, int64_t blocks) {
  auto config = small_config();
  config.altup.variant = variant;
  config.altup.blocks = blocks;
  return config;
}

struct NamedConfig {
  std::string name;  ///< of a test: letters and digits
  T5Config config;
  friend void PrintTo(const NamedConfig& named, std::ostream* out) { *out << named.name; }
};

/// Every kind of model without mixtures of experts that the config can say.
inline std::vector<NamedConfig> kinds_without_mixtures() {
  std::vector<NamedConfig> kinds = {
      {"Dense", small_config()},
      {"AltUp2", small_config(Variant::kAltUp, 2)},
      {"AltUp3", small_config(Variant::kAltUp, 3)},
      {"AltUp1", small_config(Variant::kAltUp, 1)},
      {"Recycled2", small_config(Variant::kRecycled, 2)},
      {"Recycled4", small_config(Variant::kRecycled, 4)},
      {"Sum2", small_config(Variant::kSum, 2)},
  };
  kinds.push_back({"Relu", small_config()});
  kinds.back().config.feed_forward = FeedForwardKind::kRelu;
  kinds.push_back({"Tied", small_config()});
  kinds.back().config.tie_embeddings = true;
  kinds.push_back({"TiedRecycled2", small_config(Variant::kRecycled, 2)});
  kinds.back().config.tie_embeddings = true;
  kinds.push_back({"TiedAltUp2", small_config(Variant::kAltUp, 2)});
  kinds.back().config.tie_embeddings = true;
  kinds.push_back({"AltUp2Summed", small_config(Variant::kAltUp, 2)});
  kinds.back().config.altup.cross_attention = CrossAttentionWidth::kSummed;
  kinds.push_back({"AltUp2Same", small_config(Variant::kAltUp, 2)});
  kinds.back().config.altup.block_selection = BlockSelection::kSame;
  kinds.push_back({"AltUp3Active", small_config(Variant::kAltUp, 3)});
  kinds.back().config.altup.init = CoefficientInit::kActive;
  for (auto& [name, config] :
       {NamedConfig{"AltUp2Token", small_config(Variant::kAltUp, 2)},
        NamedConfig{"Recycled3Token", small_config(Variant::kRecycled, 3)},
        NamedConfig{"AltUp2TokenActive", small_config(Variant::kAltUp, 2)}}) {
    kinds.push_back({name, config});
    kinds.back().config.altup.coefficients = Coefficients::kToken;
  }
  kinds.back().config.altup.init = CoefficientInit::kActive;
  kinds.push_back({"Sequence4", small_config(Variant::kSequence, 2)});
  kinds.push_back({"Sequence2", small_config(Variant::kSequence, 2)});
  kinds.back().config.altup.stride = 2;
  kinds.back().config.num_encoder_layers = 4;
  kinds.push_back({"StrideSkip3", small_config(Variant::kStrideSkip, 2)});
  kinds.back().config.altup.stride = 3;
  kinds.push_back({"AveragePool4", small_config(Variant::kAveragePool, 2)});
  kinds.push_back({"AveragePool2Tied", small_config(Variant::kAveragePool, 2)});
  kinds.back().config.altup.stride = 2;
  kinds.back().config.tie_embeddings = true;
  return kinds;
}

/// With mixtures of three experts in every second layer, the encoder's second and the decoder's
/// second.
inline T5Config with_mixtures(T5Config config, Router router = Router::kSwitch) {
  config.moe.experts = 3;
  config.moe.router = router;
  return config;
}

inline std::vector<NamedConfig> kinds_with_mixtures() {
  std::vector<NamedConfig> kinds = {
      {"Switch", with_mixtures(small_config())},
      {"SwitchAltUp2", with_mixtures(small_config(Variant::kAltUp, 2))},
      {"SwitchRecycled2", with_mixtures(small_config(Variant::kRecycled, 2))},
      {"SwitchSum2", with_mixtures(small_config(Variant::kSum, 2))},
      {"SwitchReluEveryLayer", with_mixtures(small_config())},
      {"BatchPrioritisedAltUp3", with_mixtures(small_config(Variant::kAltUp, 3))},
      {"ExpertChoice", with_mixtures(small_config(), Router::kExpertChoice)},
      {"ExpertChoiceAltUp2",
       with_mixtures(small_config(Variant::kAltUp, 2), Router::kExpertChoice)},
      {"ExpertChoiceRecycled4",
       with_mixtures(small_config(Variant::kRecycled, 4), Router::kExpertChoice)},
      {"ExpertChoiceSum2", with_mixtures(small_config(Variant::kSum, 2), Router::kExpertChoice)},
  };
  kinds[4].config.feed_forward = FeedForwardKind::kRelu;
  kinds[4].config.moe.every = 1;
  kinds[5].config.moe.batch_prioritised = true;
  // In the encoder's second layer, which computes every third position or means of three.
  kinds.push_back({"SwitchSequence", with_mixtures(small_config(Variant::kSequence, 2))});
  kinds.push_back({"ExpertChoiceSequence",
                   with_mixtures(small_config(Variant::kSequence, 2), Router::kExpertChoice)});
  kinds.push_back({"ExpertChoiceStrideSkip",
                   with_mixtures(small_config(Variant::kStrideSkip, 2), Router::kExpertChoice)});
  kinds.push_back({"ExpertChoiceAveragePool",
                   with_mixtures(small_config(Variant::kAveragePool, 2), Router::kExpertChoice)});
  kinds.push_back({"SwitchStrideSkip", with_mixtures(small_config(Variant::kStrideSkip, 2))});
  kinds.push_back({"SwitchAveragePool", with_mixtures(small_config(Variant::kAveragePool, 2))});
  for (size_t i = kinds.size() - 6; i < kinds.size(); ++i) kinds[i].config.altup.stride = 3;
  kinds.push_back({"SwitchAltUp2Token", with_mixtures(small_config(Variant::kAltUp, 2))});
  kinds.back().config.altup.coefficients = Coefficients::kToken;
  kinds.push_back({"SwitchAltUp2Same", with_mixtures(small_config(Variant::kAltUp, 2))});
  kinds.back().config.altup.block_selection = BlockSelection::kSame;
  kinds.push_back({"ExpertChoiceRecycled2Active",
                   with_mixtures(small_config(Variant::kRecycled, 2), Router::kExpertChoice)});
  kinds.back().config.altup.init = CoefficientInit::kActive;
  return kinds;
}

/// Every kind of model that the config can say.
inline std::vector<NamedConfig> every_kind() {
  auto kinds = kinds_without_mixtures();
  for (auto& kind : kinds_with_mixtures()) kinds.push_back(std::move(kind));
  return kinds;
}

/// In evaluation mode, with coefficients away from their start, so that every one of them counts.
inline T5 make_model(const T5Config& config, uint64_t seed = 1) {
  torch::manual_seed(seed);
  T5 model(config);
  torch::NoGradGuard no_grad;
  for (const auto& item : model->named_parameters()) {
    if (item.key().ends_with("_coefs")) {
      item.value().add_(0.2 * torch::randn(item.value().sizes()));
    }
  }
  model->eval();
  return model;
}

inline torch::Tensor random_ids(int64_t batch, int64_t length, const T5Config& config) {
  return torch::randint(2, config.vocab_size, {batch, length}, torch::kInt64);
}

/// true for the first lengths[b] of `width` positions. [B, width]
inline torch::Tensor mask_of(const std::vector<int64_t>& lengths, int64_t width) {
  return torch::arange(width).unsqueeze(0) < torch::tensor(lengths).unsqueeze(1);
}

/// Copies what both have by name; returns how many `from` has and `to` has not.
inline int64_t copy_common_parameters(const T5& from, T5& to) {
  torch::NoGradGuard no_grad;
  int64_t missing = 0;
  const auto targets = to->named_parameters();
  for (const auto& item : from->named_parameters()) {
    const auto* target = targets.find(item.key());
    if (target == nullptr) {
      ++missing;
    } else {
      target->copy_(item.value());
    }
  }
  return missing;
}

inline double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace altup::testing
