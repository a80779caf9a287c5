// What follows from what in the demo world: pairs for the entailment task, and
// arguments in the corpus from which they can be learned.
#pragma once

#include <string>

#include "altup/util/random.h"
#include "trainers/demo_cast.h"

namespace altup {

/// A premise, a clause that follows from it and one that does not. The two clauses are drawn alike,
/// so that neither shows by itself which it is; both are without capital and full stop.
struct Inference {
  std::string premise;
  std::string follows;
  std::string does_not_follow;
  /// A sentence that sets the scene and decides nothing, or "".
  std::string beginning = "";

  /// What the reader is told: the beginning, where there is one, and the premise.
  std::string told() const { return beginning + (beginning.empty() ? "" : " ") + premise; }
};

Inference draw_inference(const Cast& cast, CounterRng& rng);
/// "Ada sold a lamp to Tam. This means that Tam bought a lamp from Ada."; also with questions, or
/// with what does not follow.
std::string draw_argument(const Inference& inference, CounterRng& rng);

}  // namespace altup
