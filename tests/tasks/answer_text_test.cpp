#include "altup/tasks/answer_text.h"

#include <gtest/gtest.h>

namespace altup {
namespace {

TEST(NormalizeAnswer, LowersAndRemovesPunctuationArticlesAndSpaces) {
  EXPECT_EQ(normalize_answer("  The  U.S. Army,\tand an  apple_pie "), "us army and applepie");
  EXPECT_EQ(normalize_answer("Anthem of the Theatre"), "anthem of theatre");
  EXPECT_EQ(normalize_answer("a-the"), "athe");  // punctuation goes first, and the rest is one word
  EXPECT_EQ(normalize_answer("The"), "");
}

TEST(NormalizeAnswer, FollowsUnicodeAsPythonDoes) {
  EXPECT_EQ(normalize_answer("ÉCOLE Ωmega ДОМ"), "école ωmega дом");
  EXPECT_EQ(normalize_answer("aé the\u00A0end"),
            "aé end");  // é belongs to the word; U+00A0 is space
  EXPECT_EQ(normalize_answer("1990–a–2000"), "1990– –2000");  // the dash ends a word and stays
  EXPECT_EQ(normalize_answer("½an the中"), "½an the中");
  EXPECT_EQ(normalize_answer("a₂ the⁴ ①an ⓐthe"), "a₂ the⁴ ①an ⓐ");  // ① is a numeral, ⓐ a symbol
}

TEST(NormalizeAnswer, LowersTheFinalSigmaAndTheDottedIAsPythonDoes) {
  EXPECT_EQ(normalize_answer("ΟΔΟΣ ΣΟΦΟΣ"), "οδος σοφος");
  EXPECT_EQ(normalize_answer("Σ"), "σ");
  EXPECT_EQ(normalize_answer("ΑΣ' ΑΣ-Α ΑΣ'Α"), "ας αςα ασα");  // a dash ends the word, ' does not
  EXPECT_EQ(normalize_answer("İzmir"), "i\u0307zmir");
}

TEST(NormalizeTriviaqaAnswer, MakesSpacesOfMarks) {
  EXPECT_EQ(normalize_triviaqa_answer("The U.S. Army"), "u s army");
  EXPECT_EQ(normalize_triviaqa_answer("Sunset Blvd."), "sunset blvd");
  EXPECT_EQ(normalize_triviaqa_answer("  an_apple-pie!\t"), "apple pie");
  EXPECT_EQ(normalize_triviaqa_answer("a-ha"), "ha");  // the article stands alone then
  EXPECT_EQ(normalize_triviaqa_answer("Rock ‘n’ Roll´s `a`"), "rock n roll s");
  EXPECT_EQ(normalize_triviaqa_answer("“Ça” – École"), "“ça” – école");  // other marks stay
  EXPECT_EQ(normalize_triviaqa_answer("The a?"), "");
}

TEST(NormalizeAnswer, SurvivesBytesThatAreNoText) {
  EXPECT_EQ(normalize_answer("x\xE2\x82 the"), normalize_answer("x\xE2\x82"));
  EXPECT_EQ(normalize_answer("\xFF the END").substr(2), " end");
}

TEST(PadPunctuation, SpacesEachMarkAndCollapsesSpaces) {
  EXPECT_EQ(pad_punctuation("the U.S. (1990)"), "the U . S . ( 1990 ) ");
  EXPECT_EQ(pad_punctuation("$1,000\n\n a_b"), " $ 1 , 000 a _ b");
  EXPECT_EQ(pad_punctuation("François – 5"), "François – 5");  // beyond ASCII nothing is a mark
  EXPECT_EQ(pad_punctuation(""), "");
}

TEST(CollapseSpaces, KeepsOneSpaceAtTheEnds) {
  EXPECT_EQ(collapse_spaces("  a \t\n b  "), " a b ");
}

TEST(UnpadAnswer, FindsThePassagesOwnSpelling) {
  const std::string context =
      "In 1990 the U.S. Army paid $1,000 (about £500) for McDonald's \"Big Mac\".";
  EXPECT_EQ(unpad_answer("U . S .", context), "U.S.");
  EXPECT_EQ(unpad_answer("$ 1 , 000", context), "$1,000");
  EXPECT_EQ(unpad_answer("McDonald ' s \" Big", context), "McDonald's \"Big");
  EXPECT_EQ(unpad_answer("Army paid ", context), "Army paid");
  EXPECT_EQ(unpad_answer("In", context), "In");
}

TEST(UnpadAnswer, KeepsWhatIsNotInThePassage) {
  EXPECT_EQ(unpad_answer(" U . K . ", "the U.S. Army"), "U . K .");
  EXPECT_EQ(unpad_answer("arm", "the army, arm.y"), "arm");
  EXPECT_EQ(unpad_answer("  ", "the army"), "");
  EXPECT_EQ(unpad_answer("x", ""), "x");
}

TEST(UnpadAnswer, MatchesWholeWordsOnly) {
  // "9 . 5" is inside "19 . 5" and "9 . 57"; only the second place is whole.
  EXPECT_EQ(unpad_answer("9 . 5", "from 19.5 to 9. 5"), "9. 5");
  EXPECT_EQ(unpad_answer("9 . 5", "from 9.57 to 9. 5"), "9. 5");
}

}  // namespace
}  // namespace altup
