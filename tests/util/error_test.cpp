#include "altup/util/error.h"

#include <gtest/gtest.h>

#include <string>

#include "altup/util/logging.h"

namespace altup {
namespace {

TEST(UserError, SaysWhere) {
  EXPECT_STREQ(UserError("what").what(), "what");
  EXPECT_STREQ(UserError("a.toml", "what").what(), "a.toml: what");
  EXPECT_STREQ(UserError("a.toml", 7, "what").what(), "a.toml:7: what");
  EXPECT_STREQ(UserError("a.toml", 0, "what").what(), "a.toml: what");
}

TEST(LogLevel, HasFiveNamesAndRefusesOthers) {
  EXPECT_EQ(parse_log_level("debug"), LogLevel::kDebug);
  EXPECT_EQ(parse_log_level("info"), LogLevel::kInfo);
  EXPECT_EQ(parse_log_level("warning"), LogLevel::kWarning);
  EXPECT_EQ(parse_log_level("error"), LogLevel::kError);
  EXPECT_EQ(parse_log_level("off"), LogLevel::kOff);
  EXPECT_THROW(parse_log_level("loud"), UserError);
}

}  // namespace
}  // namespace altup
