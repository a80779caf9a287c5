// A small corpus that the tests write themselves, and a tokenizer trained on it once for the whole
// program.
#pragma once

#include <zlib.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "altup/data/tokenizer.h"
#include "altup/util/random.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"

namespace altup::testing {

/// `count` paragraphs of words, each one line, with blank lines between them; a function of `seed`.
/// Half of the words are common ones, the others are put together from syllables, so that a
/// vocabulary has something to learn.
inline std::string paragraphs(int count, uint64_t seed) {
  constexpr std::array<std::string_view, 12> kCommon = {"river",  "stone",  "winter", "quiet",
                                                        "silver", "window", "old",    "bridge",
                                                        "walked", "found",  "under",  "slowly"};
  constexpr std::array<std::string_view, 16> kSyllables = {"ba", "den", "fo",  "gri", "hul", "ka",
                                                           "li", "mor", "nup", "pe",  "ros", "sti",
                                                           "ta", "ven", "wo",  "zam"};
  CounterRng rng(seed);
  std::string text;
  for (int i = 0; i < count; ++i) {
    const uint64_t words = 8 + rng.below(24);
    for (uint64_t w = 0; w < words; ++w) {
      if (w > 0) text += ' ';
      if (rng.below(2) == 0) {
        text += kCommon[rng.below(kCommon.size())];
      } else {
        text += kSyllables[rng.below(kSyllables.size())];
        text += kSyllables[rng.below(kSyllables.size())];
      }
    }
    text += ".\n\n";
  }
  return text;
}

inline void write_gzip(const std::filesystem::path& path, const std::string& bytes,
                       const char* mode = "wb") {
  gzFile file = gzopen(path.c_str(), mode);
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

inline std::filesystem::path trained_model() {
  static const TempDir* dir = [] {
    static const TempDir made;
    train_tokenizer({.inputs = {made.write("corpus.txt", paragraphs(400, 1))}, .vocab_size = 120},
                    made / "tokenizer");
    return &made;
  }();
  return *dir / "tokenizer/spiece.model";
}

inline std::shared_ptr<const Tokenizer> small_tokenizer() {
  static const auto tokenizer = std::make_shared<const Tokenizer>(trained_model(), 100);
  return tokenizer;
}

/// The message of the UserError that `run` throws; "" where it throws none.
template <class Error, class Run>
std::string message_of(Run&& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace altup::testing
