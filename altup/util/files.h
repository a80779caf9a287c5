// Whole files in and out, and the patterns that name them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

/// The bytes of `path`; UserError where it cannot be read.
std::string read_file(const std::filesystem::path& path);
/// Writes to a temporary beside `path`, syncs it and renames it: readers see the old bytes or the
/// new, never half. A device or a pipe is written to as it is.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);
/// Asked before long work whose result goes to `path`: UserError where its folder is not there,
/// where it is a folder itself, or where it may not be written.
void require_writable_file(const std::filesystem::path& path);
/// Makes what was written to a file, or the names in a directory, survive a power cut.
void sync_path(const std::filesystem::path& path);
/// The files that `pattern` (`*`, `?` and `[a-z]`, as in a shell) names, sorted by name. A pattern
/// that names nothing is a UserError that quotes it.
std::vector<std::filesystem::path> expand_glob(const std::string& pattern);

}  // namespace altup
