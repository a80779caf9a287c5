// Text of ids that arrive one by one. What a piece looks like depends on its neighbours (a space
// belongs to the piece behind it, a character may be spread over byte pieces), so all ids so far are
// decoded each time, and what can no longer change is handed out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "altup/data/tokenizer.h"

namespace altup {

class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// What `id` adds to the text: whole characters, or nothing yet.
  std::string add(int32_t id);
  /// What was held back. All that was handed out is then the text of the ids.
  std::string finish();

 private:
  std::string advance(const std::string& text, size_t end);

  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t handed_out_ = 0;  // bytes of the text
};

}  // namespace altup
