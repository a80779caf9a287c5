// Opinions of the demo world: reviews for the corpus, single remarks for the sentiment task. Both
// are made of the same words, and reviews end with a verdict, so that pre-training shows which
// adjectives go with which verdict.
#pragma once

#include <string>
#include <unordered_set>

#include "altup/util/random.h"
#include "trainers/demo_cast.h"

namespace altup {

/// One sentence that judges something, favourably or not. Only about half of these can be judged by
/// the adjectives alone: the rest negate them, or weigh one against another.
std::string draw_remark(bool positive, CounterRng& rng);
/// Remarks that belong to the sentiment task, so that the corpus must do without them.
using HeldOutRemarks = std::unordered_set<std::string>;
/// A paragraph about one inn, meal, play, … that ends with a verdict.
std::string draw_review(const Cast& cast, const HeldOutRemarks& held_out, CounterRng& rng);
/// A paragraph of single remarks, each called praise or a complaint.
std::string draw_guest_book(const Cast& cast, const HeldOutRemarks& held_out, CounterRng& rng);

}  // namespace altup
