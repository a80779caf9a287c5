// The program's log: lines with a time on stderr, and on a file beside it when a run asks for one.
// A thin face over spdlog, which cannot be included where LibTorch's headers are (its fmt is
// another one).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "altup/util/text.h"

namespace altup {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

/// Accepts debug, info, warning, error, off; throws UserError otherwise.
LogLevel parse_log_level(std::string_view name);
void set_log_level(LogLevel level);
/// From now on lines also go to `path` (appended), at every level from kInfo up.
void log_to_file(const std::filesystem::path& path);

void log_line(LogLevel level, const std::string& line);
/// An error that the console is told otherwise: a line of the run's file alone, where there is one.
void log_error_to_file(const std::string& line);

/// Keeps `line` below the last line of the log, redrawn after each; "" takes it away. Only for a terminal: it is drawn
/// with control characters and never reaches the file.
void set_status_line(const std::string& line);

template <class... Args>
void log_debug(const Args&... args) {
  log_line(LogLevel::kDebug, str(args...));
}
template <class... Args>
void log_info(const Args&... args) {
  log_line(LogLevel::kInfo, str(args...));
}
template <class... Args>
void log_warning(const Args&... args) {
  log_line(LogLevel::kWarning, str(args...));
}
template <class... Args>
void log_error(const Args&... args) {
  log_line(LogLevel::kError, str(args...));
}

}  // namespace altup
