#include "altup/tasks/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::HasSubstr;
using testing::user_error;

class JsonLinesTest : public ::testing::Test {
 protected:
  // The error of reading all of a file, without its path.
  std::string error(const std::string& bytes) {
    const auto path = dir_.write("a.jsonl", bytes);
    const std::string text = user_error([&] {
      JsonLinesReader reader(path);
      while (reader.next()) {
      }
    });
    EXPECT_EQ(text.substr(0, path.string().size()), path.string());
    return text.substr(path.string().size());
  }
  testing::TempDir dir_;
};

TEST_F(JsonLinesTest, ReadsEachTypeByItsPath) {
  JsonLinesReader reader(dir_.write(
      "a.jsonl",
      R"({"t": "caf\u00e9 \"x\"", "i": -3, "d": 2.5, "b": true, "n": null, "dotted.key": "found",)"
      R"( "o": {"list": [{"id": 7}, "two"]}})"
      "\n"));
  const auto record = reader.next();
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->text("t"), "café \"x\"");
  EXPECT_EQ(record->integer("i"), -3);
  EXPECT_EQ(record->number("d"), 2.5);
  EXPECT_EQ(record->number("i"), -3.0);
  EXPECT_TRUE(record->boolean("b"));
  EXPECT_EQ(record->text("dotted.key"), "found");
  EXPECT_EQ(record->array("o.list").size(), 2U);
  EXPECT_EQ(record->array("o.list")[0].integer("id"), 7);
  EXPECT_EQ(record->array("o.list")[1].text(), "two");
  EXPECT_EQ(record->object("o").array("list").size(), 2U);
  EXPECT_EQ(record->scalar("t"), "café \"x\"");
  EXPECT_EQ(record->scalar("i"), "-3");
  EXPECT_EQ(record->scalar("d"), "2.5");
  EXPECT_EQ(record->scalar("b"), "true");
  EXPECT_TRUE(record->is_array("o.list"));
  EXPECT_FALSE(record->is_array("o"));
  EXPECT_FALSE(record->is_array("none"));
  EXPECT_TRUE(record->has("o.list"));
  EXPECT_FALSE(record->has("n"));
  EXPECT_FALSE(record->has("o.none"));
  EXPECT_FALSE(record->has("t.none"));
  EXPECT_FALSE(reader.next().has_value());
}

TEST_F(JsonLinesTest, RefusesAnIntegerThatWouldWrapAround) {
  const auto path =
      dir_.write("a.jsonl", R"({"most": 9223372036854775807, "more": 9223372036854775808})");
  const JsonValue record = JsonLinesReader(path).next().value();
  EXPECT_EQ(record.integer("most"), 9223372036854775807);
  EXPECT_EQ(user_error([&] { record.integer("more"); }),
            path.string() +
                ":1: \"more\" is the number 9223372036854775808; expected an integer up to "
                "9223372036854775807");
}

TEST_F(JsonLinesTest, ReadsALabelHoweverItIsWritten) {
  const auto path =
      dir_.write("a.jsonl", R"({"t": "yes", "b": false, "i": 1, "d": 0.5, "n": null})");
  const JsonValue record = JsonLinesReader(path).next().value();
  EXPECT_EQ(record.label("t", "yes or no"), "yes");
  EXPECT_EQ(record.label("b", "yes or no"), "false");
  EXPECT_EQ(record.label("i", "yes or no"), "1");
  EXPECT_EQ(user_error([&] { record.label("d", "yes or no"); }),
            path.string() + ":1: \"d\" is the number 0.5; expected yes or no");
  EXPECT_EQ(user_error([&] { record.label("n", "yes or no"); }),
            path.string() + ":1: \"n\" is null; expected yes or no");
}

TEST_F(JsonLinesTest, DropsByteOrderMarkCarriageReturnsAndBlankLines) {
  JsonLinesReader reader(
      dir_.write("a.jsonl", "\xEF\xBB\xBF{\"i\": 1}\r\n\r\n \n\n{\"i\": 2}\r\n{\"i\": 3}"));
  EXPECT_EQ(reader.next()->integer("i"), 1);
  EXPECT_EQ(reader.line(), 1);
  EXPECT_EQ(reader.next()->integer("i"), 2);
  EXPECT_EQ(reader.line(), 5);
  EXPECT_EQ(reader.next()->integer("i"), 3);
  EXPECT_FALSE(reader.next().has_value());
}

TEST_F(JsonLinesTest, ValuesOutliveTheReader) {
  std::optional<JsonValue> value;
  {
    JsonLinesReader reader(dir_.write("a.jsonl", R"({"o": {"t": "kept"}})"));
    value = reader.next()->object("o");
  }
  EXPECT_EQ(value->text("t"), "kept");
}

TEST_F(JsonLinesTest, RefusesWhatIsNoObjectALine) {
  EXPECT_EQ(error("{\"i\": 1}\n[1]\n"), ":2: the line is an array; expected an object");
  EXPECT_EQ(error("\"text\"\n"), ":1: the line is the text \"text\"; expected an object");
  EXPECT_EQ(error("{\"i\": 1} {\"i\": 2}\n"),
            ":1: broken JSON at byte 10 of the line; expected one JSON object a line");
  EXPECT_EQ(error("{\"i\": 1}\n\n{'i': 2}\n"),
            ":3: broken JSON at byte 2 of the line; expected one JSON object a line");
}

TEST_F(JsonLinesTest, RefusesALastLineThatIsCutOff) {
  const std::string expected =
      ":2: the JSON is cut off at the end of the line; expected one whole JSON object a line";
  EXPECT_EQ(error("{\"i\": 1}\n{\"i\": "), expected);
  EXPECT_EQ(error("{\"i\": 1}\n{\"t\": \"ab"), expected);
  EXPECT_EQ(error("{\"i\": 1}\r\n{\"i\": 2\r\n"), expected);
}

TEST_F(JsonLinesTest, RefusesInvalidUtf8) {
  EXPECT_EQ(error("{\"i\": 1}\n{\"t\": \"\xFF\"}\n"),
            ":2: byte 8 of the line is not valid UTF-8; expected UTF-8 text");
}

TEST_F(JsonLinesTest, ErrorsNameFileLineKeyAndWhatWasExpected) {
  const auto path =
      dir_.write("a.jsonl",
                 "{}\n"
                 R"({"o": {"list": [{"id": "x"}, {}]}, "n": null, "b": 1, "d": 1.5})");
  JsonLinesReader reader(path);
  reader.next();
  const JsonValue record = reader.next().value();
  const auto message = [&](const std::function<void()>& run) {
    const std::string text = user_error(run);
    EXPECT_EQ(text.substr(0, path.string().size()), path.string());
    return text.substr(path.string().size());
  };
  EXPECT_EQ(message([&] { record.array("o.list")[0].integer("id"); }),
            ":2: \"o.list[0].id\" is the text \"x\"; expected an integer");
  EXPECT_EQ(message([&] { record.array("o.list")[1].text("id"); }),
            ":2: \"o.list[1].id\" is missing; expected a text");
  EXPECT_EQ(message([&] { record.text("n"); }), ":2: \"n\" is null; expected a text");
  EXPECT_EQ(message([&] { record.boolean("b"); }),
            ":2: \"b\" is the number 1; expected true or false");
  EXPECT_EQ(message([&] { record.integer("d"); }),
            ":2: \"d\" is the number 1.5; expected an integer");
  EXPECT_EQ(message([&] { record.array("o"); }), ":2: \"o\" is an object; expected an array");
  EXPECT_EQ(message([&] { record.object("o.list"); }),
            ":2: \"o.list\" is an array; expected an object");
  EXPECT_EQ(message([&] { record.fail("b", "a label, true or false"); }),
            ":2: \"b\" is the number 1; expected a label, true or false");
}

TEST_F(JsonLinesTest, ReportsAMissingFile) {
  EXPECT_THAT(user_error([&] { JsonLinesReader reader(dir_ / "none.jsonl"); }),
              HasSubstr("none.jsonl"));
}

}  // namespace
}  // namespace altup
