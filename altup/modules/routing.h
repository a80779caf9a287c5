// Which tokens an expert gets, as lists of token numbers: an expert's products run over such a list,
// never over one-hot matrices.
//   p = softmax(router logits)          [N, E], a row for each token
// Switch (Fedus et al. 2021): a token goes to its likeliest expert, e = argmax_i p_i, weighted by
// p_e; an expert takes at most `capacity` tokens, the first ones or, batch-prioritised (Riquelme et
// al. 2021), those with the largest p_e. What an expert does not take, it adds nothing to: the token
// goes on by the residual connection.
// Expert Choice (Zhou et al. 2022): expert e takes, of the tokens of each sequence, those with the
// largest p_e. A sequence's tokens compete among themselves only, so that what comes out does not
// depend on the rest of the batch.
// Of equals, the lower expert and the earlier token come first.
#pragma once

#include <torch/types.h>

#include <array>
#include <string_view>

namespace altup {

/// The tokens of a batch that mixtures route, made once for all layers of a stack.
struct RoutedTokens {
  /// [N] int64, ascending: their places among the rows of the flattened batch, padding left out;
  /// undefined where all rows are tokens.
  torch::Tensor places;
  /// For Expert Choice alone: the sequence of each token, [N] int64, ascending; and which of a
  /// sequence's tokens, ordered by what an expert thinks of them, it takes, [C] int64 of 0..N-1.
  torch::Tensor sequences;
  torch::Tensor taken;
};

/// mask [B, T] bool, true where a token is real, or undefined: all are.
RoutedTokens routed_tokens(const torch::Tensor& mask);
/// Prepares Expert Choice: `lengths` [B] int64, the tokens of each sequence, in the order of the
/// batch. An expert takes expert_capacity() of each.
void let_experts_choose(RoutedTokens& tokens, const torch::Tensor& lengths, int64_t experts,
                        double capacity_factor);

/// Places of one expert: ⌈capacity_factor · tokens / experts⌉.
int64_t expert_capacity(int64_t tokens, int64_t experts, double capacity_factor);

/// C places for each expert, and who has them.
struct Assignment {
  torch::Tensor tokens;  ///< [E, C] int64; 0 in a place that nobody has
  torch::Tensor gates;   ///< [E, C], the weight of what the expert says; 0 in such a place
};

/// probabilities [N, E].
Assignment assign_switch(const torch::Tensor& probabilities, int64_t capacity,
                         bool batch_prioritised);
/// probabilities [N, E]; `tokens` prepared by let_experts_choose().
Assignment assign_expert_choice(const torch::Tensor& probabilities, const RoutedTokens& tokens);

/// Tokens for which each expert is the likeliest. probabilities [N, E] -> [E] int64.
torch::Tensor preferred_counts(const torch::Tensor& probabilities);
/// E Σ_i f_i P_i with the share of tokens f_i and the mean probability P_i of expert i (Fedus et al.
/// 2021, eq. 4): 1 where the load is even, E where one expert has all. Differentiable by P.
torch::Tensor load_balance_loss(const torch::Tensor& probabilities);
/// The mean of (log Σ_i exp l_i)² over tokens (Zoph et al. 2022, eq. 5). logits [N, E]
torch::Tensor router_z_loss(const torch::Tensor& logits);

/// What a mixture tells of its routing, in this order.
constexpr std::array<std::string_view, 6> kRoutingStatistics = {
    "router_load_balance_loss",  // as above, without its weight; NaN for Expert Choice
    "router_z_loss",             // likewise
    "router_entropy",   // of a token's probabilities, nats; ln E: the router has no opinion
    "router_dropped",   // percent of the tokens that no expert took
    "router_max_load",  // tokens of the busiest expert over an equal share, before capacity
    "router_min_load",  // of the least busy one; 0: an expert that nobody wants
};

}  // namespace altup
