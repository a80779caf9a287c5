// A trained model with more blocks than it was trained with, and the same outputs: every block of
// the source stands r times in the target, and what reads the blocks side by side divides by r.
// Training goes on from there (Baykal et al. 2023 train from scratch; this is ours).
#pragma once

#include "altup/models/t5.h"

namespace altup {

/// UserError where convert_blocks() cannot keep the outputs: it goes from a dense model to any of
/// altup, recycled and sum, and from one of these to a multiple of its blocks, with all else equal.
/// With coefficients of the token all blocks have to start alike, altup.init = "identity".
void check_block_conversion(const T5Config& from, const T5Config& to);

/// Sets the weights of `target` so that its outputs are those of `source`, up to rounding.
void convert_blocks(const T5& source, T5& target);

}  // namespace altup
