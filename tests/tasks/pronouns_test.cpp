#include "altup/tasks/pronouns.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <vector>

namespace altup {
namespace {

using ::testing::Eq;
using ::testing::Optional;

TEST(MarkPronoun, PutsStarsAroundTheWordAtItsPlace) {
  EXPECT_THAT(mark_pronoun("Bob asked Tom if he can go .", "he", 4),
              Optional(Eq("Bob asked Tom if *he* can go .")));
  EXPECT_THAT(mark_pronoun("He ate and he slept", "he", 3), Optional(Eq("He ate and *he* slept")));
  EXPECT_THAT(mark_pronoun("It broke", "It", 0), Optional(Eq("*It* broke")));
  EXPECT_THAT(mark_pronoun("I saw it", "it", 2), Optional(Eq("I saw *it*")));
}

TEST(MarkPronoun, TakesTheNearestWhereThePlaceIsOff) {
  // two such lines are in WSC
  EXPECT_THAT(mark_pronoun("they want to use it , but it broke", "it", 3),
              Optional(Eq("they want to use *it* , but it broke")));
  EXPECT_THAT(mark_pronoun("He laughed. \"Good for him,\" he said.", "him", 4),
              Optional(Eq("He laughed. \"Good for *him* ,\" he said.")));
}

TEST(MarkPronoun, TakesNoOtherWordThatBeginsSo) {
  EXPECT_EQ(mark_pronoun("The item is its own", "it", 1), std::nullopt);
  EXPECT_EQ(mark_pronoun("that's it's", "it", 1), std::nullopt);
  EXPECT_EQ(mark_pronoun("", "it", 0), std::nullopt);
  EXPECT_EQ(mark_pronoun("I saw it", "", 0), std::nullopt);
}

TEST(MarkPronoun, BearsAnyPlace) {
  EXPECT_THAT(mark_pronoun("I saw it", "it", 99), Optional(Eq("I saw *it*")));
  EXPECT_THAT(mark_pronoun("I saw it", "it", INT64_MAX), Optional(Eq("I saw *it*")));
  EXPECT_THAT(mark_pronoun("I saw it", "it", -5), Optional(Eq("I saw *it*")));
}

TEST(CandidateInText, MendsCaseFullStopsAndLineBreaks) {
  EXPECT_EQ(candidate_in_text("The worm", "The fish ate the worm .", 3), "the worm");
  EXPECT_EQ(candidate_in_text("the lawyer", "The lawyer asked", 0), "The lawyer");
  EXPECT_EQ(candidate_in_text("Bob.", "I saw Bob there", 2), "Bob");
  EXPECT_EQ(candidate_in_text("old\nhat", "the old hat", 1), "old hat");
}

TEST(CandidateInText, LeavesTheRest) {
  EXPECT_EQ(candidate_in_text("Bob", "I saw Bob there", 0), "Bob");
  EXPECT_EQ(candidate_in_text("Kamenev and Zinoviev", "Kamenev, whom Zinoviev saw", 0),
            "Kamenev and Zinoviev");
  EXPECT_EQ(candidate_in_text("Bob", "I saw Tom there", 99), "Bob");
}

struct Pair {
  std::string premise, hypothesis, marked, candidate;
};

TEST(MarkWnli, FindsThePronounAndWhatTakesItsPlace) {
  const std::vector<Pair> pairs = {
      // T5's own example
      {"The fish ate the worm. It was tasty.", "The worm was tasty.",
       "The fish ate the worm. *It* was tasty.", "The worm"},
      // two pronouns: the one whose neighbours the hypothesis has
      {"He put it away because it was cold.", "It was put away because the soup was cold.",
       "He put it away because *it* was cold.", "the soup"},
      // at the end, with its punctuation parted from it
      {"I poured water on the cup and broke it.", "I broke the cup.",
       "I poured water on the cup and broke *it* .", "the cup"},
      // a possessive pronoun; the answer is none
      {"Ann thanked Mary for her help.", "Ann thanked Mary for Mary's help.",
       "Ann thanked Mary for *her* help.", "Mary"},
      {"The foxes lost their tails.", "The foxes lost the foxes' tails.",
       "The foxes lost *their* tails.", "the foxes"},
      // neighbours on the one side alone, both ways
      {"When Tom fell, they laughed.", "The boys laughed.", "When Tom fell, *they* laughed.",
       "The boys"},
  };
  for (const auto& pair : pairs) {
    const MarkedPremise found = mark_wnli(pair.premise, pair.hypothesis);
    EXPECT_EQ(found.text, pair.marked);
    EXPECT_EQ(found.candidate, pair.candidate) << pair.premise;
  }
}

TEST(MarkWnli, LeavesAPremiseWithoutAPronoun) {
  const MarkedPremise found = mark_wnli("The cat sat.", "The dog sat.");
  EXPECT_EQ(found.text, "The cat sat.");
  EXPECT_EQ(found.candidate, "");
}

TEST(MarkWnli, FindsNoCandidateWhereNothingMatches) {
  const MarkedPremise found = mark_wnli("Then it rained.", "Ann slept well");
  EXPECT_EQ(found.text, "Then *it* rained.");
  EXPECT_EQ(found.candidate, "");
}

TEST(MarkWnli, CountsWordsAsTheyStandBehindTwoSpaces) {
  EXPECT_EQ(mark_wnli("The fish ate  the worm . It was tasty.", "The worm was tasty.").text,
            "The fish ate  the worm . *It* was tasty.");
}

TEST(NamesCandidate, GoesByTheWordsThatCount) {
  EXPECT_THAT(names_candidate("the worm", "The worm"), Optional(true));
  EXPECT_THAT(names_candidate("A worm", "the worm"), Optional(true));
  EXPECT_THAT(names_candidate("fuzzy bunny", "bunny"), Optional(true));
  EXPECT_THAT(names_candidate("bunny", "the fuzzy bunny"), Optional(true));
  EXPECT_THAT(names_candidate("bunny fuzzy", "fuzzy bunny"), Optional(true));
  EXPECT_THAT(names_candidate("fuzzy fish", "fuzzy bunny"), Optional(false));
  EXPECT_THAT(names_candidate("fish", "the worm"), Optional(false));
}

TEST(NamesCandidate, WantsAnApostropheOnBothSidesOrNone) {
  EXPECT_THAT(names_candidate("the hat", "Bob's hat"), Optional(false));
  EXPECT_THAT(names_candidate("Bob's old hat", "old hat"), Optional(false));
  EXPECT_THAT(names_candidate("Bob", "Bob's hat"), Optional(false));
  EXPECT_THAT(names_candidate("Bob's", "Bob's hat"), Optional(true));
}

TEST(NamesCandidate, SaysNothingOfAnAnswerWithoutWords) {
  EXPECT_EQ(names_candidate("", "the worm"), std::nullopt);
  EXPECT_EQ(names_candidate(" the ", "the worm"), std::nullopt);
  EXPECT_THAT(names_candidate("worm", ""), Optional(false));
  EXPECT_THAT(names_candidate("worm", "that"), Optional(false));
}

}  // namespace
}  // namespace altup
