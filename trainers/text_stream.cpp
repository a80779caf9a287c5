#include "trainers/text_stream.h"

#include <string_view>
#include <utility>

namespace altup {
namespace {

// Bytes that are no character yet are decoded to U+FFFD, and to something else once they are. At
// most three of four bytes can be waiting for the last.
size_t settled_length(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  constexpr int kMostWaiting = 3;
  size_t end = text.size();
  for (int i = 0; i < kMostWaiting && text.substr(0, end).ends_with(kReplacement); ++i) {
    end -= kReplacement.size();
  }
  return end;
}

}  // namespace

std::string TextStream::advance(const std::string& text, size_t end) {
  if (end <= handed_out_) return "";
  const size_t begin = std::exchange(handed_out_, end);
  return text.substr(begin, end - begin);
}

std::string TextStream::add(int32_t id) {
  ids_.push_back(id);
  const auto text = tokenizer_.decode(ids_);
  return advance(text, settled_length(text));
}

std::string TextStream::finish() {
  const auto text = tokenizer_.decode(ids_);
  return advance(text, text.size());
}

}  // namespace altup
