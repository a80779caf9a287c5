// A recursive expander of patterns: choices first, since a choice may hold slots and other choices;
// articles last, since they look at the word that came out.
#include "trainers/demo_grammar.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <stdexcept>

#include "altup/util/text.h"

namespace altup {
namespace {

constexpr std::string_view kArticleMark = "/an ";  // after an a, or an A where a sentence begins

/// The position of the bracket that closes the one at `open`.
size_t closing_bracket(std::string_view pattern, size_t open) {
  int depth = 0;
  for (size_t i = open; i < pattern.size(); ++i) {
    if (pattern[i] == '[') ++depth;
    if (pattern[i] == ']' && --depth == 0) return i;
  }
  throw std::invalid_argument(str("unclosed [ in the pattern \"", pattern, "\""));
}

/// The parts of a choice, split at the bars that are not inside a nested choice.
std::vector<std::string_view> alternatives(std::string_view choice) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < choice.size(); ++i) {
    if (choice[i] == '[') ++depth;
    if (choice[i] == ']') --depth;
    if (choice[i] == '|' && depth == 0) {
      parts.push_back(choice.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(choice.substr(begin));
  return parts;
}

void expand(std::string_view pattern, const Slots& slots, CounterRng& rng, std::string& out) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '[') {
      const size_t end = closing_bracket(pattern, i);
      expand(pick(alternatives(pattern.substr(i + 1, end - i - 1)), rng), slots, rng, out);
      i = end;
    } else if (pattern[i] == '{') {
      const size_t end = pattern.find('}', i);
      out += slots.at(pattern.substr(i + 1, end - i - 1));
      i = end;
    } else {
      out += pattern[i];
    }
  }
}

void fit_articles(std::string& text) {
  for (size_t at = text.find(kArticleMark); at != std::string::npos;
       at = text.find(kArticleMark, at)) {
    const std::string_view word = std::string_view(text).substr(at + kArticleMark.size());
    text.replace(at, kArticleMark.size(), article(word) == "an" ? "n " : " ");
  }
}

}  // namespace

Slots& Slots::set(std::string_view name, std::string_view value) {
  const auto found = std::find_if(values_.begin(), values_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found != values_.end()) {
    found->second = value;
  } else {
    values_.emplace_back(name, value);
  }
  return *this;
}

const std::string& Slots::at(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
  }
  throw std::out_of_range(str("a pattern asks for the slot {", name, "}, which has no value"));
}

Slots& Slots::set_person(std::string_view name, std::string_view value, bool female) {
  set(name, value);
  set(str(name, ".he"), female ? "she" : "he");
  set(str(name, ".him"), female ? "her" : "him");
  return set(str(name, ".his"), female ? "her" : "his");
}

std::string clause(std::string_view pattern, const Slots& slots, CounterRng& rng) {
  std::string text;
  expand(pattern, slots, rng, text);
  fit_articles(text);
  return text;
}

std::string sentence(std::string_view pattern, const Slots& slots, CounterRng& rng) {
  return capitalized(clause(pattern, slots, rng));
}

std::string capitalized(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string_view article(std::string_view word) {
  // Letters decide, but for the words of the lexicon that sound unlike they look.
  constexpr std::array<std::string_view, 2> kConsonantSound = {"use", "one"};
  constexpr std::array<std::string_view, 2> kVowelSound = {"hour", "honest"};
  const auto begins_word = [&](std::string_view start) { return word.starts_with(start); };
  if (std::any_of(kConsonantSound.begin(), kConsonantSound.end(), begins_word)) return "a";
  if (std::any_of(kVowelSound.begin(), kVowelSound.end(), begins_word)) return "an";
  constexpr std::string_view kVowels = "aeiouAEIOU";
  return !word.empty() && kVowels.find(word[0]) != std::string_view::npos ? "an" : "a";
}

}  // namespace altup
