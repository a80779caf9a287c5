// The text of answers: the official normalisers of SQuAD and TriviaQA, T5's spacing of punctuation,
// and the way back from the one spelling to the other.
#pragma once

#include <string>
#include <string_view>

namespace altup {

/// The official SQuAD v1.1 normaliser: lower case, ASCII punctuation removed, the words a, an and
/// the removed, words joined by single spaces. Case and the borders of words are Unicode's, as in
/// the official Python.
std::string normalize_answer(std::string_view text);

/// The official TriviaQA normaliser: as SQuAD's, but a punctuation mark becomes a space ("U.S." is
/// "u s", not "us"), and ‘ ’ ´ are marks, too.
std::string normalize_triviaqa_answer(std::string_view text);

/// T5's spelling for question answering: a space before and after each ASCII punctuation mark, then
/// each run of white space as one space: "the U.S. (1990)" -> "the U . S . ( 1990 ) ".
std::string pad_punctuation(std::string_view text);

/// Each run of white space as one space.
std::string collapse_spaces(std::string_view text);

/// The span of `context` that pad_punctuation(context) spells as `answer`; `answer` itself,
/// trimmed, where there is none. "U . S ." in "the U.S. Army" gives "U.S.", which is what the
/// official answers are compared with.
std::string unpad_answer(std::string_view answer, std::string_view context);

}  // namespace altup
