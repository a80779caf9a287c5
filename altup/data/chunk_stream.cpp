#include "altup/data/chunk_stream.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "altup/data/source_state.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

ChunkStream::ChunkStream(std::vector<std::filesystem::path> files, TextLayout layout,
                         std::shared_ptr<const Tokenizer> tokenizer, int64_t chunk_length,
                         std::optional<uint64_t> shuffle_seed)
    : files_(std::move(files)),
      layout_(layout),
      tokenizer_(std::move(tokenizer)),
      chunk_length_(chunk_length),
      shuffle_seed_(shuffle_seed) {
  seek({});
}

int64_t ChunkStream::next(std::vector<int32_t>& tokens) {
  int64_t wanted = chunk_length_;
  while (wanted > 0) {
    const int64_t count = std::min(wanted, static_cast<int64_t>(ids_.size()) - position_.token);
    const auto begin = ids_.begin() + position_.token;
    tokens.insert(tokens.end(), begin, begin + count);
    position_.token += count;
    wanted -= count;
    if (wanted > 0 && !next_document()) break;
  }
  return chunk_length_ - wanted;
}

/// Moves on to the next document that has tokens; false at the epoch's end.
bool ChunkStream::next_document() {
  // Before an epoch's first document, nothing has been read of the file yet.
  int64_t read = ids_.empty() ? 0 : position_.document + 1;
  while (true) {
    while (reader_ != nullptr && reader_->next(document_)) {
      ids_ = tokenizer_->encode(document_);
      if (!ids_.empty()) {
        ids_.push_back(Tokenizer::kEos);
        position_.document = read;
        position_.token = 0;
        return true;
      }
      ++read;
    }
    if (position_.file + 1 >= static_cast<int64_t>(files_.size())) break;
    ++position_.file;
    read = 0;
    open_file();
  }
  // Nothing is left: a further next() comes here again.
  reader_.reset();
  ids_.clear();
  position_.token = 0;
  return false;
}

void ChunkStream::open_file() {
  const auto file = static_cast<size_t>(position_.file);
  reader_ = std::make_unique<DocumentReader>(files_[order_[file]], layout_);
}

void ChunkStream::seek(const Position& position) {
  const auto count = static_cast<uint32_t>(files_.size());
  if (position.epoch < 0 || position.file < 0 || position.file >= count || position.document < 0 ||
      position.token < 0) {
    throw UserError(str("the data position (file ", position.file, ", document ", position.document,
                        ", token ", position.token, ") is not one of these ", count, " files"));
  }
  if (shuffle_seed_) {
    order_ = random_permutation(count, draw(*shuffle_seed_, Draw::kFileOrder, position.epoch));
  } else {
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), 0U);
  }
  position_ = position;
  ids_.clear();
  open_file();
  if (position.token == 0) return;

  for (int64_t i = 0; i <= position.document; ++i) {
    if (!reader_->next(document_)) {
      throw UserError(files_[order_[static_cast<size_t>(position.file)]].string(),
                      str("has ", i, " documents; expected more than ", position.document,
                          ", as when the position was saved"));
    }
  }
  ids_ = tokenizer_->encode(document_);
  ids_.push_back(Tokenizer::kEos);
  if (position.token > static_cast<int64_t>(ids_.size())) {
    throw UserError(
        files_[order_[static_cast<size_t>(position.file)]].string(),
        str("document ", position.document, " has ", ids_.size(), " tokens; expected at least ",
            position.token, ", as when the position was saved"));
  }
}

}  // namespace altup
