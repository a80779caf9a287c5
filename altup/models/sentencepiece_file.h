// The parts of a SentencePiece file that another format has to repeat: its pieces with their scores
// and its settings. The file is one protobuf message, ModelProto; its fields are read by their
// numbers, and nothing else of protobuf is needed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

struct SentencePieceFile {
  enum Type : uint64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    uint64_t type = kNormal;
    size_t begin = 0;  ///< bytes of the file that hold it
    size_t end = 0;
  };
  static constexpr uint64_t kUnigram = 1;

  std::vector<Piece> pieces;
  uint64_t model_type = kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string charsmap;  ///< the compiled normalisation, as SentencePiece holds it
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// UserError that starts with `path` where the bytes are no such message.
SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& path);

}  // namespace altup
