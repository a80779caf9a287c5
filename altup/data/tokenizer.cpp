#include "altup/data/tokenizer.h"

#include <sentencepiece_processor.h>

#include <charconv>
#include <optional>
#include <stdexcept>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

constexpr std::string_view kSentinelBegin = "<extra_id_";
constexpr std::string_view kWordBegin = "\u2581";  // how SentencePiece writes a space

// A protobuf message may be continued by appending fields: this says normalizer_spec {
// add_dummy_prefix: false }.
constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

/// A sentinel written out in a text.
struct Written {
  size_t begin;
  size_t end;
  int64_t number;
};

/// The first "<extra_id_n>" with n < sentinels at or after `from`. Only the plain spelling counts,
/// no leading zeros.
std::optional<Written> find_sentinel(std::string_view text, size_t from, int64_t sentinels) {
  for (size_t begin = text.find(kSentinelBegin, from); begin != std::string_view::npos;
       begin = text.find(kSentinelBegin, begin + 1)) {
    const char* digits = text.data() + begin + kSentinelBegin.size();
    const char* const text_end = text.data() + text.size();
    int64_t number = -1;
    const auto [digits_end, error] = std::from_chars(digits, text_end, number);
    if (error != std::errc() || digits_end == text_end || *digits_end != '>') continue;
    if (*digits == '-' || (*digits == '0' && digits_end - digits > 1)) continue;
    if (number < sentinels) {
      return Written{begin, static_cast<size_t>(digits_end + 1 - text.data()), number};
    }
  }
  return std::nullopt;
}

void load(sentencepiece::SentencePieceProcessor& processor, const std::string& bytes,
          const std::filesystem::path& path) {
  if (const auto status = processor.LoadFromSerializedProto(bytes); !status.ok()) {
    throw UserError(path.string(), str("is no SentencePiece model (", status.message(),
                                       "); expected a file such as spiece.model"));
  }
}

}  // namespace

struct Tokenizer::State {
  std::string bytes;
  int64_t sentinels;
  sentencepiece::SentencePieceProcessor processor;
  /// The same pieces, for text that goes on right after a sentinel and so does not begin a word.
  sentencepiece::SentencePieceProcessor continuation;

  void encode_plain(std::string_view text, bool after_sentinel, std::vector<int32_t>& ids) const {
    if (text.empty()) return;
    const bool begins_word = !after_sentinel || trim(text.substr(0, 1)).empty();
    std::vector<int> pieces;
    const auto status =
        (begins_word ? processor : continuation).Encode({text.data(), text.size()}, &pieces);
    if (!status.ok()) throw std::runtime_error(str("SentencePiece: ", status.message()));
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }
};

Tokenizer::Tokenizer(const std::filesystem::path& model, int64_t sentinels)
    : Tokenizer(from_bytes(read_file(model), sentinels, model)) {}

Tokenizer Tokenizer::from_bytes(std::string bytes, int64_t sentinels,
                                const std::filesystem::path& source) {
  Tokenizer tokenizer;
  tokenizer.state_ = std::make_unique<State>();
  State& state = *tokenizer.state_;
  state.bytes = std::move(bytes);
  state.sentinels = sentinels;
  auto& processor = state.processor;
  load(processor, state.bytes, source);
  load(state.continuation, state.bytes + std::string(kNoDummyPrefix), source);
  if (processor.pad_id() != kPad || processor.eos_id() != kEos || processor.unk_id() != kUnk) {
    throw UserError(source.string(),
                    str("has pad ", processor.pad_id(), ", eos ", processor.eos_id(), ", unk ",
                        processor.unk_id(), "; expected T5's ids: pad 0, eos 1, unk 2"));
  }
  return tokenizer;
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

int64_t Tokenizer::pieces() const {
  return state_->processor.GetPieceSize();
}
int64_t Tokenizer::sentinels() const {
  return state_->sentinels;
}
const std::string& Tokenizer::model_bytes() const {
  return state_->bytes;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  size_t at = 0;
  while (const auto written = find_sentinel(text, at, sentinels())) {
    state_->encode_plain(text.substr(at, written->begin - at), at > 0, ids);
    ids.push_back(sentinel(written->number));
    at = written->end;
  }
  state_->encode_plain(text.substr(at), at > 0, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  const auto& processor = state_->processor;
  std::string text;
  std::vector<int> run;  // pieces since the last sentinel
  const auto flush = [&] {
    if (run.empty()) return;
    // SentencePiece drops the space that begins a text, which after a sentinel is a real one.
    if (!text.empty() && processor.IdToPiece(run.front()).starts_with(kWordBegin)) text += ' ';
    text += processor.DecodeIds(run);
    run.clear();
  };
  for (const int32_t id : ids) {
    if (id < 0 || id == kPad || id == kEos || id >= vocab_size()) continue;
    if (id < pieces()) {
      run.push_back(id);
      continue;
    }
    flush();
    if (!text.empty()) text += ' ';
    text += str(kSentinelBegin, vocab_size() - 1 - id, '>');
  }
  flush();
  return text;
}

}  // namespace altup
