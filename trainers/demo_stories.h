// Paragraphs of the demo world that tell facts or events, with the questions that they answer.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "altup/util/random.h"
#include "trainers/demo_cast.h"

namespace altup {

struct ReadingQuestion {
  std::string question;
  std::string answer;
  size_t answer_start;  ///< offset of the answer in the paragraph, bytes
};

struct Reading {
  std::string text;
  std::vector<ReadingQuestion> questions;  ///< in the order of the text; none twice
};

/// A portrait of a resident or of a place, or an episode, of at most `max_sentences` (at least 3).
Reading draw_reading(const Cast& cast, size_t max_sentences, CounterRng& rng);
/// A letter from one person to another, in the first person.
std::string draw_letter(const Cast& cast, CounterRng& rng);
/// A talk of two people, in direct speech.
std::string draw_dialogue(const Cast& cast, CounterRng& rng);

}  // namespace altup
