#include "tests/modules/slow_mixture.h"

#include <algorithm>
#include <cmath>

namespace altup::testing {
namespace {

torch::Tensor expert_of(MixtureOfExperts& mixture, const MixtureConfig& config, int64_t e,
                        const torch::Tensor& token) {
  const auto& experts = *mixture->experts;
  const auto in = torch::mv(config.gated_gelu ? experts.wi_0[e] : experts.wi[e], token);
  const auto hidden =
      config.gated_gelu
          ? 0.5 * in * (1 + torch::tanh(std::sqrt(2 / M_PI) * (in + 0.044715 * in.pow(3)))) *
                torch::mv(experts.wi_1[e], token)
          : in.clamp_min(0);
  return torch::mv(experts.wo[e], hidden);
}

}  // namespace

SlowMixture slow_mixture(MixtureOfExperts& mixture, const MixtureConfig& config,
                         const torch::Tensor& x, const std::vector<int64_t>& lengths,
                         bool limited) {
  struct Token {
    int64_t sequence, position;
    torch::Tensor x, probabilities;
    int64_t choice;
  };
  const auto sequences = static_cast<int64_t>(lengths.size());
  const int64_t positions = x.size(1);
  std::vector<Token> tokens;
  auto z_loss = torch::zeros({}, torch::kDouble);
  for (int64_t b = 0; b < sequences; ++b) {
    for (int64_t s = 0; s < lengths[static_cast<size_t>(b)]; ++s) {
      const auto logits = torch::mv(mixture->router->weight, x[b][s]);
      const auto probabilities = logits.exp() / logits.exp().sum();
      z_loss = z_loss + logits.exp().sum().log().square();
      tokens.push_back({b, s, x[b][s], probabilities, probabilities.argmax().item<int64_t>()});
    }
  }
  const auto count = static_cast<double>(tokens.size());
  const auto p = [](const Token& token, int64_t e) {
    return token.probabilities[e].item<double>();
  };
  std::vector<std::vector<size_t>> taken(static_cast<size_t>(config.experts));
  for (int64_t e = 0; e < config.experts; ++e) {
    auto& list = taken[static_cast<size_t>(e)];
    const auto take = [&](int64_t sequence, bool chosen_only, bool sorted, double places) {
      std::vector<size_t> all;
      for (size_t t = 0; t < tokens.size(); ++t) {
        if (sequence >= 0 && tokens[t].sequence != sequence) continue;
        if (!chosen_only || tokens[t].choice == e) all.push_back(t);
      }
      if (sorted) {
        std::stable_sort(all.begin(), all.end(),
                         [&](size_t a, size_t b) { return p(tokens[a], e) > p(tokens[b], e); });
      }
      if (static_cast<double>(all.size()) > places) all.resize(static_cast<size_t>(places));
      list.insert(list.end(), all.begin(), all.end());
    };
    const auto places = [&](double of) {
      return std::ceil(of * config.capacity_factor / static_cast<double>(config.experts));
    };
    if (config.expert_choice) {
      for (size_t b = 0; b < lengths.size(); ++b) {
        take(static_cast<int64_t>(b), false, true, places(static_cast<double>(lengths[b])));
      }
    } else {
      take(-1, true, config.batch_prioritised, limited ? places(count) : 1e9);
    }
  }
  SlowMixture slow;
  std::vector<torch::Tensor> outputs(lengths.size() * static_cast<size_t>(positions),
                                     torch::zeros({config.d_model}, torch::kDouble));
  std::vector<bool> has_expert(tokens.size());
  for (int64_t e = 0; e < config.experts; ++e) {
    for (const size_t t : taken[static_cast<size_t>(e)]) {
      auto& output =
          outputs[static_cast<size_t>(tokens[t].sequence * positions + tokens[t].position)];
      output = output + tokens[t].probabilities[e] * expert_of(mixture, config, e, tokens[t].x);
      has_expert[t] = true;
    }
  }
  slow.output = torch::stack(outputs).view({sequences, positions, config.d_model});
  slow.dropped = std::count(has_expert.begin(), has_expert.end(), false);
  slow.loss = config.router_z_loss * z_loss / count;
  if (!config.expert_choice) {
    for (int64_t e = 0; e < config.experts; ++e) {
      double share = 0;
      auto mean = torch::zeros({}, torch::kDouble);
      for (const auto& token : tokens) {
        share += (token.choice == e ? 1 : 0) / count;
        mean = mean + token.probabilities[e] / count;
      }
      slow.loss =
          slow.loss + config.load_balance_loss * static_cast<double>(config.experts) * share * mean;
    }
  }
  return slow;
}

}  // namespace altup::testing
