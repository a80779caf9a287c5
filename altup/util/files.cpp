#include "altup/util/files.h"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path))
    throw UserError(path.string(), "cannot be read; expected a file");
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return std::move(bytes).str();
}

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    throw std::runtime_error(
        str(path.string(), ": cannot be opened to sync: ", std::strerror(errno)));
  const int failed = ::fsync(fd);
  ::close(fd);
  if (failed != 0)
    throw std::runtime_error(str(path.string(), ": cannot be synced: ", std::strerror(errno)));
}

void write_file_atomic(const fs::path& path, std::string_view bytes) {
  if (fs::exists(path) && !fs::is_regular_file(path)) {  // a device or a pipe: nothing to replace
    std::ofstream out(path, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) throw std::runtime_error(str(path.string(), ": cannot be written"));
    return;
  }
  const fs::path temporary = path.string() + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) {
      const std::string why = std::strerror(errno);
      std::error_code ignored;
      fs::remove(temporary, ignored);
      throw std::runtime_error(str(path.string(), ": cannot be written: ", why));
    }
  }
  sync_path(temporary);
  fs::rename(temporary, path);
  sync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void require_writable_file(const fs::path& path) {
  const fs::path folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder)) {
    throw UserError(path.string(), str("cannot be written; expected an existing folder, but ",
                                       folder.string(), " is none"));
  }
  if (fs::is_directory(path)) {
    throw UserError(path.string(), "cannot be written; expected a file, but it is a folder");
  }
  if (::access(fs::exists(path) ? path.c_str() : folder.c_str(), W_OK) != 0) {
    throw UserError(path.string(), str("cannot be written: ", std::strerror(errno),
                                       "; expected a file that may be"));
  }
}

std::vector<fs::path> expand_glob(const std::string& pattern) {
  if (fs::exists(pattern)) return {pattern};  // a name may hold what a pattern is made of
  glob_t found{};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> paths;
  for (size_t i = 0; status == 0 && i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  if (paths.empty())
    throw UserError(str("\"", pattern, "\" names no file; expected a path or a pattern"));
  return paths;
}

}  // namespace altup
