// Checkpoint directories that are either whole or not there. A new one is written under a temporary
// name, synced, listed with sizes and SHA-256 in manifest.json (written last), and renamed; then
// `latest`, a symbolic link, is moved to it. A kill at any moment leaves the older checkpoints as
// they were.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace altup {

/// Writes `parent`/`name`. Fill directory() with files, then commit(); without commit() nothing
/// remains. `name` is one path component without a leading dot. Failures to write are
/// std::runtime_error.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path parent, std::string name);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  const std::filesystem::path& directory() const { return temporary_; }
  /// Replaces an existing checkpoint of that name, and points `parent`/latest at this one when
  /// `make_latest`.
  void commit(bool make_latest = true);
  /// The same for a directory whose files others define: without a manifest and without `latest`.
  void commit_without_manifest();

 private:
  void take_the_name();

  std::filesystem::path parent_;
  std::string name_;
  std::filesystem::path temporary_;
  int lock_ = -1;  // held while the temporary directory is ours, so that pruning leaves it alone
  bool committed_ = false;
};

/// Throws UserError where a file of the manifest is missing or differs. Hashing takes a few seconds
/// a gigabyte.
void verify_checkpoint(const std::filesystem::path& directory);

/// A run directory (`run`/checkpoints/latest), its `checkpoints` folder, or a checkpoint itself, as
/// the user typed it, resolved to the checkpoint, with links followed. Throws UserError where there
/// is none. Does not hash.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path);

/// The newest whole checkpoint below `parent`: `latest`, or, where that is broken, the highest step
/// that verifies. Each broken one met on the way is a warning in the log.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& parent);

/// Whether there is a step-* below `parent`, whole or not.
bool has_checkpoints(const std::filesystem::path& parent);

/// Keeps other processes from writing to the directory of a run or an experiment until it goes; the
/// system lets go of it where the process dies. UserError where another one holds it. File systems
/// without locks have none.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int file_ = -1;
};

/// Moves the relative symbolic link `parent`/`link` ("latest", "best") to `name` in one step: at
/// every moment it points at the old checkpoint or at the new one. Where a copy of a run, made with
/// links followed, has a directory in its place, that is removed.
void point_link_at(const std::filesystem::path& parent, const std::string& link,
                   const std::string& name);

/// Removes the oldest `step-*` until `keep` remain (0: keep all), never the one that latest points
/// at or one named in `parent`/best, and leftovers of killed writers.
void prune_checkpoints(const std::filesystem::path& parent, int64_t keep);

}  // namespace altup
