// Where tests find and leave files.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

namespace altup::testing {

/// A directory of its own that goes with the object.
class TempDir {
 public:
  TempDir() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("altup_test_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  /// Writes `bytes` to `name` below the directory and returns the path.
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private:
  std::filesystem::path path_;
};

/// `name` below the shared data directory: $ALTUP_DATA, or ../shared/data beside the checkout. Empty where missing.
inline std::filesystem::path shared_data(const std::string& name) {
  const char* root = std::getenv("ALTUP_DATA");
  const auto path = std::filesystem::path(root != nullptr ? root : "../shared/data") / name;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

}  // namespace altup::testing

/// Leaves the test out, with a clear word, where real data is not there.
#define ALTUP_SHARED_DATA_OR_SKIP(variable, name)                  \
  const auto variable = altup::testing::shared_data(name);         \
  if (variable.empty()) {                                          \
    GTEST_SKIP() << "real data file " << (name) << " is not here"; \
  }
