#include "altup/tasks/pronouns.h"

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "altup/util/text.h"

namespace altup {

namespace {

constexpr std::string_view kPunctuation = ".,?!";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// ASCII only: Winograd sentences are English, and other letters compare as they stand.
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool is_letter(char c) {
  return lower(c) >= 'a' && lower(c) <= 'z';
}

bool ends_in_punctuation(std::string_view text) {
  return !text.empty() && kPunctuation.find(text.back()) != std::string_view::npos;
}

// A word of the premise or the hypothesis: what is compared (lower case, without one punctuation
// mark at its end), and its place in the sentence.
struct Word {
  std::string clean;
  size_t begin = 0;
  size_t length = 0;
};

std::vector<Word> clean_words(std::string_view sentence) {
  std::vector<Word> words;
  for (size_t begin = 0; begin < sentence.size();) {
    const size_t end = std::min(sentence.find(' ', begin), sentence.size());
    std::string_view clean = sentence.substr(begin, end - begin);
    if (ends_in_punctuation(clean)) clean.remove_suffix(1);
    if (!clean.empty()) words.push_back({lower(clean), begin, end - begin});
    begin = end + 1;
  }
  return words;
}

std::string join_clean(const std::vector<Word>& words, size_t begin, size_t end) {
  std::string out;
  for (size_t i = begin; i < end; ++i) {
    if (i > begin) out += ' ';
    out += words[i].clean;
  }
  return out;
}

// How many of the words from `at` on stand in `hypothesis` as one stretch.
size_t longest_after(const std::vector<Word>& words, size_t at, const std::string& hypothesis) {
  size_t count = 0;
  while (at + count < words.size() &&
         hypothesis.find(join_clean(words, at, at + count + 1)) != std::string::npos) {
    ++count;
  }
  return count;
}

// How many of the words before `at` do. As in T5, both sides are compared with their words (not
// their letters) turned round.
size_t longest_before(const std::vector<Word>& words, size_t at, const std::string& hypothesis) {
  size_t count = 0;
  const auto turn = [](const std::string& text) {
    std::vector<std::string> parts = split(text, ' ');
    std::reverse(parts.begin(), parts.end());
    return join(parts, " ");
  };
  const std::string turned = turn(hypothesis);
  while (count < at &&
         turned.find(turn(join_clean(words, at - count - 1, at))) != std::string::npos) {
    ++count;
  }
  return count;
}

// What stands in `hypothesis` between `before` and `after`, either of which may be empty; failing
// that, from its start up to `after`, or from `before` to its end.
std::string between(const std::string& hypothesis, const std::string& before,
                    const std::string& after) {
  size_t begin = 0;
  bool found_before = before.empty();
  if (!found_before) {
    const size_t at = hypothesis.find(before + " ");
    found_before = at != std::string::npos && at + before.size() + 1 < hypothesis.size();
    if (found_before) begin = at + before.size() + 1;
  }
  const size_t end = after.empty() ? hypothesis.size() : hypothesis.rfind(" " + after);
  const bool found_after = end != std::string::npos && end > 0;
  if (found_before && found_after && end > begin) return hypothesis.substr(begin, end - begin);
  if (found_after) return hypothesis.substr(0, end);
  return found_before ? hypothesis.substr(begin) : "";
}

// Where the stretch begins too early, at the start of the hypothesis, what counts begins at its
// last article.
std::string from_last_article(const std::string& stretch) {
  const std::vector<std::string> words = split(stretch, ' ');
  size_t first = 0;
  for (const std::string_view article : {"a", "an", "the"}) {
    const auto found = std::find(words.begin(), words.end(), article);
    if (found != words.end()) {
      first = std::max(first, static_cast<size_t>(found - words.begin()));
    }
  }
  return join({words.begin() + static_cast<int64_t>(first), words.end()}, " ");
}

// The place in `sentence` of a stretch of clean words, each of which may have a punctuation mark at
// its end there; "" where there is none.
std::string as_written(const std::string& stretch, std::string_view sentence) {
  const std::string text = lower(sentence);
  const std::vector<std::string> words = split(stretch, ' ');
  for (size_t begin = 0; begin < text.size(); ++begin) {
    size_t at = begin;
    bool matches = true;
    for (size_t i = 0; i < words.size() && matches; ++i) {
      if (i > 0) matches = at < text.size() && text[at++] == ' ';
      matches = matches && text.compare(at, words[i].size(), words[i]) == 0;
      if (!matches) break;
      at += words[i].size();
      if (at < text.size() && kPunctuation.find(text[at]) != std::string_view::npos) ++at;
    }
    if (matches) return std::string(sentence.substr(begin, at - begin));
  }
  return "";
}

// The candidate as the hypothesis writes it: without punctuation and the possessive at its end,
// which the pronoun may ask for, but the answer does not.
std::string tidy_candidate(const std::string& stretch, std::string_view hypothesis) {
  if (stretch.empty()) return "";
  std::string candidate = as_written(from_last_article(stretch), hypothesis);
  if (ends_in_punctuation(candidate)) candidate.pop_back();
  if (candidate.ends_with('\'')) return candidate.substr(0, candidate.size() - 1);
  if (candidate.ends_with("'s")) return candidate.substr(0, candidate.size() - 2);
  return candidate;
}

bool is_wnli_pronoun(const std::string& word) {
  constexpr std::array<std::string_view, 9> kPronouns = {"he",  "she",   "they", "it", "her",
                                                         "his", "their", "them", "him"};
  return std::find(kPronouns.begin(), kPronouns.end(), word) != kPronouns.end();
}

// The words of an answer that count: lower case, without determiners.
std::vector<std::string> counting_words(std::string_view text) {
  static const std::set<std::string> kDeterminers = {
      "a",    "an",   "few", "her",   "his",   "each", "every", "many",  "much",  "my",  "our",
      "some", "that", "the", "their", "these", "this", "those", "which", "whose", "your"};
  std::vector<std::string> words;
  for (auto& word : split(lower(trim(text)), ' ')) {
    if (!word.empty() && !kDeterminers.contains(word)) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

std::optional<std::string> mark_pronoun(std::string_view text, std::string_view pronoun,
                                        int64_t word) {
  std::vector<std::string> words = split(text, ' ');
  const auto count = static_cast<int64_t>(words.size());
  if (pronoun.empty()) return {};
  word = std::clamp<int64_t>(word, 0, count - 1);
  // The pronoun, and behind it nothing that would make another word of it.
  const auto fits = [&](int64_t at) {
    if (at < 0 || at >= count) return false;
    const std::string& candidate = words[static_cast<size_t>(at)];
    return candidate == pronoun ||
           (candidate.starts_with(pronoun) && !is_letter(candidate[pronoun.size()]) &&
            candidate[pronoun.size()] != '\'');
  };
  for (int64_t distance = 0; distance < count; ++distance) {
    for (const int64_t at : {word + distance, word - distance}) {
      if (!fits(at)) continue;
      std::string& found = words[static_cast<size_t>(at)];
      const std::string rest = found.substr(pronoun.size());
      found = str("*", pronoun, "*", rest.empty() ? "" : " ", rest);
      return join(words, " ");
    }
  }
  return {};
}

std::string candidate_in_text(std::string_view candidate, std::string_view text, int64_t word) {
  const std::vector<std::string> words = split(text, ' ');
  if (text.find(candidate) != std::string_view::npos || candidate.empty() || word < 0 ||
      word >= static_cast<int64_t>(words.size()) || words[static_cast<size_t>(word)].empty()) {
    return std::string(candidate);
  }
  std::string mended(candidate);
  const char wanted = words[static_cast<size_t>(word)].front();
  if (lower(wanted) == lower(mended.front())) mended.front() = wanted;
  while (mended.ends_with('.')) mended.pop_back();
  std::replace(mended.begin(), mended.end(), '\n', ' ');
  return text.find(mended) != std::string_view::npos ? mended : std::string(candidate);
}

MarkedPremise mark_wnli(std::string_view premise, std::string_view hypothesis) {
  const std::vector<Word> words = clean_words(premise);
  const std::vector<Word> other_words = clean_words(hypothesis);
  const std::string other = join_clean(other_words, 0, other_words.size());
  size_t best = words.size();
  size_t best_before = 0;
  size_t best_after = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    if (!is_wnli_pronoun(words[i].clean)) continue;
    const size_t before = longest_before(words, i, other);
    const size_t after = longest_after(words, i + 1, other);
    if (best == words.size() || before + after > best_before + best_after) {
      best = i;
      best_before = before;
      best_after = after;
    }
  }
  if (best == words.size()) return {std::string(premise), ""};

  const Word& pronoun = words[best];
  std::string_view written = premise.substr(pronoun.begin, pronoun.length);
  const std::string mark = ends_in_punctuation(written) ? str(" ", written.back()) : "";
  if (!mark.empty()) written.remove_suffix(1);
  MarkedPremise marked;
  marked.text = str(premise.substr(0, pronoun.begin), "*", written, "*", mark,
                    premise.substr(pronoun.begin + pronoun.length));
  if (best_before + best_after > 0) {
    marked.candidate = tidy_candidate(between(other, join_clean(words, best - best_before, best),
                                              join_clean(words, best + 1, best + 1 + best_after)),
                                      hypothesis);
  }
  return marked;
}

std::optional<bool> names_candidate(std::string_view answer, std::string_view candidate) {
  const std::vector<std::string> said = counting_words(answer);
  const std::vector<std::string> meant = counting_words(candidate);
  if (said.empty()) return {};
  if (meant.empty()) return false;
  const auto has_apostrophe = [](const std::vector<std::string>& words) {
    return std::any_of(words.begin(), words.end(), [](const std::string& word) {
      return word.find('\'') != std::string::npos;
    });
  };
  if (has_apostrophe(said) != has_apostrophe(meant)) return false;
  const std::set<std::string> said_set(said.begin(), said.end());
  const std::set<std::string> meant_set(meant.begin(), meant.end());
  return std::includes(said_set.begin(), said_set.end(), meant_set.begin(), meant_set.end()) ||
         std::includes(meant_set.begin(), meant_set.end(), said_set.begin(), said_set.end());
}

}  // namespace altup
