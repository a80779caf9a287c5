// Every expected figure is worked out by hand in the comment beside it.
#include "altup/tasks/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

namespace altup {
namespace {

using Texts = std::vector<std::string>;

TEST(Accuracy, IsTheShareOfEqualLabels) {
  EXPECT_DOUBLE_EQ(accuracy({"a", "b", "b", ""}, {"a", "b", "a", "a"}), 50.0);
}

TEST(Accuracy, OfNothingIsNaN) {
  EXPECT_TRUE(std::isnan(accuracy({}, {})));
}

TEST(Accuracy, RefusesUnequalLengths) {
  EXPECT_THROW(accuracy({"a"}, {}), std::invalid_argument);
}

TEST(F1, CountsThePositiveLabel) {
  // TP 2, FN 1, FP 1, TN 1: 2·2 / (2·2 + 1 + 1)
  EXPECT_NEAR(f1({"yes", "yes", "no", "yes", "no"}, {"yes", "yes", "yes", "no", "no"}, "yes"),
              100.0 * 4 / 6, 1e-9);
}

TEST(F1, DependsOnWhichLabelIsPositive) {
  // for "no": TP 1, FP 1, FN 1
  EXPECT_NEAR(f1({"yes", "yes", "no", "yes", "no"}, {"yes", "yes", "yes", "no", "no"}, "no"), 50.0,
              1e-9);
}

TEST(F1, CountsAnInvalidPredictionAgainstTheModelOnBothSides) {
  // TP 1; "" for a positive is FN, "" for a negative is FP: 2 / (2 + 2)
  EXPECT_NEAR(f1({"yes", "", ""}, {"yes", "yes", "no"}, "yes"), 50.0, 1e-9);
}

TEST(F1, IsZeroWithoutAnyPositive) {
  EXPECT_EQ(f1({"no", "no"}, {"no", "no"}, "yes"), 0.0);
  EXPECT_EQ(f1({}, {}, "yes"), 0.0);
}

TEST(F1Macro, IsTheMeanOverTheLabels) {
  // a: TP 2, FP 1, FN 0: 4/5; b: TP 1, FP 0, FN 1: 2/3; c: TP 1: 1
  EXPECT_NEAR(f1_macro({"a", "a", "a", "b", "c"}, {"a", "a", "b", "b", "c"}, {"a", "b", "c"}),
              100.0 * (4.0 / 5 + 2.0 / 3 + 1) / 3, 1e-9);
}

TEST(F1Macro, CountsALabelThatNobodyHas) {
  // a: 1, b: 1, c: 0; as scikit-learn with labels = [a, b, c]
  EXPECT_NEAR(f1_macro({"a", "b"}, {"a", "b"}, {"a", "b", "c"}), 100.0 * 2 / 3, 1e-9);
  EXPECT_EQ(f1_macro({}, {}, {"a", "b"}), 0.0);
}

TEST(F1Macro, TakesAnInvalidPredictionAsAFalseNegativeAlone) {
  // a: TP 1, FN 1: 2/3; b: TP 1: 1. Were "" a false positive, too, one of them would be less.
  EXPECT_NEAR(f1_macro({"a", "", "b"}, {"a", "a", "b"}, {"a", "b"}), 100.0 * (2.0 / 3 + 1) / 2,
              1e-9);
}

TEST(GroupExactMatch, WantsEveryAnswerOfAGroupRight) {
  // x: both right; y: one of two; z: right. The members of a group need not stand together.
  EXPECT_NEAR(group_exact_match({"1", "0", "1", "0", "1"}, {"1", "0", "1", "1", "1"},
                                {"x", "y", "x", "y", "z"}),
              100.0 * 2 / 3, 1e-9);
  EXPECT_EQ(group_exact_match({"", "1"}, {"0", "1"}, {"x", "x"}), 0.0);
  EXPECT_TRUE(std::isnan(group_exact_match({}, {}, {})));
  EXPECT_THROW(group_exact_match({"1"}, {"1"}, {}), std::invalid_argument);
}

TEST(GroupAgreement, CountsPairsThatAreJudgedAlike) {
  // x: alike; y: not; z: alike, though neither says anything that counts
  EXPECT_NEAR(group_agreement({"e", "e", "e", "n", "", ""}, {"x", "x", "y", "y", "z", "z"}),
              100.0 / 3, 1e-9);
  EXPECT_EQ(group_agreement({"", "e"}, {"x", "x"}), 0.0);
  EXPECT_EQ(group_agreement({"e", ""}, {"x", "x"}), 0.0);
  EXPECT_TRUE(std::isnan(group_agreement({}, {})));
}

TEST(Matthews, OfTwoClassesIsPhi) {
  // TP 2, FP 1, FN 1, TN 0: (2·0 − 1·1) / √(3·3·1·1)
  EXPECT_NEAR(matthews_correlation({"1", "0", "1", "1"}, {"1", "1", "1", "0"}), -100.0 / 3, 1e-9);
  EXPECT_NEAR(matthews_correlation({"1", "0"}, {"1", "0"}), 100.0, 1e-9);
  EXPECT_NEAR(matthews_correlation({"0", "1"}, {"1", "0"}), -100.0, 1e-9);
}

TEST(Matthews, TakesAnInvalidPredictionAsAClassOfItsOwn) {
  // s 6, c 4; predicted a 1, b 3, c 1, "" 1; references 2 each:
  // (4·6 − (1·2 + 3·2 + 1·2)) / √((36 − 12)(36 − 12)) = 14 / 24
  EXPECT_NEAR(matthews_correlation({"a", "b", "b", "b", "c", ""}, {"a", "a", "b", "b", "c", "c"}),
              100.0 * 14 / 24, 1e-9);
}

TEST(Matthews, IsZeroWhereOneSideIsConstant) {
  EXPECT_EQ(matthews_correlation({"1", "1", "1"}, {"1", "0", "1"}), 0.0);
  EXPECT_EQ(matthews_correlation({"1", "0", "1"}, {"1", "1", "1"}), 0.0);
  EXPECT_EQ(matthews_correlation({}, {}), 0.0);
}

TEST(Pearson, MatchesTheHandComputation) {
  // Σ(dx·dy) = 5.5, Σdx² = 5, Σdy² = 8.75
  EXPECT_NEAR(pearson({1, 2, 3, 4}, {1, 3, 2, 5}), 100.0 * 5.5 / std::sqrt(5.0 * 8.75), 1e-9);
  EXPECT_NEAR(pearson({1, 2, 3}, {30, 20, 10}), -100.0, 1e-9);
}

TEST(Pearson, OfAConstantSideIsNaN) {
  // 0.1 three times: its mean is not exactly 0.1
  EXPECT_TRUE(std::isnan(pearson({0.1, 0.1, 0.1}, {1, 2, 3})));
  EXPECT_TRUE(std::isnan(pearson({1, 2, 3}, {0.1, 0.1, 0.1})));
  EXPECT_TRUE(std::isnan(pearson({1}, {1})));
  EXPECT_TRUE(std::isnan(pearson({}, {})));
}

TEST(Spearman, SharesRanksAmongTies) {
  // ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / √(4.5 · 5)
  EXPECT_NEAR(spearman({1, 2, 2, 3}, {10, 20, 30, 40}), 100.0 * 4.5 / std::sqrt(22.5), 1e-9);
}

TEST(Spearman, SeesTheOrderOnly) {
  EXPECT_NEAR(spearman({3, 1, 2}, {1000, 0.5, 0.6}), 100.0, 1e-9);
  EXPECT_TRUE(std::isnan(spearman({2, 2}, {1, 2})));
}

TEST(SquadExactMatch, TakesTheBestAnswerAfterNormalising) {
  EXPECT_EQ(squad_exact_match({"The Eiffel-Tower!"}, {{"tower", "eiffeltower"}}), 100.0);
  EXPECT_EQ(squad_exact_match({"Paris", "Rome"}, {{"paris"}, {"Milan", "Turin"}}), 50.0);
}

TEST(SquadF1, CountsSharedWordsAndTakesTheBestAnswer) {
  // "big red dog" and "red dog house" share 2 of 3 and 3 words: 4 / 6; with "dog": 2 / 4
  EXPECT_NEAR(squad_f1({"big red dog"}, {{"dog", "a red dog house"}}), 100.0 * 4 / 6, 1e-9);
}

TEST(SquadF1, CountsRepeatedWordsAsOftenAsBothHaveThem) {
  // "very" is shared once, "big" once: 4 / 5
  EXPECT_NEAR(squad_f1({"very very big"}, {{"very big"}}), 80.0, 1e-9);
}

TEST(SquadF1, RoundsAsTheOfficialOrderOfOperationsDoes) {
  // Precision 3/5, recall 1: the official (2 · 0.6 · 1) / (0.6 + 1) is not quite 0.75 in doubles.
  EXPECT_EQ(squad_f1({"b c d e f"}, {{"b c d"}}), 74.99999999999999);
}

TEST(TriviaqaMetrics, DifferFromSquadsByTheNormaliserAlone) {
  // "u s army" and "u s": F1 2·2 / 5; SQuAD's "us army" and "us": 2·1 / 3
  EXPECT_NEAR(triviaqa_f1({"U.S. Army"}, {{"the U.S."}}), 80.0, 1e-9);
  EXPECT_NEAR(squad_f1({"U.S. Army"}, {{"the U.S."}}), 100.0 * 2 / 3, 1e-9);
  EXPECT_EQ(triviaqa_exact_match({"Rock’n’Roll", "x"}, {{"rock n roll"}, {"y", "X."}}), 100.0);
  EXPECT_EQ(squad_exact_match({"Rock’n’Roll", "x"}, {{"rock n roll"}, {"y", "X."}}), 50.0);
  EXPECT_TRUE(std::isnan(triviaqa_f1({}, {})));
  EXPECT_TRUE(std::isnan(triviaqa_exact_match({}, {})));
}

TEST(SquadF1, IsZeroForAnEmptyPrediction) {
  EXPECT_EQ(squad_f1({"", "the"}, {{"x"}, {"an"}}), 0.0);
  EXPECT_EQ(squad_exact_match({"the"}, {{"an"}}),
            100.0);  // both are empty once normalised, and so equal
}

TEST(Squad, OfNothingIsNaN) {
  EXPECT_TRUE(std::isnan(squad_f1({}, {})));
  EXPECT_TRUE(std::isnan(squad_exact_match({}, {})));
  EXPECT_THROW(squad_f1({"x"}, {}), std::invalid_argument);
}

}  // namespace
}  // namespace altup
