#include "altup/util/error.h"

namespace altup {

UserError::UserError(const std::string& path, const std::string& message)
    : std::runtime_error(path + ": " + message) {}

UserError::UserError(const std::string& path, int64_t line, const std::string& message)
    : std::runtime_error(path + (line > 0 ? ":" + std::to_string(line) : "") + ": " + message) {}

}  // namespace altup
