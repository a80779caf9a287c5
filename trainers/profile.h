// A trace of what PyTorch's operators, ours among them, did and for how long.
#pragma once

#include <filesystem>

namespace altup {

/// Records from its construction to write(). One at a time in a process.
class Profile {
 public:
  Profile();
  /// Stops without writing where write() was not called.
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Stops, and writes a Chrome trace (JSON; for chrome://tracing or ui.perfetto.dev). UserError
  /// where the file cannot be written.
  void write(const std::filesystem::path& file);

 private:
  bool running_ = true;
};

}  // namespace altup
