// The corpus as one stream of tokens an epoch, cut into chunks: documents are tokenised and joined
// with eos, chunks run across documents and files. A chunk always ends before the next document is
// read, so that a place in the stream is four numbers, however long the documents are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "altup/data/reader.h"
#include "altup/data/tokenizer.h"

namespace altup {

class ChunkStream {
 public:
  /// The first token not yet taken. `token` is 0 at the beginning of an epoch only.
  struct Position {
    int64_t epoch = 0;
    int64_t file = 0;      ///< place in the epoch's order of the files
    int64_t document = 0;  ///< of the file
    int64_t token = 0;     ///< of the document
  };

  /// Files are permuted by (shuffle_seed, epoch), or read in their order where there is no seed.
  ChunkStream(std::vector<std::filesystem::path> files, TextLayout layout,
              std::shared_ptr<const Tokenizer> tokenizer, int64_t chunk_length,
              std::optional<uint64_t> shuffle_seed);

  /// Appends the next chunk and returns its length; less than chunk_length, or 0, is the epoch's
  /// end.
  int64_t next(std::vector<int32_t>& tokens);
  Position position() const { return position_; }
  /// Throws UserError where the files have no such place.
  void seek(const Position& position);

 private:
  bool next_document();
  void open_file();

  std::vector<std::filesystem::path> files_;
  TextLayout layout_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t chunk_length_;
  std::optional<uint64_t> shuffle_seed_;

  Position position_;
  std::vector<uint32_t> order_;             // of the files in this epoch
  std::unique_ptr<DocumentReader> reader_;  // of the file at position_
  std::string document_;
  std::vector<int32_t> ids_;  // of the document at position_, eos included; empty before the first
};

}  // namespace altup
