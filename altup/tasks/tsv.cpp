#include "altup/tasks/tsv.h"

#include <algorithm>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

TsvReader::TsvReader(std::filesystem::path path)
    : path_(std::move(path)), bytes_(read_file(path_)) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (bytes_.starts_with(kByteOrderMark)) position_ = kByteOrderMark.size();
}

bool TsvReader::next(std::vector<std::string_view>& fields) {
  std::string_view row;
  while (row.empty()) {
    if (position_ >= bytes_.size()) return false;
    const size_t end = std::min(bytes_.find('\n', position_), bytes_.size());
    row = std::string_view(bytes_).substr(position_, end - position_);
    if (row.ends_with('\r')) row.remove_suffix(1);
    position_ = end + 1;
    ++line_;
  }
  if (const size_t bad = find_invalid_utf8(row); bad != std::string_view::npos) {
    fail(str("byte ", bad + 1, " of the line is not valid UTF-8; expected UTF-8 text"));
  }
  fields.clear();
  while (true) {
    const size_t tab = row.find('\t');
    fields.push_back(row.substr(0, tab));
    if (tab == std::string_view::npos) return true;
    row.remove_prefix(tab + 1);
  }
}

void TsvReader::fail(const std::string& message) const {
  throw UserError(path_.string(), line_, message);
}

void TsvReader::expect_columns(const std::vector<std::string_view>& fields, size_t expected) const {
  if (fields.size() != expected) {
    fail(str(fields.size(), fields.size() == 1 ? " column" : " columns", "; expected ", expected,
             " separated by tabs"));
  }
}

}  // namespace altup
