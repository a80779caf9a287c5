// Every expected number is worked out by hand.
#include "altup/models/generation_scores.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/support/one_thread.h"

namespace altup {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::vector<float> values_of(const torch::Tensor& row) {
  const auto contiguous = row.contiguous();
  return {contiguous.data_ptr<float>(), contiguous.data_ptr<float>() + contiguous.numel()};
}

TEST(Scores, RepeatedIdsArePenalisedOnceWhateverTheSign) {
  auto scores = torch::tensor({{4.0F, -2.0F, 1.0F, 3.0F}, {4.0F, -2.0F, 1.0F, 3.0F}});
  penalise_repetitions(scores, torch::tensor({{0, 1, 1}, {0, 3, 0}}), 2.0);
  EXPECT_THAT(values_of(scores[0]), ::testing::ElementsAre(2.0F, -4.0F, 1.0F, 3.0F));
  EXPECT_THAT(values_of(scores[1]), ::testing::ElementsAre(2.0F, -2.0F, 1.0F, 1.5F));
}

TEST(Scores, NoIdMayEndAnNgramAgain) {
  const auto ids = torch::tensor({{0, 2, 3, 2, 4, 2}, {0, 2, 3, 2, 3, 3}});
  const auto after = [&](int64_t size) {
    auto scores = torch::zeros({2, 5});
    forbid_repeated_ngrams(scores, ids, size);
    return scores;
  };
  // 2 was followed by 3 and by 4; 3 by 2 and by 3.
  EXPECT_THAT(values_of(after(2)[0]), ::testing::ElementsAre(0, 0, 0, kNever, kNever));
  EXPECT_THAT(values_of(after(2)[1]), ::testing::ElementsAre(0, 0, kNever, kNever, 0));
  // "4 2" stands for the first time; "3 3" as well.
  EXPECT_TRUE(torch::equal(after(3), torch::zeros({2, 5})));
  // Single ids: whatever was there, the leading pad too.
  EXPECT_THAT(values_of(after(1)[1]), ::testing::ElementsAre(kNever, 0, kNever, kNever, 0));
  EXPECT_TRUE(torch::equal(after(7), torch::zeros({2, 5})));
}

TEST(Scores, TopKKeepsTheHighestAndTiesWithTheLast) {
  auto scores = torch::tensor({{1.0F, 5.0F, 3.0F, 3.0F, 2.0F}});
  keep_likeliest(scores, 2, 1.0);
  EXPECT_THAT(values_of(scores), ::testing::ElementsAre(kNever, 5.0F, 3.0F, 3.0F, kNever));
  keep_likeliest(scores, 9, 1.0);  // more than there are
  EXPECT_EQ(scores[0][1].item<float>(), 5.0F);
}

// Probabilities 0.1, 0.4, 0.2, 0.3.
torch::Tensor four() {
  return torch::log(torch::tensor({{0.1F, 0.4F, 0.2F, 0.3F}}));
}

std::vector<int> kept(const torch::Tensor& scores) {
  std::vector<int> ids;
  for (int i = 0; i < scores.size(1); ++i) {
    if (std::isfinite(scores[0][i].item<float>())) ids.push_back(i);
  }
  return ids;
}

TEST(Scores, TopPKeepsTheFewestThatReachIt) {
  const auto kept_at = [](int64_t k, double p) {
    auto scores = four();
    keep_likeliest(scores, k, p);
    return kept(scores);
  };
  EXPECT_THAT(kept_at(0, 1e-9), ::testing::ElementsAre(1));
  EXPECT_THAT(kept_at(0, 0.39), ::testing::ElementsAre(1));
  EXPECT_THAT(kept_at(0, 0.41), ::testing::ElementsAre(1, 3));
  EXPECT_THAT(kept_at(0, 0.71), ::testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(kept_at(0, 0.91), ::testing::ElementsAre(0, 1, 2, 3));
  // Of the two likeliest, 4/7 and 3/7: p counts what top_k has left.
  EXPECT_THAT(kept_at(2, 0.56), ::testing::ElementsAre(1));
  EXPECT_THAT(kept_at(2, 0.58), ::testing::ElementsAre(1, 3));
}

TEST(Scores, ADrawIsTheIdWhereTheCumulativeProbabilityPassesIt) {
  const auto scores = four().expand({7, 4}).contiguous();
  const auto uniform = torch::tensor({0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71}, torch::kDouble);
  EXPECT_TRUE(torch::equal(sample_ids(scores, uniform), torch::tensor({0, 0, 1, 1, 2, 2, 3})));
}

TEST(Scores, ADrawIsNeverAnIdThatIsRuledOut) {
  auto scores = torch::tensor({{kNever, 0.0F, kNever, 0.0F, kNever}}).expand({3, 5}).contiguous();
  const auto uniform = torch::tensor({0.0, 0.5, 1.0 - 0x1.0p-53}, torch::kDouble);
  EXPECT_TRUE(torch::equal(sample_ids(scores, uniform), torch::tensor({1, 3, 3})));
}

TEST(Scores, ADrawFromWhatIsNoDistributionFails) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto uniform = torch::tensor({0.5, 0.5}, torch::kDouble);
  for (const auto& row : {std::vector{kNan, 0.0F, kNever}, std::vector{-kNever, 0.0F, kNever},
                          std::vector{kNever, kNever, kNever}}) {
    const auto scores = torch::stack({torch::zeros({3}), torch::tensor(row)});
    EXPECT_THROW(sample_ids(scores, uniform), c10::Error);
  }
}

}  // namespace
}  // namespace altup
