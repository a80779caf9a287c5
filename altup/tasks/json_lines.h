// Files of one JSON object a line, as SuperGLUE and many others publish their data, and values of
// them that know where they stand: every error names file, line and key, and what was expected.
// A byte-order mark is dropped, CRLF ends a line as LF does, blank lines are no records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

struct JsonRecord;  // one parsed line and its place; in json_lines.cpp

/// A value inside a record. Keys are paths: "passage.text" is "text" in "passage" (a key that has
/// the dot in its name is found, too); the empty path is the value itself. Cheap to copy; keeps
/// its record alive.
class JsonValue {
 public:
  /// The value of a whole text. UserError "path:line: …" for invalid UTF-8 and broken JSON.
  static JsonValue parse(const std::filesystem::path& path, int64_t line, std::string_view text);

  /// Whether there is something at `path` other than null.
  bool has(std::string_view path) const;

  // Each throws UserError where there is nothing at `path`, or something of another type.
  std::string text(std::string_view path = "") const;
  int64_t integer(std::string_view path = "") const;  ///< a number without a fraction
  double number(std::string_view path = "") const;    ///< any number
  bool boolean(std::string_view path = "") const;
  /// A label, however it is written: a text as it is, true and false by these names, an integer by
  /// its digits. `expected` is for the error.
  std::string label(std::string_view path, const std::string& expected) const;
  /// A text as it is; a number in its shortest form, true and false by these names.
  std::string scalar(std::string_view path = "") const;
  bool is_array(std::string_view path = "") const;
  JsonValue object(std::string_view path = "") const;
  std::vector<JsonValue> array(std::string_view path = "") const;

  /// Throws UserError "file:line: message".
  [[noreturn]] void fail(const std::string& message) const;
  /// Throws UserError "file:line: "key" is …; expected `expected`" for the value at `path`.
  [[noreturn]] void fail(std::string_view path, const std::string& expected) const;
  int64_t line() const;

 private:
  JsonValue(std::shared_ptr<const JsonRecord> record, const void* value, std::string where);
  JsonValue at(std::string_view path, const char* expected) const;
  const void* find(std::string_view path) const;
  std::string where(std::string_view path) const;

  std::shared_ptr<const JsonRecord> record_;
  const void* value_;  // a json inside record_; this header does without the JSON library
  std::string where_;  // the way from the record to here: "passage.questions[3]"
};

class JsonLinesReader {
 public:
  /// UserError where the file cannot be read.
  explicit JsonLinesReader(std::filesystem::path path);

  /// The next line's object; nothing at the end. UserError for invalid UTF-8, broken JSON (a last
  /// line that is cut off, too) and a line that holds no object.
  std::optional<JsonValue> next();
  /// Of the record returned last, from 1; 0 before the first.
  int64_t line() const { return line_; }

 private:
  std::filesystem::path path_;
  std::string bytes_;
  size_t position_ = 0;
  int64_t line_ = 0;
};

}  // namespace altup
