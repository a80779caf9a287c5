// Who goes where, worked out by hand; and each rule again, token by token, on random probabilities.
#include "altup/modules/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace altup {
namespace {

using Lists = std::vector<std::vector<int64_t>>;

// Tokens of each expert, places that nobody has left out.
Lists lists_of(const Assignment& assignment) {
  Lists lists;
  for (int64_t e = 0; e < assignment.tokens.size(0); ++e) {
    lists.emplace_back();
    for (int64_t c = 0; c < assignment.tokens.size(1); ++c) {
      if (assignment.gates[e][c].item<double>() == 0) continue;
      lists.back().push_back(assignment.tokens[e][c].item<int64_t>());
    }
  }
  return lists;
}

// Six tokens: 0, 2, 3 and 5 want expert 0, token 1 wants expert 2, token 4 is torn and goes to the
// lower one of two equals; nobody wants expert 1 but token 4.
torch::Tensor six_tokens() {
  return torch::tensor({{0.6, 0.1, 0.3},
                        {0.2, 0.3, 0.5},
                        {0.9, 0.1, 0.0},
                        {0.6, 0.2, 0.2},
                        {0.2, 0.4, 0.4},
                        {0.7, 0.1, 0.2}});
}

TEST(Switch, SendsEachTokenToItsLikeliestExpert) {
  const auto assignment = assign_switch(six_tokens(), 4, false);
  EXPECT_EQ(lists_of(assignment), (Lists{{0, 2, 3, 5}, {4}, {1}}));
  const auto expected =
      torch::tensor({{0.6, 0.9, 0.6, 0.7}, {0.4, 0.0, 0.0, 0.0}, {0.5, 0.0, 0.0, 0.0}});
  EXPECT_TRUE(torch::equal(assignment.gates, expected));
}

TEST(Switch, AFullExpertTakesTheFirstOrThePreferred) {
  EXPECT_EQ(lists_of(assign_switch(six_tokens(), 2, false)), (Lists{{0, 2}, {4}, {1}}));
  EXPECT_EQ(lists_of(assign_switch(six_tokens(), 2, true)), (Lists{{2, 5}, {4}, {1}}));
  // Tokens 0 and 3 are equal: the earlier one is taken.
  EXPECT_EQ(lists_of(assign_switch(six_tokens(), 3, true)), (Lists{{2, 5, 0}, {4}, {1}}));
}

TEST(Switch, OverflowDropsExactlyTheTokensAboveTheCapacity) {
  const auto all_want_one = torch::tensor({{0.1, 0.9}}).repeat({10, 1});
  for (const bool prioritised : {false, true}) {
    for (const int64_t capacity : {0, 1, 7, 10, 12}) {
      const auto lists = lists_of(assign_switch(all_want_one, capacity, prioritised));
      EXPECT_TRUE(lists[0].empty());
      std::vector<int64_t> expected(static_cast<size_t>(std::min<int64_t>(capacity, 10)));
      std::iota(expected.begin(), expected.end(), 0);
      EXPECT_EQ(lists[1], expected) << capacity;
    }
  }
}

TEST(Switch, EqualProbabilitiesGoToTheFirstExpert) {
  const auto lists = lists_of(assign_switch(torch::full({5, 4}, 0.25), 5, true));
  EXPECT_EQ(lists, (Lists{{0, 1, 2, 3, 4}, {}, {}, {}}));
}

Lists switch_by_loops(const torch::Tensor& probabilities, int64_t capacity, bool prioritised) {
  const auto p = probabilities.accessor<float, 2>();
  std::vector<int64_t> expert(static_cast<size_t>(p.size(0)), 0);
  std::vector<int64_t> order(expert.size());
  for (int64_t t = 0; t < p.size(0); ++t) {
    for (int64_t e = 1; e < p.size(1); ++e) {
      if (p[t][e] > p[t][expert[static_cast<size_t>(t)]]) expert[static_cast<size_t>(t)] = e;
    }
    order[static_cast<size_t>(t)] = t;
  }
  const auto gate = [&](int64_t t) { return p[t][expert[static_cast<size_t>(t)]]; };
  if (prioritised) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return gate(a) > gate(b); });
  }
  Lists lists(static_cast<size_t>(p.size(1)));
  for (const int64_t t : order) {
    auto& list = lists[static_cast<size_t>(expert[static_cast<size_t>(t)])];
    if (static_cast<int64_t>(list.size()) < capacity) list.push_back(t);
  }
  return lists;
}

// Rounded to few values, so that many are equal.
torch::Tensor random_probabilities(int64_t tokens, int64_t experts) {
  return ((torch::randn({tokens, experts}) * 2).round() / 2).softmax(1);
}

TEST(Switch, IsTheLoopOverTokens) {
  torch::manual_seed(1);
  for (const int64_t experts : {1, 2, 5, 16}) {
    for (const int64_t capacity : {1, 3, 50}) {
      for (const bool prioritised : {false, true}) {
        const auto probabilities = random_probabilities(37, experts);
        EXPECT_EQ(lists_of(assign_switch(probabilities, capacity, prioritised)),
                  switch_by_loops(probabilities, capacity, prioritised))
            << experts << " experts, capacity " << capacity;
      }
    }
  }
}

RoutedTokens tokens_of(const std::vector<int64_t>& lengths, int64_t experts, double factor) {
  RoutedTokens tokens;
  let_experts_choose(tokens, torch::tensor(lengths, torch::kInt64), experts, factor);
  return tokens;
}

TEST(ExpertChoice, EachExpertTakesItsBestTokensOfEachSequence) {
  // Two sequences of four and two tokens; three experts take ⌈1.5 · 4 / 3⌉ = 2 and ⌈1.5 · 2 / 3⌉ = 1.
  const auto assignment = assign_expert_choice(six_tokens(), tokens_of({4, 2}, 3, 1.5));
  EXPECT_EQ(lists_of(assignment), (Lists{{2, 0, 5}, {1, 3, 4}, {1, 0, 4}}));
  const auto expected = torch::tensor({{0.9, 0.6, 0.7}, {0.3, 0.2, 0.4}, {0.5, 0.3, 0.4}});
  EXPECT_TRUE(torch::equal(assignment.gates, expected));
}

TEST(ExpertChoice, DoesNotDependOnTheOtherSequences) {
  torch::manual_seed(2);
  const auto first = random_probabilities(9, 4);
  const auto second = random_probabilities(5, 4);
  const auto alone = assign_expert_choice(second, tokens_of({5}, 4, 1.25));
  const auto together =
      assign_expert_choice(torch::cat({first, second}), tokens_of({9, 5}, 4, 1.25));
  const int64_t taken = alone.tokens.size(1);
  EXPECT_EQ(taken, 2);  // ⌈1.25 · 5 / 4⌉
  EXPECT_TRUE(torch::equal(together.tokens.slice(1, -taken) - 9, alone.tokens));
  EXPECT_TRUE(torch::equal(together.gates.slice(1, -taken), alone.gates));
}

TEST(ExpertChoice, IsTheLoopOverSequencesAndExperts) {
  torch::manual_seed(3);
  const std::vector<int64_t> lengths = {7, 1, 0, 12, 3};
  for (const double factor : {0.0, 0.5, 1.25, 3.0, 100.0}) {
    const auto probabilities = random_probabilities(23, 4);
    const auto p = probabilities.accessor<float, 2>();
    Lists expected(4);
    for (int64_t e = 0; e < 4; ++e) {
      int64_t first = 0;
      for (const int64_t length : lengths) {
        std::vector<int64_t> order(static_cast<size_t>(length));
        std::iota(order.begin(), order.end(), first);
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t a, int64_t b) { return p[a][e] > p[b][e]; });
        order.resize(static_cast<size_t>(std::min<double>(
            static_cast<double>(length), std::ceil(factor * static_cast<double>(length) / 4))));
        auto& list = expected[static_cast<size_t>(e)];
        list.insert(list.end(), order.begin(), order.end());
        first += length;
      }
    }
    EXPECT_EQ(lists_of(assign_expert_choice(probabilities, tokens_of(lengths, 4, factor))),
              expected)
        << factor;
  }
}

TEST(Capacity, IsTheShareRoundedUp) {
  EXPECT_EQ(expert_capacity(64, 8, 1.0), 8);
  EXPECT_EQ(expert_capacity(64, 8, 1.25), 10);
  EXPECT_EQ(expert_capacity(65, 8, 1.0), 9);
  EXPECT_EQ(expert_capacity(100, 10, 1.1), 11);  // 1.1 · 100 is a little above 110 in binary
  EXPECT_EQ(expert_capacity(64, 8, 0.0), 0);
  EXPECT_EQ(expert_capacity(0, 8, 1.0), 0);
}

TEST(RoutedTokens, LeaveOutPadding) {
  const auto mask = torch::tensor({{true, true, false}, {true, false, false}});
  EXPECT_TRUE(torch::equal(routed_tokens(mask).places, torch::tensor({0, 1, 3}, torch::kInt64)));
  EXPECT_FALSE(routed_tokens({}).places.defined());
}

TEST(LoadBalanceLoss, IsOneWhereTheLoadIsEvenAndThenHasNoGradient) {
  // Every expert is the likeliest one of two tokens, how sure the router ever is.
  torch::manual_seed(4);
  auto logits = torch::rand({8, 4}, torch::kDouble);
  for (int64_t t = 0; t < 8; ++t) logits[t][t % 4] += 1.5;
  logits.requires_grad_(true);
  const auto loss = load_balance_loss(logits.softmax(1));
  EXPECT_NEAR(loss.item<double>(), 1.0, 1e-12);
  loss.backward();
  EXPECT_LT(logits.grad().abs().max().item<double>(), 1e-12);
}

TEST(LoadBalanceLoss, IsTheNumberOfExpertsWhereOneHasAll) {
  auto logits = torch::zeros({8, 4}, torch::kDouble);
  logits.select(1, 2).fill_(100);
  EXPECT_NEAR(load_balance_loss(logits.softmax(1)).item<double>(), 4.0, 1e-12);
}

// Of tokens that are sure of their expert, over all ways to share nine of them among three. (Of
// undecided ones it may be less than 1: f counts whole tokens, and P does not.)
TEST(LoadBalanceLoss, IsLeastWhereTheLoadIsEven) {
  double even = 0;
  double least_of_uneven = 9;
  for (int64_t first = 0; first <= 9; ++first) {
    for (int64_t second = 0; first + second <= 9; ++second) {
      auto logits = torch::zeros({9, 3}, torch::kDouble);
      for (int64_t t = 0; t < 9; ++t) logits[t][t < first ? 0 : t < first + second ? 1 : 2] = 100;
      const auto loss = load_balance_loss(logits.softmax(1)).item<double>();
      if (first == 3 && second == 3) {
        even = loss;
      } else {
        least_of_uneven = std::min(least_of_uneven, loss);
      }
    }
  }
  EXPECT_NEAR(even, 1.0, 1e-12);
  EXPECT_NEAR(least_of_uneven, 3.0 * (4 * 4 + 3 * 3 + 2 * 2) / 81, 1e-12);
}

TEST(LoadBalanceLoss, IsTheFormula) {
  // f = (4, 1, 1) / 6 and P = (3.2, 1.2, 1.6) / 6: 3 (4 · 3.2 + 1.2 + 1.6) / 36.
  EXPECT_NEAR(load_balance_loss(six_tokens()).item<double>(), 3 * 15.6 / 36, 1e-6);
}

TEST(LoadBalanceLoss, FallsTowardsTheEvenLoad) {
  // A step against the gradient takes probability from the busy expert.
  torch::manual_seed(5);
  auto logits = torch::randn({64, 4}, torch::kDouble);
  logits.select(1, 0).add_(2.0);
  logits.requires_grad_(true);
  load_balance_loss(logits.softmax(1)).backward();
  const auto moved = (logits - 10 * logits.grad()).detach();
  EXPECT_LT(moved.softmax(1).mean(0)[0].item<double>(),
            logits.softmax(1).mean(0)[0].item<double>());
}

TEST(RouterZLoss, IsOfTheLogitsNotOfTheProbabilities) {
  const auto logits = torch::tensor({{0.0, 0.0}, {3.0, 3.0}}, torch::kDouble);
  const double expected = (std::pow(std::log(2.0), 2) + std::pow(3 + std::log(2.0), 2)) / 2;
  EXPECT_NEAR(router_z_loss(logits).item<double>(), expected, 1e-12);
}

}  // namespace
}  // namespace altup
