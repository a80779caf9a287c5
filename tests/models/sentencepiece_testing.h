// SentencePiece files written by hand, field by field of sentencepiece_model.proto, for tests that
// have no trainer.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace altup::testing {

inline std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

/// A field that holds bytes: a string or a message.
inline std::string bytes_field(uint64_t number, const std::string& value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}

inline std::string integer_field(uint64_t number, uint64_t value) {
  return varint(number << 3) + varint(value);
}

/// One entry of ModelProto.pieces; types: 1 normal, 2 unknown, 3 control, 4 user-defined.
inline std::string piece(const std::string& text, float score, uint64_t type) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return bytes_field(1,
                     bytes_field(1, text) + varint(2 << 3 | 5) + number + integer_field(3, type));
}

/// T5's control pieces and four words.
inline std::string some_pieces() {
  return piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) +
         piece("\u2581the", -1.5F, 1) + piece("\u2581", -2, 1) + piece("cow", -2.5F, 1) +
         piece("s", -3, 1);
}

/// TrainerSpec and NormalizerSpec as T5's: unigram; `charsmap` is the compiled normalisation.
inline std::string some_settings(const std::string& charsmap = "map") {
  return bytes_field(2, integer_field(3, 1) + integer_field(4, 7)) +
         bytes_field(3, bytes_field(1, "nmt_nfkc") + bytes_field(2, charsmap));
}

}  // namespace altup::testing
