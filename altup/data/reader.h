// Documents out of files, one at a time, so that a corpus may be larger than memory.
//
// What a file is, is told by its name: *.jsonl, *.json, *.jsonl.gz, *.json.gz hold one JSON object
// with a "text" string a line; everything else is text, gzipped where it ends in .gz. A byte-order
// mark is dropped, CRLF is LF, and invalid UTF-8 is an error with file and line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "altup/util/fields.h"

namespace altup {

/// What a document is in a text file. kParagraph joins the lines of hard-wrapped text with spaces;
/// blank lines separate documents. kLine takes each non-blank line as a document. kFile joins all
/// paragraphs of a file.
enum class TextLayout { kParagraph, kLine, kFile };

template <>
struct EnumNames<TextLayout> {
  static constexpr std::array<std::pair<std::string_view, TextLayout>, 3> kNames = {
      {{"paragraph", TextLayout::kParagraph},
       {"line", TextLayout::kLine},
       {"file", TextLayout::kFile}}};
};

/// UserError "path:line_number: …" where `line` is not valid UTF-8.
void require_utf8(const std::string& path, int64_t line_number, std::string_view line);

/// Lines of a plain or gzipped file, without their end and the file's byte-order mark.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path);
  ~LineReader();
  bool next(std::string& line);  ///< false at the end
  int64_t line_number() const;   ///< of the line returned last, from 1

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Documents of one file.
class DocumentReader {
 public:
  DocumentReader(const std::filesystem::path& path, TextLayout layout);
  ~DocumentReader();
  bool next(std::string& document);  ///< false at the end; never an empty document

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace altup
