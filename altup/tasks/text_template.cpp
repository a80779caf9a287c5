#include "altup/tasks/text_template.h"

#include <algorithm>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace {

[[noreturn]] void fail(std::string_view text, const std::string& what) {
  throw UserError(str("is \"", text, "\", ", what,
                      "; expected text with {column}, and {{ and }} for plain braces"));
}

}  // namespace

TextTemplate parse_template(std::string_view text) {
  TextTemplate parts;
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      plain += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      plain += c;
      ++i;
    } else if (c == '}') {
      fail(text, "where a } closes nothing");
    } else {
      const size_t end = text.find_first_of("{}", i + 1);
      if (end == std::string_view::npos || text[end] == '{') {
        fail(text, "where a { is not closed");
      }
      if (end == i + 1) fail(text, "where {} names no column");
      if (!plain.empty()) parts.push_back({plain, false});
      plain.clear();
      parts.push_back({std::string(text.substr(i + 1, end - i - 1)), true});
      i = end;
    }
  }
  if (!plain.empty()) parts.push_back({plain, false});
  return parts;
}

std::vector<std::string> template_columns(const TextTemplate& parts) {
  std::vector<std::string> columns;
  for (const auto& part : parts) {
    if (part.is_column && std::find(columns.begin(), columns.end(), part.text) == columns.end()) {
      columns.push_back(part.text);
    }
  }
  return columns;
}

std::string fill_template(const TextTemplate& parts,
                          const std::function<std::string(const std::string& column)>& value) {
  std::string out;
  for (const auto& part : parts) out += part.is_column ? value(part.text) : part.text;
  return out;
}

}  // namespace altup
