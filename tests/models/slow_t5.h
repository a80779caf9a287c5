// The whole model once more, as the papers write it: one sequence, token by token, head by head, block
// by block, with nothing of the project but the parameters by name and the bucket of a distance. Slow;
// what the modules are held against.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "altup/models/t5.h"

namespace altup::testing {

class SlowT5 {
 public:
  explicit SlowT5(T5& model) : config_(model->config()), parameters_(model->named_parameters()) {}

  /// In evaluation; without padding. -> [T, vocab_size]
  torch::Tensor logits(const std::vector<int64_t>& inputs, const std::vector<int64_t>& targets) {
    const auto memory = encode(inputs);
    auto state = embed(targets);
    for (int64_t i = 0; i < config_.num_decoder_layers; ++i) {
      const auto name = "decoder.layers." + std::to_string(i) + ".";
      const auto layer = [&](Tokens x) {
        x = add(x, attention(name + "self_attention", normed(name + "self_attention_norm", x), {},
                             "decoder", 1));
        x = add(x, attention(name + "cross_attention", normed(name + "cross_attention_norm", x),
                             memory, "", 0));
        return add(x, feed_forward(name, i, normed(name + "feed_forward_norm", x), false));
      };
      state = widened(state, "decoder", i, layer);
    }
    const bool tied = config_.tie_embeddings;
    std::vector<torch::Tensor> rows;
    for (auto& token : normed("decoder.final_norm", leave(state, config_.output_width()))) {
      const double scale = tied ? 1 / std::sqrt(static_cast<double>(token.size(0))) : 1.0;
      rows.push_back(torch::mv(of(tied ? "shared.weight" : "lm_head.weight"), token * scale));
    }
    return torch::stack(rows);
  }

 private:
  using Tokens = std::vector<torch::Tensor>;  // [d] each
  using State = std::vector<Tokens>;          // of each block

  torch::Tensor of(const std::string& name) const {
    const auto* found = parameters_.find(name);
    TORCH_CHECK(found != nullptr, "no parameter ", name);
    return *found;
  }

  State embed(const std::vector<int64_t>& ids) const {
    const auto variant = config_.altup.variant;
    const bool split = variant == Variant::kAltUp || variant == Variant::kSum;
    const int64_t parts = split ? config_.altup.blocks : 1;
    State state;
    for (int64_t k = 0; k < parts; ++k) {
      state.emplace_back();
      for (const int64_t id : ids) {
        state.back().push_back(
            of("shared.weight")[id].slice(0, k * config_.d_model, (k + 1) * config_.d_model));
      }
    }
    if (variant == Variant::kRecycled) {
      state.resize(static_cast<size_t>(config_.altup.blocks), state[0]);
    }
    if (variant == Variant::kSum) {
      for (int64_t k = 1; k < parts; ++k) state[0] = add(state[0], state[static_cast<size_t>(k)]);
      state.resize(1);
    }
    return state;
  }

  // All blocks side by side, or their mean.
  Tokens leave(const State& state, int64_t width) const {
    Tokens tokens;
    for (size_t t = 0; t < state[0].size(); ++t) {
      Tokens blocks;
      for (const auto& block : state) blocks.push_back(block[t]);
      const auto all = torch::stack(blocks);
      tokens.push_back(width == config_.d_model ? all.mean(0) : all.flatten());
    }
    return tokens;
  }

  static Tokens add(const Tokens& a, const Tokens& b) {
    Tokens sum;
    for (size_t t = 0; t < a.size(); ++t) sum.push_back(a[t] + b[t]);
    return sum;
  }

  torch::Tensor norm(const std::string& name, const torch::Tensor& x) const {
    return of(name + ".weight") * x / (x.square().mean() + config_.norm_epsilon).sqrt();
  }
  Tokens normed(const std::string& name, const Tokens& x) const {
    Tokens out;
    for (const auto& token : x) out.push_back(norm(name, token));
    return out;
  }

  // To the tokens themselves, where `others` is empty, with the bias of `stack`; `stride`: how far
  // apart they stand.
  Tokens attention(const std::string& name, const Tokens& x, const Tokens& others,
                   const std::string& stack, int64_t stride) const {
    const auto& seen = others.empty() ? x : others;
    Tokens q, k, v, out;
    for (const auto& token : x) q.push_back(torch::mv(of(name + ".q.weight"), token));
    for (const auto& token : seen) k.push_back(torch::mv(of(name + ".k.weight"), token));
    for (const auto& token : seen) v.push_back(torch::mv(of(name + ".v.weight"), token));
    const RelativeBiasConfig distances{.num_heads = config_.num_heads,
                                       .buckets = config_.relative_buckets,
                                       .max_distance = config_.relative_max_distance,
                                       .bidirectional = stack == "encoder"};
    for (size_t t = 0; t < x.size(); ++t) {
      const size_t visible = stack == "decoder" ? t + 1 : seen.size();
      Tokens heads;
      for (int64_t h = 0; h < config_.num_heads; ++h) {
        const auto head = [&](const torch::Tensor& all) {
          return all.slice(0, h * config_.d_kv, (h + 1) * config_.d_kv);
        };
        Tokens scores;
        for (size_t s = 0; s < visible; ++s) {
          scores.push_back(torch::dot(head(q[t]), head(k[s])));
          if (stack.empty()) continue;
          const auto distance = (static_cast<int64_t>(s) - static_cast<int64_t>(t)) * stride;
          const auto bucket = relative_buckets(distance, 1, distances).item<int64_t>();
          scores.back() = scores.back() + of(stack + ".relative_bias.weight")[bucket][h];
        }
        const auto weights = torch::stack(scores).softmax(0);
        auto sum = torch::zeros({config_.d_kv}, weights.options());
        for (size_t s = 0; s < visible; ++s) {
          sum = sum + weights[static_cast<int64_t>(s)] * head(v[s]);
        }
        heads.push_back(sum);
      }
      out.push_back(torch::mv(of(name + ".o.weight"), torch::cat(heads)));
    }
    return out;
  }

  // weight(part): [out, in] of "wi_0", "wi_1", "wi", "wo".
  template <typename Weight>
  torch::Tensor expert(const torch::Tensor& x, const Weight& weight) const {
    if (config_.feed_forward == FeedForwardKind::kRelu) {
      return torch::mv(weight("wo"), torch::mv(weight("wi"), x).clamp_min(0));
    }
    const auto in = torch::mv(weight("wi_0"), x);
    const auto gelu =
        0.5 * in * (1 + torch::tanh(std::sqrt(2 / M_PI) * (in + 0.044715 * in.pow(3))));
    return torch::mv(weight("wo"), gelu * torch::mv(weight("wi_1"), x));
  }

  Tokens feed_forward(const std::string& layer, int64_t index, const Tokens& x,
                      bool may_choose) const {
    const auto name = layer + "feed_forward.";
    if (!config_.has_mixture(index)) {
      Tokens out;
      for (const auto& token : x) {
        out.push_back(
            expert(token, [&](const std::string& part) { return of(name + part + ".weight"); }));
      }
      return out;
    }
    const auto experts = static_cast<size_t>(config_.moe.experts);
    Tokens out(x.size(), torch::zeros_like(x[0]));
    Tokens probabilities;
    for (const auto& token : x) {
      probabilities.push_back(torch::mv(of(name + "router.weight"), token).softmax(0));
    }
    const auto takes = [&](size_t e, size_t t) {
      const auto i = static_cast<int64_t>(e);
      const auto said =
          expert(x[t], [&](const std::string& part) { return of(name + "experts." + part)[i]; });
      out[t] = out[t] + probabilities[t][i] * said;
    };
    if (!may_choose || config_.moe.router == Router::kSwitch) {
      for (size_t t = 0; t < x.size(); ++t) {
        takes(static_cast<size_t>(probabilities[t].argmax().item<int64_t>()), t);
      }
      return out;
    }
    const auto places =
        static_cast<size_t>(std::ceil(config_.moe.capacity_factor * static_cast<double>(x.size()) /
                                      static_cast<double>(experts)));
    for (size_t e = 0; e < experts; ++e) {
      std::vector<size_t> order(x.size());
      std::iota(order.begin(), order.end(), 0);
      const auto likes = [&](size_t t) {
        return probabilities[t][static_cast<int64_t>(e)].item<double>();
      };
      std::stable_sort(order.begin(), order.end(),
                       [&](size_t a, size_t b) { return likes(a) > likes(b); });
      order.resize(std::min(places, order.size()));
      for (const size_t t : order) takes(e, t);
    }
    return out;
  }

  // r(v) = tanh(W_r RMSNorm(v) / d)
  torch::Tensor route(const std::string& name, const torch::Tensor& v) const {
    const auto normed = norm(name + "router_norm", v) / static_cast<double>(config_.d_model);
    return torch::tanh(torch::mv(of(name + "router.weight"), normed));
  }

  // Algorithm 1: one block computed, all predicted and corrected.
  template <typename Layer>
  State widened(const State& x, const std::string& stack, int64_t index, const Layer& layer) const {
    if (x.size() == 1) return {layer(x[0])};
    const auto blocks = static_cast<int64_t>(x.size());
    const auto name = stack + ".altup." + std::to_string(index) + ".";
    const bool same = config_.altup.block_selection == BlockSelection::kSame;
    const auto active = static_cast<size_t>(same ? 0 : index % blocks);
    const bool only_active = config_.altup.init == CoefficientInit::kActive;
    const Tokens computed = layer(x[active]);
    State y(x.size(), Tokens(computed.size()));
    for (size_t t = 0; t < computed.size(); ++t) {
      auto p = of(name + "prediction_coefs");
      auto g = of(name + "correction_coefs");
      if (config_.altup.coefficients == Coefficients::kToken) {
        p = torch::eye(blocks, p.options()) +
            torch::mv(p, route(name, x[active][t])).view({blocks, blocks});
        auto first = torch::ones({blocks}, g.options());
        if (only_active) first = torch::eye(blocks, g.options())[static_cast<int64_t>(active)];
        g = first + torch::mv(g, route(name, computed[t]));
      }
      Tokens predicted;
      for (int64_t i = 0; i < blocks; ++i) {
        auto sum = torch::zeros_like(computed[t]);
        for (int64_t j = 0; j < blocks; ++j) sum = sum + p[i][j] * x[static_cast<size_t>(j)][t];
        predicted.push_back(sum);
      }
      for (size_t i = 0; i < x.size(); ++i) {
        y[i][t] = predicted[i] + g[static_cast<int64_t>(i)] * (computed[t] - predicted[active]);
      }
    }
    return y;
  }

  Tokens encode(const std::vector<int64_t>& inputs) const {
    const auto variant = config_.altup.variant;
    const auto k = static_cast<size_t>(config_.altup.stride);
    const int64_t last = config_.num_encoder_layers - 1;
    auto state = embed(inputs);
    for (int64_t i = 0; i <= last; ++i) {
      const auto name = "encoder.layers." + std::to_string(i) + ".";
      const bool few =
          (variant == Variant::kSequence || variant == Variant::kStrideSkip) && i > 0 && i < last;
      const bool pooled = variant == Variant::kAveragePool && i > 0;
      const int64_t stride = few || pooled ? config_.altup.stride : 1;
      const auto layer = [&](Tokens x) {
        x = add(x, attention(name + "self_attention", normed(name + "self_attention_norm", x), {},
                             "encoder", stride));
        return add(x, feed_forward(name, i, normed(name + "feed_forward_norm", x), true));
      };
      if (!few) {
        state = widened(state, "encoder", i, layer);
      } else {  // Algorithm 2
        const auto x = state[0];
        Tokens anchors;
        for (size_t t = 0; t < x.size(); t += k) anchors.push_back(x[t]);
        const auto computed = layer(anchors);
        for (size_t t = 0; t < x.size(); ++t) {
          if (variant == Variant::kStrideSkip) {
            if (t % k == 0) state[0][t] = computed[t / k];
            continue;
          }
          const auto update = "encoder.altup." + std::to_string(i - 1) + ".";
          const auto a = of(update + "prediction_coefs");
          const auto predict = [&](size_t at) { return a[0] * x[at] + a[1] * x[at / k * k]; };
          state[0][t] = predict(t) +
                        of(update + "correction_coefs")[0] * (computed[t / k] - predict(t / k * k));
        }
      }
      if (variant == Variant::kAveragePool && i == 0) {
        Tokens means;
        for (size_t t = 0; t < state[0].size(); t += k) {
          const auto end = std::min(t + k, state[0].size());
          means.push_back(torch::stack(Tokens(state[0].begin() + static_cast<int64_t>(t),
                                              state[0].begin() + static_cast<int64_t>(end)))
                              .mean(0));
        }
        state[0] = means;
      }
    }
    return normed("encoder.final_norm", leave(state, config_.memory_width()));
  }

  T5Config config_;
  torch::OrderedDict<std::string, torch::Tensor> parameters_;
};

}  // namespace altup::testing
