// What can be told, as tables of patterns (see demo_grammar.h). A beat is one fact or event with
// many tellings and the questions that it answers; a plot is a sequence of beats that makes sense
// in this order.
//
// Slots of a portrait: {who} (name or pronoun), {name} (never a pronoun), {ask} (the name in a
// question), and the facts of the resident or place. Slots of an episode: {A} {B} {C} with .he .him
// .his, {who} for A, and what the episode needs (demo_stories.cpp fills them).
#pragma once

#include <vector>

namespace altup {

struct Question {
  const char* pattern;
  const char* answer;  ///< a pattern that the telling holds word for word; where it does not,
                       ///< nothing is asked
};

struct Beat {
  std::vector<const char*> tellings;
  std::vector<Question> questions;
  bool optional = false;
};

/// Beats about a resident, in any order.
const std::vector<Beat>& resident_beats();
/// Beats about a place, in any order, after the first.
const std::vector<Beat>& place_beats();
/// Episodes, each told in order; optional beats may be left out.
const std::vector<std::vector<Beat>>& episode_plots();

}  // namespace altup
