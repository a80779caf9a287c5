// General rules of the demo world, stated as such in the corpus: the knowledge behind
// demo_inferences.h.
#pragma once

#include <string>

#include "altup/util/random.h"
#include "trainers/demo_cast.h"

namespace altup {

/// A paragraph of rules on one theme: places, trades, nature or the use of words.
std::string draw_rules(const Cast& cast, CounterRng& rng);

}  // namespace altup
