// Text from patterns. A pattern is a sentence with
//
//   {name}       a slot, replaced by its value
//   [x|y|z]      a choice, nestable; an alternative may be empty
//   a/an         the article that fits the word after it
//
// so that "[On {day}|One morning], {who} bought a/an {thing}." is one line of a table and many
// sentences.
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "altup/util/random.h"

namespace altup {

/// What fills the slots of a pattern. A few dozen at most, so a list that is searched.
class Slots {
 public:
  /// Adds or replaces.
  Slots& set(std::string_view name, std::string_view value);
  /// Throws std::out_of_range, naming the slot, where there is none.
  const std::string& at(std::string_view name) const;
  /// Sets `name` and what refers to that person: `name`.he, `name`.him and `name`.his.
  Slots& set_person(std::string_view name, std::string_view value, bool female);

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

/// `pattern` with choices made, slots filled and articles fitted; the first letter stays as it is.
std::string clause(std::string_view pattern, const Slots& slots, CounterRng& rng);
/// The same, beginning with a capital letter.
std::string sentence(std::string_view pattern, const Slots& slots, CounterRng& rng);
std::string capitalized(std::string text);
/// "a" or "an", whichever the sound of `word` asks for.
std::string_view article(std::string_view word);

/// One entry of a table (an array or a vector), each as likely as the others.
template <class Table>
const auto& pick(const Table& table, CounterRng& rng) {
  return std::data(table)[rng.below(std::size(table))];
}
/// 0..size-1 in random order.
inline std::vector<uint32_t> shuffled(size_t size, CounterRng& rng) {
  return random_permutation(static_cast<uint32_t>(size), CounterRng(rng.next_u64()));
}
/// True with probability `p`.
inline bool chance(double p, CounterRng& rng) {
  return rng.uniform() < p;
}

}  // namespace altup
