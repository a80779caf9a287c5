#include "altup/checkpoint/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "altup/checkpoint/sha256.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kManifest = "manifest.json";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kReplacedPrefix = ".replaced-";
constexpr std::string_view kStepPrefix = "step-";

/// A name beside the checkpoints that no reader looks at.
fs::path temporary_name(const fs::path& parent, const std::string& name) {
  return parent / str(kTemporaryPrefix, name, "-", ::getpid());
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

// --- The manifest
// ----------------------------------------------------------------------------------------------

/// Files below `directory`, relative and sorted, without the manifest.
std::vector<std::string> list_files(const fs::path& directory) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_directory()) continue;
    const std::string file = entry.path().lexically_relative(directory).generic_string();
    if (file != kManifest) files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string make_manifest(const fs::path& directory) {
  Json files = Json::object();
  for (const std::string& file : list_files(directory)) {
    files[file] = {{"size", fs::file_size(directory / file)},
                   {"sha256", sha256_of_file(directory / file)}};
  }
  return Json{{"version", 1}, {"files", std::move(files)}}.dump(2) + "\n";
}

/// Everything below `directory`, and its own list of names, survives a power cut.
void sync_tree(const fs::path& directory) {
  for (const auto& entry : fs::recursive_directory_iterator(directory)) sync_path(entry.path());
  sync_path(directory);
}

bool has_manifest(const fs::path& directory) {
  std::error_code ignored;
  return fs::is_regular_file(directory / kManifest, ignored);
}

// --- Names below `parent`
// --------------------------------------------------------------------------------------

struct Step {
  int64_t number;
  std::string name;
};

/// The directories step-<number>, lowest first.
std::vector<Step> list_steps(const fs::path& parent) {
  std::vector<Step> steps;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kStepPrefix) || !entry.is_directory(ignored)) continue;
    int64_t number = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kStepPrefix.size(), end, number);
    if (parsed.ec == std::errc() && parsed.ptr == end) steps.push_back({number, name});
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::pair(a.number, a.name) < std::pair(b.number, b.name);
  });
  return steps;
}

/// The name that the link points at; "" where there is no such link.
std::string link_target(const fs::path& parent, const std::string& link) {
  std::error_code ignored;
  return fs::read_symlink(parent / link, ignored).filename().string();
}

/// Puts `fresh` in the place of `target`; what was there is gone afterwards.
void replace_directory(const fs::path& fresh, const fs::path& target) {
  if (!fs::exists(target)) {
    fs::rename(fresh, target);
    return;
  }
  // One system call swaps the two, where the file system can.
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    sync_path(target.parent_path());
    remove_quietly(fresh);
    return;
  }
  // Elsewhere (NFS) two renames: a kill in between leaves the old one aside, and pruning puts it
  // back.
  const fs::path aside = target.parent_path() / str(kReplacedPrefix, target.filename().string());
  remove_quietly(aside);
  fs::rename(target, aside);
  fs::rename(fresh, target);
  sync_path(target.parent_path());
  remove_quietly(aside);
}

// --- Pruning
// ---------------------------------------------------------------------------------------------------

/// A writer locks its directory; the system lets go of the lock when the writer dies.
bool is_abandoned(const fs::path& directory) {
  if (fs::is_symlink(directory)) return true;  // of a killed point_link_at
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  ::close(fd);
  return locked;
}

void remove_leftovers(const fs::path& parent) {
  std::vector<fs::path> temporary;
  std::vector<fs::path> replaced;
  for (const auto& entry : fs::directory_iterator(parent)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kTemporaryPrefix)) temporary.push_back(entry.path());
    if (name.starts_with(kReplacedPrefix)) replaced.push_back(entry.path());
  }
  for (const fs::path& path : temporary) {
    if (is_abandoned(path)) remove_quietly(path);
  }
  for (const fs::path& path : replaced) {
    const fs::path original = parent / path.filename().string().substr(kReplacedPrefix.size());
    if (fs::exists(original)) {
      remove_quietly(path);
    } else {
      fs::rename(path, original);
    }
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path parent, std::string name)
    : parent_(std::move(parent)), name_(std::move(name)) {
  if (name_.empty() || name_.front() == '.' || name_.find('/') != std::string::npos) {
    throw UserError(str("\"", name_,
                        "\" cannot name a checkpoint; expected one name without "
                        "slashes or a leading dot"));
  }
  if (parent_.empty()) parent_ = ".";
  temporary_ = temporary_name(parent_, name_);
  remove_quietly(temporary_);  // of a killed process that had our number
  fs::create_directories(temporary_);
  lock_ = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0) ::flock(lock_, LOCK_EX | LOCK_NB);
}

CheckpointWriter::~CheckpointWriter() {
  if (!committed_) remove_quietly(temporary_);
  if (lock_ >= 0) ::close(lock_);
}

void CheckpointWriter::commit(bool make_latest) {
  if (committed_) throw std::logic_error(str("checkpoint ", name_, " is committed twice"));
  // The manifest vouches for the files, so it must not reach the disk before them.
  sync_tree(temporary_);
  write_file_atomic(temporary_ / kManifest, make_manifest(temporary_));
  take_the_name();
  if (make_latest) point_link_at(parent_, "latest", name_);
}

void CheckpointWriter::commit_without_manifest() {
  if (committed_) throw std::logic_error(str("directory ", name_, " is committed twice"));
  sync_tree(temporary_);
  take_the_name();
}

void CheckpointWriter::take_the_name() {
  replace_directory(temporary_, parent_ / name_);
  committed_ = true;
  sync_path(parent_);
}

void verify_checkpoint(const fs::path& directory) {
  const fs::path path = directory / kManifest;
  if (!has_manifest(directory)) {
    throw UserError(directory.string(), "is no whole checkpoint; expected a manifest.json in it");
  }
  Json files;
  try {
    files = Json::parse(read_file(path)).at("files");
    for (const auto& [name, entry] : files.items()) {
      const fs::path file = directory / name;
      const auto size = entry.at("size").get<uint64_t>();
      if (!fs::is_regular_file(file))
        throw UserError(file.string(), "is missing from the checkpoint");
      if (fs::file_size(file) != size) {
        throw UserError(file.string(), str("has ", fs::file_size(file), " bytes; expected ", size));
      }
      if (sha256_of_file(file) != entry.at("sha256").get<std::string>()) {
        throw UserError(file.string(), "is damaged: its SHA-256 is not the one in manifest.json");
      }
    }
  } catch (const Json::exception& error) {
    throw UserError(path.string(), str("is no manifest (", error.what(), ")"));
  }
}

fs::path resolve_checkpoint(const fs::path& path) {
  if (!fs::exists(path)) {
    throw UserError(path.string(), "is not there; expected a checkpoint or a run directory");
  }
  if (has_manifest(path)) return fs::canonical(path);
  for (const fs::path& parent : {path / "checkpoints", path}) {
    // Followed now: `latest` may move while the files are being read.
    if (has_manifest(parent / "latest")) return fs::canonical(parent / "latest");
    if (const auto found = latest_checkpoint(parent)) return fs::canonical(*found);
  }
  throw UserError(path.string(),
                  "holds no checkpoint; expected a run directory, its checkpoints folder or a "
                  "checkpoint with a manifest.json");
}

std::optional<fs::path> latest_checkpoint(const fs::path& parent) {
  std::vector<std::string> candidates;
  for (const Step& step : list_steps(parent)) candidates.push_back(step.name);
  const std::string latest = link_target(parent, "latest");
  std::erase(candidates, latest);
  if (!latest.empty()) candidates.push_back(latest);
  for (auto name = candidates.rbegin(); name != candidates.rend(); ++name) {
    try {
      verify_checkpoint(parent / *name);
      return parent / *name;
    } catch (const UserError& error) {
      log_warning("checkpoint passed over: ", error.what());
    }
  }
  return std::nullopt;
}

bool has_checkpoints(const fs::path& parent) {
  return !list_steps(parent).empty();
}

DirectoryLock::DirectoryLock(const fs::path& directory)
    : file_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (file_ < 0 || ::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(file_);
  throw UserError(directory.string(), "is in use by another process; expected to have it alone");
}

DirectoryLock::~DirectoryLock() {
  if (file_ >= 0) ::close(file_);
}

void point_link_at(const fs::path& parent, const std::string& link, const std::string& name) {
  const fs::path temporary = temporary_name(parent, link);
  remove_quietly(temporary);
  const fs::path aside = parent / str(kTemporaryPrefix, link);
  if (fs::is_directory(fs::symlink_status(parent / link))) {
    remove_quietly(aside);
    fs::rename(parent / link, aside);
  }
  fs::create_symlink(name, temporary);
  fs::rename(temporary, parent / link);
  sync_path(parent);
  remove_quietly(aside);
}

void prune_checkpoints(const fs::path& parent, int64_t keep) {
  if (!fs::is_directory(parent)) return;
  remove_leftovers(parent);
  if (keep <= 0) return;
  const std::vector<Step> steps = list_steps(parent);
  const std::string latest = link_target(parent, "latest");
  const std::string best = link_target(parent, "best");
  auto remaining = static_cast<int64_t>(steps.size());
  for (const Step& step : steps) {
    if (remaining <= keep) break;
    if (step.name == latest || step.name == best) continue;
    // Renamed first: a kill while it is being removed leaves no half a checkpoint under its name.
    const fs::path doomed = temporary_name(parent, step.name);
    remove_quietly(doomed);
    fs::rename(parent / step.name, doomed);
    remove_quietly(doomed);
    --remaining;
  }
}

}  // namespace altup
