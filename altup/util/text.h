// Small helpers on strings, used in messages and files.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

/// Everything streamed one after the other: str("step ", 3) == "step 3".
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// `value` with exactly `digits` places after the point.
std::string fixed(double value, int digits);
/// `value` with thousands separators: 32,128.
std::string thousands(int64_t value);
/// 3723 -> "1:02:03"; 62 -> "1:02".
std::string duration(double seconds);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
/// Number of the line, from 1, that the byte at `offset` stands in; the last one where it is past
/// the end.
int64_t line_of(std::string_view text, size_t offset);
/// The entry of `known` with the smallest edit distance to `word`; "" where all are further than
/// half its length.
std::string nearest(std::string_view word, const std::vector<std::string>& known);
/// Offset of the first byte that is not valid UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

}  // namespace altup
