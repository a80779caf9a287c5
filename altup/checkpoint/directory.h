// Checkpoint directories that are either whole or not there. A new one is written under a temporary name, synced,
// listed with sizes and SHA-256 in manifest.json (written last), and renamed; then `latest`, a symbolic link, is
// moved to it. A kill at any moment leaves the older checkpoints as they were.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace altup {

/// Writes `parent`/`name`. Fill directory() with files, then commit(); without commit() nothing remains.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path parent, std::string name);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  const std::filesystem::path& directory() const { return temporary_; }
  /// Replaces an existing checkpoint of that name, and points `parent`/latest at this one when `make_latest`.
  void commit(bool make_latest = true);

 private:
  std::filesystem::path parent_;
  std::string name_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Throws UserError where a file of the manifest is missing or differs. Hashing takes about a second a gigabyte.
void verify_checkpoint(const std::filesystem::path& directory);

/// A run directory (`run`/checkpoints/latest), its `checkpoints` folder, or a checkpoint itself, as the user typed it,
/// resolved to the checkpoint. Throws UserError where there is none.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path);

/// The newest whole checkpoint below `parent`: `latest`, or, where that is broken, the highest step that verifies.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& parent);

/// Removes the oldest `step-*` until `keep` remain (0: keep all), never the one that latest points at or one named in
/// `parent`/best, and leftovers of killed writers.
void prune_checkpoints(const std::filesystem::path& parent, int64_t keep);

}  // namespace altup
