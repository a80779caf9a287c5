#include "altup/util/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <mutex>

#include "altup/util/error.h"

namespace altup {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

spdlog::logger& logger() {
  // Leaked on purpose: threads may log while the program's statics are destroyed.
  static spdlog::logger* instance = [] {
    auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    console->set_pattern("%H:%M:%S %^%L%$ %v");
    auto* made = new spdlog::logger("altup", console);
    made->set_level(spdlog::level::info);
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *instance;
}

/// The line below the log, and the lock under which it is taken away, a line logged, and it is drawn again.
struct StatusLine {
  std::mutex mutex;
  std::string text;

  void erase() const {
    if (!text.empty()) std::fputs("\r\x1b[K", stderr);
  }
  void draw() const {
    if (!text.empty()) std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
  }
};

StatusLine& status_line() {
  static auto* instance = new StatusLine;  // leaked for the same reason
  return *instance;
}

}  // namespace

LogLevel parse_log_level(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  if (name == "off") return LogLevel::kOff;
  throw UserError(
      str("--log-level is \"", name, "\"; expected debug, info, warning, error or off"));
}

void set_log_level(LogLevel level) {
  // The console follows the level; the logger itself stays at info or below, so that a run's file
  // keeps its lines.
  logger().sinks().front()->set_level(to_spdlog(level));
  logger().set_level(std::min(to_spdlog(level), spdlog::level::info));
}

void log_to_file(const std::filesystem::path& path) {
  auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
  file->set_pattern("%Y-%m-%d %H:%M:%S %l %v");
  file->set_level(spdlog::level::info);
  auto& sinks = logger().sinks();
  sinks.resize(1);  // a new run replaces the file of the last one
  sinks.push_back(std::move(file));
}

void log_line(LogLevel level, const std::string& line) {
  auto& status = status_line();
  const std::lock_guard lock(status.mutex);
  status.erase();
  logger().log(to_spdlog(level), line);
  status.draw();
}

void log_error_to_file(const std::string& line) {
  const auto& sinks = logger().sinks();
  if (sinks.size() < 2) return;
  sinks.back()->log(spdlog::details::log_msg("altup", spdlog::level::err, line));
  sinks.back()->flush();
}

void set_status_line(const std::string& line) {
  auto& status = status_line();
  const std::lock_guard lock(status.mutex);
  status.erase();
  const bool quiet = logger().sinks().front()->level() > spdlog::level::info;
  status.text = quiet ? "" : line;
  status.draw();
}

}  // namespace altup
