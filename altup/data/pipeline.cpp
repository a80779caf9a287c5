#include "altup/data/pipeline.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "altup/data/chunk_stream.h"
#include "altup/data/source_state.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {
namespace {

std::vector<std::filesystem::path> expand(const std::vector<std::string>& patterns) {
  std::vector<std::filesystem::path> files;
  for (const auto& pattern : patterns) {
    for (const auto& path : expand_glob(pattern)) {
      if (std::filesystem::is_directory(path)) {
        throw UserError(path.string(), str("is a directory; expected files, as in \"",
                                           (path / "*").string(), "\""));
      }
      if (!std::filesystem::is_regular_file(path)) {
        throw UserError(path.string(), "is no file; expected text that can be read again");
      }
      files.push_back(path);
    }
  }
  if (files.empty()) throw UserError("no data files were given; expected paths or patterns");
  return files;
}

/// Throws UserError where a whole chunk has more spans than the tokenizer has sentinels.
void check_sentinels(const ChunkLengths& lengths, const Tokenizer& tokenizer) {
  const int64_t spans = (lengths.input + lengths.target - lengths.chunk - 2) / 2;  // less two eos
  if (spans <= tokenizer.sentinels()) return;
  throw UserError(str("data.input_length gives chunks of ", lengths.chunk, " tokens with ", spans,
                      " masked spans; expected at most ", tokenizer.sentinels(),
                      ", the number of sentinels"));
}

/// Names without folders and sizes, so that a moved corpus is still the same one.
std::string corpus_fingerprint(const std::vector<std::filesystem::path>& files) {
  Fingerprint fingerprint;
  for (const auto& file : files) {
    fingerprint.add(file.filename().string());
    fingerprint.add(static_cast<int64_t>(std::filesystem::file_size(file)));
  }
  return fingerprint.hex();
}

std::string tokenizer_fingerprint(const Tokenizer& tokenizer) {
  Fingerprint fingerprint;
  fingerprint.add(tokenizer.model_bytes());
  fingerprint.add(tokenizer.sentinels());
  return fingerprint.hex();
}

/// Chunks that are shuffled together: up to shuffle_window of them, all of one epoch.
struct Window {
  ChunkStream::Position begin = {};  ///< of its first chunk
  int64_t first_chunk = 0;           ///< number of its first chunk in the epoch
  std::vector<int32_t> tokens = {};  ///< [chunks, chunk_length]
  std::vector<uint32_t> order = {};  ///< in which the chunks are taken
  bool complete = false;             ///< nothing is to be added; the rest is known
  ChunkStream::Position end = {};    ///< begin of the next window
  int64_t end_chunk = 0;             ///< first_chunk of the next window
};

class PretrainingSource final : public BatchSource {
 public:
  PretrainingSource(const DataConfig& config, std::shared_ptr<const Tokenizer> tokenizer,
                    const std::vector<std::filesystem::path>& files, int64_t batch_size,
                    uint64_t seed)
      : config_(config),
        tokenizer_(std::move(tokenizer)),
        batch_size_(batch_size),
        seed_(seed),
        chunk_length_(config.lengths().chunk),
        stream_(files, config.text_layout, tokenizer_, chunk_length_, seed),
        identity_{{"kind", "pretraining"},
                  {"seed", seed},
                  {"files", corpus_fingerprint(files)},
                  {"tokenizer", tokenizer_fingerprint(*tokenizer_)},
                  {"chunk_length", chunk_length_},
                  {"text_layout", enum_name(config.text_layout)},
                  {"shuffle_window", config.shuffle_window}} {
    std::vector<int32_t> first;
    if (const int64_t tokens = stream_.next(first); tokens < chunk_length_) {
      throw UserError(str("the training data has ", tokens, " tokens in all; expected at least ",
                          chunk_length_,
                          ", one chunk for data.input_length = ", config.input_length));
    }
    stream_.seek({});
  }

  Batch next() override {
    std::vector<Example> examples;
    examples.reserve(static_cast<size_t>(batch_size_));
    for (int64_t i = 0; i < batch_size_; ++i) examples.push_back(next_example());
    return collate(examples);
  }

  std::string state() const override {
    return write_state(identity_, {{"epoch", window_.begin.epoch},
                                   {"file", window_.begin.file},
                                   {"document", window_.begin.document},
                                   {"token", window_.begin.token},
                                   {"chunk", window_.first_chunk},
                                   {"place", place_}});
  }

  void restore(const std::string& state) override {
    const auto position = read_state(state, identity_);
    const auto place = static_cast<size_t>(number_in(position, "place"));
    ahead_ = Window{.begin = {.epoch = number_in(position, "epoch"),
                              .file = number_in(position, "file"),
                              .document = number_in(position, "document"),
                              .token = number_in(position, "token")},
                    .first_chunk = number_in(position, "chunk")};
    stream_.seek(ahead_.begin);
    next_window();
    if (place > window_.order.size()) {
      throw UserError(str("the saved data position is chunk ", place, " of a window of ",
                          window_.order.size(), "; expected the data that it was taken on"));
    }
    place_ = place;
  }

 private:
  Example next_example() {
    while (place_ == window_.order.size()) next_window();
    const int64_t chunk = window_.order[place_++];
    const auto begin = static_cast<size_t>(chunk * chunk_length_);
    const std::span<const int32_t> tokens(window_.tokens.data() + begin,
                                          static_cast<size_t>(chunk_length_));
    auto example = corrupt_spans(
        tokens, config_.corruption(), tokenizer_->sentinel(0), tokenizer_->sentinels(),
        Tokenizer::kEos,
        draw(seed_, Draw::kCorruption, window_.begin.epoch, window_.first_chunk + chunk));
    // One chunk in for one chunk out spreads the work of tokenising evenly over the batches.
    if (!ahead_.complete) read_ahead();
    return example;
  }

  /// Adds one chunk to the window after the current one.
  void read_ahead() {
    const int64_t count = stream_.next(ahead_.tokens);
    if (count < chunk_length_) {  // the epoch's last tokens, not a whole chunk, are left out
      ahead_.tokens.resize(ahead_.tokens.size() - static_cast<size_t>(count));
      ahead_.complete = true;
      ahead_.end = {.epoch = ahead_.begin.epoch + 1};
      ahead_.end_chunk = 0;
      stream_.seek(ahead_.end);
    } else if (chunks(ahead_) == config_.shuffle_window) {
      ahead_.complete = true;
      ahead_.end = stream_.position();
      ahead_.end_chunk = ahead_.first_chunk + config_.shuffle_window;
    }
  }

  void next_window() {
    while (!ahead_.complete) read_ahead();
    ahead_.order =
        random_permutation(static_cast<uint32_t>(chunks(ahead_)),
                           draw(seed_, Draw::kChunkOrder, ahead_.begin.epoch, ahead_.first_chunk));
    if (ahead_.order.empty() && ahead_.first_chunk == 0) {
      throw UserError("the training data holds no whole chunk any more; was it changed?");
    }
    window_ = std::exchange(ahead_, Window{.begin = ahead_.end, .first_chunk = ahead_.end_chunk});
    place_ = 0;
  }

  int64_t chunks(const Window& window) const {
    return static_cast<int64_t>(window.tokens.size()) / chunk_length_;
  }

  DataConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t batch_size_;
  uint64_t seed_;
  int64_t chunk_length_;
  ChunkStream stream_;  // stands where ahead_ ends
  nlohmann::json identity_;

  Window window_;     // what batches are taken from
  size_t place_ = 0;  // in window_.order
  Window ahead_;      // the one after it, being read
};

}  // namespace

void DataConfig::validate() const {
  const ChunkLengths lengths = this->lengths();
  if (target_length > 0 && target_length < lengths.target) {
    throw UserError(str("data.target_length is ", target_length, "; expected 0 or at least ",
                        lengths.target, ", which data.input_length = ", input_length,
                        " and the noise give"));
  }
}

std::unique_ptr<BatchSource> make_pretraining_source(const DataConfig& config,
                                                     std::shared_ptr<const Tokenizer> tokenizer,
                                                     const std::vector<std::string>& patterns,
                                                     int64_t batch_size, uint64_t seed) {
  check_sentinels(config.lengths(), *tokenizer);
  return std::make_unique<PretrainingSource>(config, std::move(tokenizer), expand(patterns),
                                             batch_size, seed);
}

std::vector<Batch> validation_batches(const DataConfig& config, const Tokenizer& tokenizer,
                                      const std::vector<std::string>& patterns, int64_t batch_size,
                                      int64_t max_examples) {
  constexpr uint64_t kSeed = 1;  // whatever the run's seed, so that runs can be compared

  const ChunkLengths lengths = config.lengths();
  check_sentinels(lengths, tokenizer);
  // The caller's tokenizer outlives the stream, which is gone when this returns.
  const std::shared_ptr<const Tokenizer> borrowed(std::shared_ptr<void>(), &tokenizer);
  const auto files = expand(patterns);
  ChunkStream stream(files, config.text_layout, borrowed, lengths.chunk, std::nullopt);

  std::vector<Batch> batches;
  std::vector<Example> examples;
  std::vector<int32_t> chunk;
  int64_t read = 0;
  int64_t number = 0;
  for (; max_examples == 0 || number < max_examples; ++number) {
    chunk.clear();
    read = stream.next(chunk);
    if (4 * read < lengths.chunk) break;
    examples.push_back(corrupt_spans(chunk, config.corruption(), tokenizer.sentinel(0),
                                     tokenizer.sentinels(), Tokenizer::kEos,
                                     draw(kSeed, Draw::kValidation, 0, number)));
    if (static_cast<int64_t>(examples.size()) == batch_size) {
      batches.push_back(collate(examples));
      examples.clear();
    }
  }
  if (!examples.empty()) batches.push_back(collate(examples));
  const auto reached = static_cast<size_t>(stream.position().file) + 1;
  if (number == max_examples && number > 0 && reached < files.size()) {
    log_warning("validation takes its first ", number, " chunks, which end in ",
                files[reached - 1].string(), "; ", files.size() - reached, " of ", files.size(),
                " files are not reached (train.validation_examples = 0 reads all)");
  }
  if (batches.empty()) {
    throw UserError(str("the validation data has ", read, " tokens; expected at least ",
                        (lengths.chunk + 3) / 4, ", a quarter of a chunk"));
  }
  return batches;
}

}  // namespace altup
