// What `altup generate` reads and writes: plain lines, or JSON lines with an id that comes back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "altup/data/reader.h"
#include "trainers/text_generation.h"

namespace altup {

struct TextInput {
  std::string text;
  std::string id;  ///< as JSON; "" where the line has none
};

/// Inputs one at a time, from a file, plain or gzipped, or from standard input where `path` is "". A
/// plain line is a text, also an empty one. With `json_lines`, a line is an object with "text", a
/// string, and perhaps "id"; blank lines are skipped; all else is a UserError with its line.
class TextInputReader {
 public:
  TextInputReader(const std::string& path, bool json_lines);
  bool next(TextInput& input);  ///< false at the end

 private:
  bool next_line(std::string& line);

  std::string path_;
  bool json_lines_;
  std::unique_ptr<LineReader> file_;  // none for standard input
  int64_t line_number_ = 0;
};

/// An object in one line: "id" where the input has one; "text", "tokens", "finished" of its output,
/// and "score" where `with_scores`; or, for more than one, a list "outputs" of these.
std::string output_line(const TextInput& input, const std::vector<TextHypothesis>& outputs,
                        bool with_scores);

/// `text` with spaces for line ends.
std::string in_one_line(std::string_view text);

}  // namespace altup
