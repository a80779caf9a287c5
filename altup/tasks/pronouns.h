// Winograd sentences in T5's form: the pronoun stands between stars, and the model says what it
// stands for.
//
//   wsc: The fish ate the worm. *It* was tasty.   ->   the worm
//
// SuperGLUE's WSC gives the pronoun and a candidate. GLUE's WNLI gives a second sentence in which
// the candidate has taken the pronoun's place, from which T5 finds both. Either way the answer is
// "yes" where the model names the candidate (T5's preprocessors wsc_simple and wnli_simple, and its
// postprocessor wsc_simple).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace altup {

/// `text` with stars around the word at `word` (words are parted by single spaces). Where that word
/// is not `pronoun`, the nearest one that is counts; punctuation that clings to it is parted from
/// it: `"Good for him," he` -> `"Good for *him* ," he`. Nothing where no word is the pronoun.
std::optional<std::string> mark_pronoun(std::string_view text, std::string_view pronoun,
                                        int64_t word);

/// The candidate as the text has it, where the file's is a little off: the case of its first letter
/// by that of the text's word at `word`, a full stop at its end and line breaks removed. As it is
/// where that does not help (or it needs none).
std::string candidate_in_text(std::string_view candidate, std::string_view text, int64_t word);

struct MarkedPremise {
  std::string text;       ///< the premise with its pronoun between stars
  std::string candidate;  ///< what stands in its place in the hypothesis; "" where none is found
};

/// The pronoun of the premise that the hypothesis replaces: the one whose neighbours on both sides
/// are found next to each other in the hypothesis for the longest stretch, and the words between
/// them. Without a pronoun, the premise stays as it is.
MarkedPremise mark_wnli(std::string_view premise, std::string_view hypothesis);

/// Whether an answer names the candidate: without case and determiners, the words of one are all
/// among the words of the other, and both or neither have an apostrophe ("hat" is not "Bob's
/// hat"). Nothing where no word of the answer is left.
std::optional<bool> names_candidate(std::string_view answer, std::string_view candidate);

}  // namespace altup
