// The rows of a user's own task, alike for tab-separated files and JSON lines: a row has columns,
// and a column a text or, for accepted answers, several.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "altup/tasks/own_task.h"

namespace altup {

/// A column that every row has to have, and the key of the TOML file that asks for it.
struct NeededColumn {
  std::string column;
  std::string asked_by;  ///< "task.prompt (my_task.toml:7)"
};

class RowReader {
 public:
  virtual ~RowReader() = default;
  /// The next row; false at the end. UserError for what the format does not allow, and for a needed
  /// column that the file or the row does not have.
  virtual bool next() = 0;

  // Of the row read last:
  virtual bool has(const std::string& column) const = 0;
  /// A text as it is; of JSON also a number (in its shortest form), true and false. UserError
  /// otherwise.
  virtual std::string text(const std::string& column) const = 0;
  /// The elements of a JSON list, or the one text.
  virtual std::vector<std::string> texts(const std::string& column) const = 0;
  /// Throws UserError "file:line: message".
  [[noreturn]] virtual void fail(const std::string& message) const = 0;
};

std::unique_ptr<RowReader> open_rows(const OwnTask& task, const std::filesystem::path& path,
                                     std::vector<NeededColumn> needed);

}  // namespace altup
