#include "altup/tasks/text_template.h"
#include "tests/support/user_error.h"

#include <gmock/gmock.h>

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::user_error;

std::string filled(const std::string& text) {
  return fill_template(parse_template(text),
                       [](const std::string& column) { return "<" + column + ">"; });
}

TEST(TextTemplate, FillsColumns) {
  EXPECT_EQ(filled("a {text} b {x y}{text}"), "a <text> b <x y><text>");
  EXPECT_EQ(filled("no column"), "no column");
  EXPECT_EQ(filled(""), "");
}

TEST(TextTemplate, DoubledBracesArePlain) {
  EXPECT_EQ(filled("{{text}} {{{text}}} }}{{"), "{text} {<text>} }{");
}

TEST(TextTemplate, ListsEachColumnOnce) {
  EXPECT_THAT(template_columns(parse_template("{b} {a} {b} {{c}}")), ElementsAre("b", "a"));
  EXPECT_THAT(template_columns(parse_template("x")), IsEmpty());
}

TEST(TextTemplate, RefusesBracesThatDoNotPair) {
  const std::string expected = "; expected text with {column}, and {{ and }} for plain braces";
  const auto error = [](const std::string& text) {
    return user_error([&] { parse_template(text); });
  };
  EXPECT_EQ(error("a {text"), "is \"a {text\", where a { is not closed" + expected);
  EXPECT_EQ(error("a {te{xt}"), "is \"a {te{xt}\", where a { is not closed" + expected);
  EXPECT_EQ(error("a text}"), "is \"a text}\", where a } closes nothing" + expected);
  EXPECT_EQ(error("a {}"), "is \"a {}\", where {} names no column" + expected);
}

}  // namespace
}  // namespace altup
