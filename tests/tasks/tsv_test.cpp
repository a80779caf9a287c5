#include "altup/tasks/tsv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TsvTest : public ::testing::Test {
 protected:
  testing::TempDir dir_;
  std::vector<std::string_view> fields_;
};

TEST_F(TsvTest, SplitsAtTabsOnlyAndKeepsQuotes) {
  TsvReader reader(dir_.write("a.tsv", "\"open\tit's\t\"a\"\n\tx \t\n"));
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_THAT(fields_, ElementsAre("\"open", "it's", "\"a\""));
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_THAT(fields_, ElementsAre("", "x ", ""));
  EXPECT_FALSE(reader.next(fields_));
}

TEST_F(TsvTest, DropsByteOrderMarkCarriageReturnsAndBlankLines) {
  TsvReader reader(dir_.write("a.tsv", "\xEF\xBB\xBFid\ttext\r\n\r\n\n1\ta\rb\r\n"));
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_THAT(fields_, ElementsAre("id", "text"));
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_THAT(fields_, ElementsAre("1", "a\rb"));
  EXPECT_EQ(reader.line(), 4);
}

TEST_F(TsvTest, TakesALastLineWithoutItsEnd) {
  TsvReader reader(dir_.write("a.tsv", "1\ta\n2\tb"));
  ASSERT_TRUE(reader.next(fields_));
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_THAT(fields_, ElementsAre("2", "b"));
  EXPECT_FALSE(reader.next(fields_));
}

TEST_F(TsvTest, ReportsInvalidUtf8WithItsPlace) {
  const auto path = dir_.write("a.tsv", "fine\na\xFF\n");
  TsvReader reader(path);
  ASSERT_TRUE(reader.next(fields_));
  EXPECT_EQ(testing::user_error([&] { reader.next(fields_); }),
            path.string() + ":2: byte 2 of the line is not valid UTF-8; expected UTF-8 text");
}

TEST_F(TsvTest, ReportsAMissingFile) {
  EXPECT_THAT(testing::user_error([&] { TsvReader reader(dir_ / "none.tsv"); }),
              HasSubstr("none.tsv"));
}

}  // namespace
}  // namespace altup
