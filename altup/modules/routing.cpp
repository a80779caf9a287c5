#include "altup/modules/routing.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace altup {
namespace {

// Products such as 1.1 · 100 / 10 are not to end just above a whole number.
constexpr double kRounding = 1e-9;

torch::Tensor number_from_zero(int64_t count, const torch::Tensor& like) {
  return torch::arange(count, like.options().dtype(torch::kInt64));
}

// Best first; equal ones keep their order.
torch::Tensor descending(const torch::Tensor& values, int64_t dimension) {
  return torch::argsort(values, /*stable=*/true, dimension, /*descending=*/true);
}

torch::Tensor ascending(const torch::Tensor& values, int64_t dimension) {
  return torch::argsort(values, /*stable=*/true, dimension, /*descending=*/false);
}

// For each of the sorted `groups` [N], with `sizes` [G] members each: its number within its group.
torch::Tensor rank_in_group(const torch::Tensor& groups, const torch::Tensor& sizes) {
  const auto starts = sizes.cumsum(0) - sizes;
  return number_from_zero(groups.size(0), groups) - starts.index_select(0, groups);
}

torch::Tensor count_by_expert(const torch::Tensor& chosen, int64_t experts) {
  return (chosen.unsqueeze(1) == number_from_zero(experts, chosen)).sum(0);
}

}  // namespace

RoutedTokens routed_tokens(const torch::Tensor& mask) {
  RoutedTokens tokens;
  if (mask.defined()) tokens.places = mask.flatten().nonzero().squeeze(1);
  return tokens;
}

void let_experts_choose(RoutedTokens& tokens, const torch::Tensor& lengths, int64_t experts,
                        double capacity_factor) {
  const auto share = lengths.to(torch::kDouble) * capacity_factor / static_cast<double>(experts);
  const auto capacity =
      torch::minimum((share - kRounding).ceil().clamp_min(0).to(torch::kInt64), lengths);  // [B]
  tokens.sequences =
      torch::repeat_interleave(number_from_zero(lengths.size(0), lengths), lengths);  // [N]
  const auto rank = rank_in_group(tokens.sequences, lengths);
  tokens.taken = (rank < capacity.index_select(0, tokens.sequences)).nonzero().squeeze(1);
}

int64_t expert_capacity(int64_t tokens, int64_t experts, double capacity_factor) {
  const double share = static_cast<double>(tokens) * capacity_factor / static_cast<double>(experts);
  return std::max<int64_t>(0, static_cast<int64_t>(std::ceil(share - kRounding)));
}

Assignment assign_switch(const torch::Tensor& probabilities, int64_t capacity,
                         bool batch_prioritised) {
  const int64_t experts = probabilities.size(1);
  const auto [gates, chosen] = probabilities.max(1);  // [N]
  // The tokens expert by expert, each expert's in the order in which it serves them.
  torch::Tensor order;
  if (batch_prioritised) {
    const auto by_priority = descending(gates.detach(), 0);
    order = by_priority.index_select(0, ascending(chosen.index_select(0, by_priority), 0));
  } else {
    order = ascending(chosen, 0);
  }
  const auto expert = chosen.index_select(0, order);
  const auto rank = rank_in_group(expert, count_by_expert(chosen, experts));
  // Whoever comes too late gets a place behind all others, which is cut off.
  const int64_t places = experts * capacity;
  const auto place = torch::where(rank < capacity, expert * capacity + rank, places);
  const auto fill = [&](const torch::Tensor& values) {
    return torch::zeros({places + 1}, values.options())
        .scatter(0, place, values)
        .narrow(0, 0, places)
        .view({experts, capacity});
  };
  return {fill(order), fill(gates.index_select(0, order))};
}

Assignment assign_expert_choice(const torch::Tensor& probabilities, const RoutedTokens& tokens) {
  TORCH_CHECK(tokens.sequences.defined() && tokens.sequences.size(0) == probabilities.size(0),
              "Expert Choice needs the sequence of each of ", probabilities.size(0), " tokens");
  const auto scores = probabilities.t();                 // [E, N]
  const auto by_score = descending(scores.detach(), 1);  // tokens, best first
  const auto sequence = tokens.sequences.index_select(0, by_score.flatten()).view_as(by_score);
  const auto order = by_score.gather(1, ascending(sequence, 1));  // the same, sequence by sequence
  const auto chosen = order.index_select(1, tokens.taken);        // [E, C]
  return {chosen, scores.gather(1, chosen)};
}

torch::Tensor preferred_counts(const torch::Tensor& probabilities) {
  return count_by_expert(std::get<1>(probabilities.max(1)), probabilities.size(1));
}

torch::Tensor load_balance_loss(const torch::Tensor& probabilities) {
  const auto tokens = static_cast<double>(probabilities.size(0));
  const auto shares = preferred_counts(probabilities).to(probabilities.scalar_type()) / tokens;
  return (shares * probabilities.mean(0)).sum() * static_cast<double>(probabilities.size(1));
}

torch::Tensor router_z_loss(const torch::Tensor& logits) {
  return logits.logsumexp(1).square().mean();
}

}  // namespace altup
