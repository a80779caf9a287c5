// The official scorers are Python, so their lower() and \b follow Unicode. The C library knows the
// same tables under the name C.UTF-8; where a system lacks that locale, only ASCII letters are
// folded.
#include "altup/tasks/answer_text.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "altup/util/text.h"

namespace altup {

namespace {

locale_t unicode_locale() {
  static const locale_t locale = [] {
    const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return unicode != nullptr ? unicode : newlocale(LC_CTYPE_MASK, "C", nullptr);
  }();
  return locale;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

bool is_triviaqa_punctuation(char32_t c) {
  return is_ascii_punctuation(c) || c == U'\u2018' || c == U'\u2019' || c == U'\u00B4';
}

// Python's str.isspace, which str.split() goes by.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

// Python counts numerals of every kind among the letters and digits, C only those that are letters
// too: these are superscripts, subscripts, fractions and numbers in circles or brackets.
bool is_numeral(char32_t c) {
  return c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE) || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2150 && c <= 0x215F) || c == 0x2189 || (c >= 0x2460 && c <= 0x249B) ||
         (c >= 0x24EA && c <= 0x24FF) || (c >= 0x2776 && c <= 0x2793);
}

bool is_word(char32_t c) {
  const bool circled_letter = c >= 0x24B6 && c <= 0x24E9;  // a symbol to Python, a letter to C
  return c == '_' || is_numeral(c) ||
         (!circled_letter && iswalnum_l(static_cast<wint_t>(c), unicode_locale()) != 0);
}

// Code points of UTF-8 text. A byte that belongs to no character stands for itself: text was
// checked where it came in, and a scorer must not fail on it.
std::u32string decode_utf8(std::string_view text) {
  const auto is_tail = [](char c) { return (static_cast<uint8_t>(c) & 0xC0U) == 0x80; };
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t length = lead >= 0xF8   ? 1
                          : lead >= 0xF0 ? 4
                          : lead >= 0xE0 ? 3
                          : lead >= 0xC0 ? 2
                                         : 1;
    const std::string_view tail = text.substr(i + 1, length - 1);
    if (length == 1 || tail.size() + 1 < length ||
        !std::all_of(tail.begin(), tail.end(), is_tail)) {
      out.push_back(lead);
      ++i;
      continue;
    }
    char32_t c = lead & (0xFFU >> (length + 1));
    for (const char byte : tail) c = (c << 6) | (static_cast<uint8_t>(byte) & 0x3FU);
    out.push_back(c);
    i += length;
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto tail = [&](int shift) {
    out.push_back(static_cast<char>(0x80U | ((c >> shift) & 0x3FU)));
  };
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0U | (c >> 6)));
    tail(0);
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0U | (c >> 12)));
    tail(6), tail(0);
  } else {
    out.push_back(static_cast<char>(0xF0U | (c >> 18)));
    tail(12), tail(6), tail(0);
  }
}

bool is_cased(char32_t c) {
  const auto wide = static_cast<wint_t>(c);
  return iswlower_l(wide, unicode_locale()) != 0 || iswupper_l(wide, unicode_locale()) != 0;
}

// Marks that do not end a word where a sigma at its end is looked for (Unicode's Case_Ignorable, as
// far as they stand in running text).
bool is_case_ignorable(char32_t c) {
  constexpr std::u32string_view kMarks =
      U"'.:^`\u00A8\u00AD\u00AF\u00B4\u00B7\u00B8\u037A\u0385\u0387\u2018\u2019\u2024\u2027";
  const bool combining = (c >= 0x300 && c <= 0x36F) || (c >= 0x483 && c <= 0x489);
  const bool invisible =
      (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F);
  return combining || invisible || kMarks.find(c) != std::u32string_view::npos;
}

// A capital sigma becomes ς at the end of a word of two letters or more, σ elsewhere.
bool is_final_sigma(const std::u32string& text, size_t at) {
  size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return before > 0 && is_cased(text[before - 1]) &&
         (after == text.size() || !is_cased(text[after]));
}

// Python's str.lower(): one character for one, but for İ and the final sigma.
std::u32string lower(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == U'\u0130') {
      out += U"i\u0307";
    } else if (text[i] == U'\u03A3') {
      out += is_final_sigma(text, i) ? U'\u03C2' : U'\u03C3';
    } else {
      out += static_cast<char32_t>(towlower_l(static_cast<wint_t>(text[i]), unicode_locale()));
    }
  }
  return out;
}

bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

// Articles removed and words joined by single spaces.
std::string join_words(const std::u32string& text) {
  std::string out;
  bool pending_space = false;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_word(text[end])) ++end;
    if (is_article(std::u32string_view(text).substr(i, end - i)) ||
        (end == i && is_space(text[i]))) {
      pending_space =
          true;  // an article leaves a space: "2–a–2" has three parts, as in the official scorer
      i = std::max(end, i + 1);
      continue;
    }
    if (pending_space && !out.empty()) out.push_back(' ');
    pending_space = false;
    for (end = std::max(end, i + 1); i < end; ++i) append_utf8(out, text[i]);
  }
  return out;
}

// \s of T5's regular expressions (RE2).
bool is_regex_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

// pad_punctuation(text), and for each of its bytes the offset in `text` that it comes from.
struct PaddedText {
  std::string text;
  std::vector<size_t> origin;
};

PaddedText pad(std::string_view text) {
  PaddedText out;
  const auto put = [&](char c, size_t origin) {
    if (c == ' ' && !out.text.empty() && out.text.back() == ' ') return;
    out.text.push_back(c);
    out.origin.push_back(origin);
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (is_regex_space(text[i])) {
      put(' ', i);
    } else if (is_ascii_punctuation(static_cast<unsigned char>(text[i]))) {
      put(' ', i), put(text[i], i), put(' ', i);
    } else {
      put(text[i], i);
    }
  }
  return out;
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::u32string kept = lower(decode_utf8(text));
  kept.erase(std::remove_if(kept.begin(), kept.end(), is_ascii_punctuation), kept.end());
  return join_words(kept);
}

std::string normalize_triviaqa_answer(std::string_view text) {
  std::u32string spaced = lower(decode_utf8(text));
  std::replace_if(spaced.begin(), spaced.end(), is_triviaqa_punctuation, U' ');
  return join_words(spaced);
}

std::string pad_punctuation(std::string_view text) {
  return pad(text).text;
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (!is_regex_space(c)) {
      out.push_back(c);
    } else if (out.empty() || out.back() != ' ') {
      out.push_back(' ');
    }
  }
  return out;
}

std::string unpad_answer(std::string_view answer, std::string_view context) {
  const std::string_view trimmed = trim(answer);
  if (trimmed.empty()) return {};
  const PaddedText padded = pad(context);
  const std::string_view text = padded.text;
  for (size_t at = text.find(trimmed); at != std::string_view::npos;
       at = text.find(trimmed, at + 1)) {
    const size_t end = at + trimmed.size();
    const bool whole_words =
        (at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ');
    if (whole_words) {
      const size_t first = padded.origin[at];
      return std::string(context.substr(first, padded.origin[end - 1] + 1 - first));
    }
  }
  return std::string(trimmed);
}

}  // namespace altup
