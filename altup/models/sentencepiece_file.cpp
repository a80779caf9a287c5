// Field numbers: sentencepiece_model.proto.
#include "altup/models/sentencepiece_file.h"

#include <cstring>

#include "altup/util/error.h"

namespace altup {
namespace {

// The fields of one message, in the order of the file. Each is a varint (number << 3 | kind), then
// its value.
class Message {
 public:
  enum Kind : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  Message(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    begin_ = at_;
    const uint64_t tag = varint();
    number_ = tag >> 3;
    kind_ = tag & 7;
    if (kind_ == kVarint) {
      integer_ = varint();
    } else if (kind_ == kBytes) {
      const uint64_t length = varint();
      value_ = take(length);
    } else if (kind_ == kFixed32 || kind_ == kFixed64) {
      value_ = take(kind_ == kFixed32 ? 4 : 8);
    } else {
      refuse();
    }
    return true;
  }

  size_t begin() const { return begin_; }
  size_t end() const { return at_; }
  bool is(uint64_t number, Kind kind) const { return number_ == number && kind_ == kind; }
  uint64_t integer() const { return integer_; }
  std::string_view bytes() const { return value_; }
  float real() const {
    float value = 0;
    std::memcpy(&value, value_.data(), sizeof value);
    return value;
  }
  Message message() const { return {value_, path_}; }

 private:
  [[noreturn]] void refuse() const {
    throw UserError(path_, "is no SentencePiece model; expected a file such as spiece.model");
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    refuse();
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse();
    const auto taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  std::string_view bytes_;
  const std::string& path_;
  size_t at_ = 0;
  size_t begin_ = 0;
  uint64_t number_ = 0;
  uint64_t kind_ = 0;
  uint64_t integer_ = 0;
  std::string_view value_;
};

SentencePieceFile::Piece read_piece(Message message) {
  SentencePieceFile::Piece piece;
  while (message.next()) {
    if (message.is(1, Message::kBytes)) piece.text = message.bytes();
    if (message.is(2, Message::kFixed32)) piece.score = message.real();
    if (message.is(3, Message::kVarint)) piece.type = message.integer();
  }
  return piece;
}

void read_trainer_spec(Message message, SentencePieceFile& file) {
  while (message.next()) {
    if (message.is(3, Message::kVarint)) file.model_type = message.integer();
    if (message.is(24, Message::kVarint)) file.whitespace_as_suffix = message.integer() != 0;
    if (message.is(35, Message::kVarint)) file.byte_fallback = message.integer() != 0;
  }
}

void read_normalizer_spec(Message message, SentencePieceFile& file) {
  while (message.next()) {
    if (message.is(2, Message::kBytes)) file.charsmap = message.bytes();
    if (message.is(3, Message::kVarint)) file.add_dummy_prefix = message.integer() != 0;
    if (message.is(4, Message::kVarint)) file.remove_extra_whitespaces = message.integer() != 0;
    if (message.is(5, Message::kVarint)) file.escape_whitespaces = message.integer() != 0;
  }
}

}  // namespace

SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& path) {
  SentencePieceFile file;
  Message message(bytes, path);
  while (message.next()) {
    if (message.is(1, Message::kBytes)) {
      auto piece = read_piece(message.message());
      piece.begin = message.begin();
      piece.end = message.end();
      file.pieces.push_back(std::move(piece));
    }
    if (message.is(2, Message::kBytes)) read_trainer_spec(message.message(), file);
    if (message.is(3, Message::kBytes)) read_normalizer_spec(message.message(), file);
  }
  if (file.pieces.empty()) {
    throw UserError(path, "is no SentencePiece model; expected a file such as spiece.model");
  }
  return file;
}

}  // namespace altup
