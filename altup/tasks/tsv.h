// Rows of a tab-separated file as the GLUE files are written: fields are split at tabs and nothing
// else, a quotation mark is an ordinary character. A byte-order mark is dropped, CRLF ends a line
// as LF does, blank lines are no rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

class TsvReader {
 public:
  /// UserError where the file cannot be read.
  explicit TsvReader(std::filesystem::path path);

  /// The fields of the next row, views into the reader's own bytes; false at the end. UserError for
  /// invalid UTF-8.
  bool next(std::vector<std::string_view>& fields);
  /// Of the row returned last, from 1; 0 before the first.
  int64_t line() const { return line_; }
  /// Whether the row returned last ended with the file instead of with a line end.
  bool is_unended() const { return position_ > bytes_.size(); }

  /// Throws UserError "file:line: message" for the row returned last.
  [[noreturn]] void fail(const std::string& message) const;
  /// Fails where `fields` are not `expected` in number.
  void expect_columns(const std::vector<std::string_view>& fields, size_t expected) const;

 private:
  std::filesystem::path path_;
  std::string bytes_;
  size_t position_ = 0;
  int64_t line_ = 0;
};

}  // namespace altup
