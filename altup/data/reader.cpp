// zlib reads plain and gzipped files alike, and members of a gzip file one after the other.
// Everything streams: what is held is one buffer, one line and one document.
#include "altup/data/reader.h"

#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_gzip(const fs::path& path) {
  return path.extension() == ".gz";
}

bool is_json_lines(const fs::path& path) {
  const fs::path name = is_gzip(path) ? path.stem() : path;
  return name.extension() == ".jsonl" || name.extension() == ".json";
}

}  // namespace

struct LineReader::State {
  std::string path;
  gzFile file = nullptr;
  std::array<char, 1 << 16> buffer;
  const char* at = buffer.data();
  const char* end = buffer.data();
  int64_t line_number = 0;

  ~State() { gzclose(file); }

  /// False at the end of the file.
  bool fill() {
    const int count = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()));
    int error = Z_OK;
    std::string_view why = gzerror(file, &error);
    if (count < 0 || error == Z_BUF_ERROR) {
      if (why.starts_with(path + ": ")) why.remove_prefix(path.size() + 2);
      if (error == Z_BUF_ERROR) why = "it ends too early";
      if (error == Z_ERRNO) why = std::strerror(errno);
      throw UserError(path, line_number + 1,
                      str("cannot be read on: ", why, "; expected a whole ",
                          is_gzip(path) ? "gzip file" : "file"));
    }
    at = buffer.data();
    end = at + count;
    return count > 0;
  }
};

LineReader::LineReader(const fs::path& path) : state_(std::make_unique<State>()) {
  state_->path = path.string();
  if (fs::is_directory(path)) {
    throw UserError(state_->path, "is a directory; expected a file");
  }
  state_->file = gzopen(path.c_str(), "rb");
  if (state_->file == nullptr) {
    throw UserError(state_->path,
                    str("cannot be opened: ", std::strerror(errno), "; expected a file"));
  }
  gzbuffer(state_->file, 1 << 17);
  // zlib passes through what is not compressed; a name that promises otherwise is a mistake worth
  // telling.
  if (is_gzip(path) && gzdirect(state_->file) != 0) {
    throw UserError(state_->path, "is not compressed; expected gzip, as the name says");
  }
}

LineReader::~LineReader() = default;
int64_t LineReader::line_number() const {
  return state_->line_number;
}

bool LineReader::next(std::string& line) {
  State& s = *state_;
  line.clear();
  if (s.at == s.end && !s.fill()) return false;
  while (true) {
    const auto left = static_cast<size_t>(s.end - s.at);
    const auto* newline = static_cast<const char*>(std::memchr(s.at, '\n', left));
    line.append(s.at, newline != nullptr ? newline : s.end);
    s.at = newline != nullptr ? newline + 1 : s.end;
    if (newline != nullptr || !s.fill()) break;
  }
  if (++s.line_number == 1 && line.starts_with(kByteOrderMark)) {
    line.erase(0, kByteOrderMark.size());
  }
  if (line.ends_with('\r')) line.pop_back();
  require_utf8(s.path, s.line_number, line);
  return true;
}

void require_utf8(const std::string& path, int64_t line_number, std::string_view line) {
  if (const size_t bad = find_invalid_utf8(line); bad != std::string::npos) {
    throw UserError(path, line_number,
                    str("byte ", bad + 1, " is not valid UTF-8; expected text in UTF-8"));
  }
}

struct DocumentReader::State {
  State(const fs::path& file, TextLayout text_layout)
      : path(file.string()), layout(text_layout), json(is_json_lines(file)), lines(file) {}

  std::string path;
  TextLayout layout;
  bool json;
  LineReader lines;
  std::string line;

  /// The "text" of the line just read.
  std::string text_of_json() {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    constexpr std::string_view kExpected =
        R"(; expected one JSON object a line with a string "text")";
    const auto fail = [&](std::string_view what) -> UserError {
      return {path, lines.line_number(), str(what, kExpected)};
    };
    if (object.is_discarded()) throw fail("is not valid JSON");
    if (!object.is_object()) throw fail(str("holds a JSON ", object.type_name()));
    const auto text = object.find("text");
    if (text == object.end()) throw fail(R"(has no "text")");
    if (!text->is_string()) throw fail(str(R"("text" is a JSON )", text->type_name()));
    return text->get<std::string>();
  }

  bool next_json(std::string& document) {
    while (lines.next(line)) {
      if (trim(line).empty()) continue;
      document = text_of_json();
      if (!trim(document).empty()) return true;
    }
    return false;
  }

  bool next_text(std::string& document) {
    document.clear();
    while (lines.next(line)) {
      const auto text = trim(line);
      if (text.empty()) {
        if (layout == TextLayout::kParagraph && !document.empty()) return true;
        continue;
      }
      if (!document.empty()) document += ' ';
      document += text;
      if (layout == TextLayout::kLine) return true;
    }
    return !document.empty();
  }
};

DocumentReader::DocumentReader(const fs::path& path, TextLayout layout)
    : state_(std::make_unique<State>(path, layout)) {}

DocumentReader::~DocumentReader() = default;

bool DocumentReader::next(std::string& document) {
  return state_->json ? state_->next_json(document) : state_->next_text(document);
}

}  // namespace altup
