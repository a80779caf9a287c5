#include "altup/util/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace altup {
namespace {

using ::testing::ElementsAre;

TEST(Text, StrStreamsEverything) {
  EXPECT_EQ(str("step ", 3, ' ', 0.5), "step 3 0.5");
}

TEST(Text, FixedHasExactlyThoseDigits) {
  EXPECT_EQ(fixed(3.14159, 2), "3.14");
  EXPECT_EQ(fixed(2, 3), "2.000");
  EXPECT_EQ(fixed(-0.96, 1), "-1.0");
}

TEST(Text, ThousandsAreSeparated) {
  EXPECT_EQ(thousands(0), "0");
  EXPECT_EQ(thousands(999), "999");
  EXPECT_EQ(thousands(32128), "32,128");
  EXPECT_EQ(thousands(1234567), "1,234,567");
  EXPECT_EQ(thousands(-100), "-100");
  EXPECT_EQ(thousands(-1000), "-1,000");
}

TEST(Text, DurationsReadLikeAClock) {
  EXPECT_EQ(duration(0), "0:00");
  EXPECT_EQ(duration(62), "1:02");
  EXPECT_EQ(duration(3599.6), "1:00:00");
  EXPECT_EQ(duration(3723), "1:02:03");
  EXPECT_EQ(duration(360000), "100:00:00");
  EXPECT_EQ(duration(-1), "0:00");
}

TEST(Text, SplitKeepsEmptyPartsAndJoinPutsThemBack) {
  EXPECT_THAT(split("a\t\tb\t", '\t'), ElementsAre("a", "", "b", ""));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_EQ(join(split("a,,b,", ','), ","), "a,,b,");
  EXPECT_EQ(join({}, ","), "");
}

TEST(Text, TrimTakesSpaceFromTheEndsOnly) {
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\u00e9"), "\u00e9");
}

TEST(Text, LineOfCountsFromOne) {
  EXPECT_EQ(line_of("a\nb\n", 0), 1);
  EXPECT_EQ(line_of("a\nb\n", 1), 1);  // the line end itself
  EXPECT_EQ(line_of("a\nb\n", 2), 2);
  EXPECT_EQ(line_of("a\nb", 99), 2);
}

TEST(Text, NearestFindsATypoAndRefusesAStranger) {
  EXPECT_EQ(nearest("batchsize", {"steps", "batch_size", "seed"}), "batch_size");
  EXPECT_EQ(nearest("stesp", {"steps", "batch_size", "seed"}), "steps");
  EXPECT_EQ(nearest("zzzzzz", {"steps", "batch_size", "seed"}), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Text, FindsTheFirstInvalidUtf8) {
  constexpr size_t kNone = std::string::npos;
  EXPECT_EQ(find_invalid_utf8("plain"), kNone);
  EXPECT_EQ(find_invalid_utf8("\u00e9 \u4e2d \U0001F600"), kNone);
  EXPECT_EQ(find_invalid_utf8("\xF4\x8F\xBF\xBF"), kNone);  // U+10FFFF, the last one
  EXPECT_EQ(find_invalid_utf8("ab\xFF"), 2);
  EXPECT_EQ(find_invalid_utf8("ab\x80"), 2);            // a continuation alone
  EXPECT_EQ(find_invalid_utf8("ab\xC3"), 2);            // cut off
  EXPECT_EQ(find_invalid_utf8("\xE4\xB8z"), 0);         // not continued
  EXPECT_EQ(find_invalid_utf8("\xC0\xAF"), 0);          // overlong
  EXPECT_EQ(find_invalid_utf8("\xE0\x80\xAF"), 0);      // overlong
  EXPECT_EQ(find_invalid_utf8("\xF0\x80\x80\xAF"), 0);  // overlong
  EXPECT_EQ(find_invalid_utf8("\xED\xA0\x80"), 0);      // a surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0);  // past U+10FFFF
}

}  // namespace
}  // namespace altup
