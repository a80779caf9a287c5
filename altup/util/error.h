// Errors that a user can mend: a wrong key, a missing file, a broken line. The program prints them
// as one line, `error: FILE:LINE: what, and what was expected`, and exits with 2. Everything else
// is a std::exception that the program reports as a failure at run time (exit 1).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace altup {

class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& message) : std::runtime_error(message) {}
  /// "path: message"
  UserError(const std::string& path, const std::string& message);
  /// "path:line: message"; lines count from 1, and line 0 leaves the number out.
  UserError(const std::string& path, int64_t line, const std::string& message);
};

}  // namespace altup
