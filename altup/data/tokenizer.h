// SentencePiece with T5's sentinels: ids [0, pieces) are the model's, the `sentinels` ids after
// them are <extra_id_N-1> … <extra_id_0>, so that <extra_id_0> is the last (32,099 for the T5
// vocabulary).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "altup/util/fields.h"

namespace altup {

/// [tokenizer]
struct TokenizerConfig {
  std::string model;        ///< path of a SentencePiece file
  int64_t sentinels = 100;  ///< extra ids after the pieces

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"model", "SentencePiece file"}, self.model);
    visit(Field{"sentinels", "extra ids after the pieces", 1, 10000}, self.sentinels);
  }
};

/// Immutable and safe to use from several threads.
class Tokenizer {
 public:
  /// Throws UserError where `model` is missing or no SentencePiece file, or lacks pad = 0, eos = 1
  /// and unk = 2.
  Tokenizer(const std::filesystem::path& model, int64_t sentinels);
  /// The same from the bytes of a file; `source` names them in messages.
  static Tokenizer from_bytes(std::string bytes, int64_t sentinels,
                              const std::filesystem::path& source);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Ids of `text` without eos. Written-out sentinels ("<extra_id_0>") become their ids; all else
  /// is SentencePiece's.
  std::vector<int32_t> encode(std::string_view text) const;
  /// Text of `ids`: pad, eos and ids past the vocabulary are left out, sentinels are written out.
  std::string decode(std::span<const int32_t> ids) const;

  static constexpr int32_t kPad = 0;
  static constexpr int32_t kEos = 1;
  static constexpr int32_t kUnk = 2;
  int64_t pieces() const;
  int64_t sentinels() const;
  int64_t vocab_size() const { return pieces() + sentinels(); }
  /// Id of <extra_id_n>; n in [0, sentinels).
  int32_t sentinel(int64_t n) const { return static_cast<int32_t>(vocab_size() - 1 - n); }
  /// The SentencePiece file's bytes, to be saved beside a checkpoint.
  const std::string& model_bytes() const;

 private:
  struct State;
  Tokenizer() = default;
  std::unique_ptr<State> state_;
};

struct TokenizerTraining {
  std::vector<std::filesystem::path> inputs;  ///< text or JSON lines, also gzipped
  int64_t vocab_size = 32000;                 ///< pieces, control symbols included, sentinels not
  uint64_t seed = 1;
  int64_t max_sentences = 1'000'000;  ///< sampled from the input where it has more
};

/// Trains a unigram model with T5's ids (pad 0, eos 1, unk 2, no bos, byte fallback off) and writes
/// `output`/spiece.model and spiece.vocab. Throws UserError where the text is too small for the
/// vocabulary.
void train_tokenizer(const TokenizerTraining& training, const std::filesystem::path& output);

}  // namespace altup
