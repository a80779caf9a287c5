// Trains SentencePiece on what the project's own readers give, so that JSON lines and gzip work as
// they do in pre-training. The sample is drawn here, by the seed, and the number of threads is
// fixed, since partial sums depend on it: the same text and seed give the same model on every
// machine.
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <unordered_map>

#include "altup/data/reader.h"
#include "altup/data/tokenizer.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/random.h"
#include "altup/util/text.h"

namespace altup {
namespace {

/// SentencePiece passes over sentences of more than 4,192 bytes, so longer ones are cut into these.
constexpr size_t kSentenceBytes = 2048;

bool continues_character(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) == 0x80;
}

/// Where to cut `text` so that the front is at most kSentenceBytes: before the last space, else
/// between characters.
size_t sentence_end(std::string_view text) {
  if (text.size() <= kSentenceBytes) return text.size();
  const size_t space = text.rfind(' ', kSentenceBytes);
  if (space != std::string_view::npos && space > 0) return space;
  size_t end = kSentenceBytes;
  while (end > 1 && continues_character(text[end])) --end;
  return end;
}

/// Keeps `capacity` of all the sentences added, each with the same probability (reservoir
/// sampling).
class Sample {
 public:
  Sample(size_t capacity, uint64_t seed) : capacity_(capacity), rng_(seed) {}

  void add(std::string_view sentence) {
    ++seen_;
    if (sentences_.size() < capacity_) {
      sentences_.emplace_back(sentence);
    } else if (const uint64_t place = rng_.below(seen_); place < capacity_) {
      sentences_[place] = sentence;
    }
  }
  const std::vector<std::string>& sentences() const { return sentences_; }

 private:
  size_t capacity_;
  CounterRng rng_;
  uint64_t seen_ = 0;
  std::vector<std::string> sentences_;
};

void add_document(std::string_view document, Sample& sample) {
  for (const auto& line : split(document, '\n')) {
    for (std::string_view rest = trim(line); !rest.empty();) {
      const size_t end = sentence_end(rest);
      sample.add(rest.substr(0, end));
      rest = trim(rest.substr(end));
    }
  }
}

class SampleIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit SampleIterator(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return at_ == sentences_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return sentences_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  size_t at_ = 0;
};

/// What SentencePiece says, less the place in its source: "Internal: trainer_interface.cc(590)
/// [...] Vocabulary …".
std::string reason(const sentencepiece::util::Status& status) {
  const std::string message = status.message();
  const size_t condition = message.rfind("] ");
  return condition == std::string::npos ? message : message.substr(condition + 2);
}

std::string vocabulary_lines(const std::string& model) {
  sentencepiece::SentencePieceProcessor processor;
  if (const auto status = processor.LoadFromSerializedProto(model); !status.ok()) {
    throw std::runtime_error(str("SentencePiece: ", status.message()));
  }
  std::ostringstream lines;
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    lines << processor.IdToPiece(id) << '\t' << processor.GetScore(id) << '\n';
  }
  return std::move(lines).str();
}

}  // namespace

void train_tokenizer(const TokenizerTraining& training, const std::filesystem::path& output) {
  if (training.inputs.empty()) throw UserError("no text to train a tokenizer on; expected files");
  if (training.max_sentences < 1) {
    throw UserError(str("max_sentences is ", training.max_sentences, "; expected at least 1"));
  }
  Sample sample(static_cast<size_t>(training.max_sentences), training.seed);
  for (const auto& input : training.inputs) {
    DocumentReader reader(input, TextLayout::kParagraph);
    for (std::string document; reader.next(document);) add_document(document, sample);
  }
  if (sample.sentences().empty()) {
    throw UserError(training.inputs.front().string(), "holds no text to train a tokenizer on");
  }

  SampleIterator sentences(sample.sentences());
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "unigram"},
       {"vocab_size", std::to_string(training.vocab_size)},
       {"character_coverage", "0.9995"},
       {"pad_id", "0"},
       {"eos_id", "1"},
       {"unk_id", "2"},
       {"bos_id", "-1"},
       {"num_threads", "4"},
       {"minloglevel", "3"}},
      &sentences, &model);
  if (!status.ok()) {
    throw UserError(str("a tokenizer of ", training.vocab_size,
                        " pieces cannot be trained on this text: ", reason(status)));
  }
  std::filesystem::create_directories(output);
  write_file_atomic(output / "spiece.model", model);
  write_file_atomic(output / "spiece.vocab", vocabulary_lines(model));
}

}  // namespace altup
