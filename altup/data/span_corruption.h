// T5's pre-training objective (Raffel et al. 2020, section 3.1.4): random spans of a chunk are each
// replaced by one sentinel in the input; the target lists sentinel + span. Sentinels count down
// from <extra_id_0>; both sides end with eos. Numbers of noise tokens and spans, and the random
// segmentation, are those of T5's own preprocessor.
#pragma once

#include <cstdint>
#include <span>

#include "altup/data/batch.h"
#include "altup/util/random.h"

namespace altup {

struct SpanCorruption {
  double noise_density = 0.15;
  double mean_span_length = 3.0;
  /// T5 starts every chunk with text and ends it with noise; true rotates the mask by a random
  /// amount instead, though never into a span, so that the lengths stay.
  bool random_start = false;
};

struct ChunkLengths {
  int64_t chunk;   ///< tokens to cut from the text
  int64_t input;   ///< tokens of the corrupted input, eos included
  int64_t target;  ///< tokens of the target, eos included
};

/// Lengths that a chunk of `chunk` tokens gets.
ChunkLengths lengths_of_chunk(int64_t chunk, const SpanCorruption& config);
/// The longest chunk whose input is at most `input_length`: 512 -> {568, 512, 114}. As in T5, a
/// density of exactly 0.5 takes one token less where the target would be longer than the input.
ChunkLengths chunk_for_input(int64_t input_length, const SpanCorruption& config);

/// `first_sentinel` is the id of <extra_id_0>. Works for every length >= 1, though a chunk of one
/// token, which T5 leaves as it is, becomes noise altogether. Throws UserError where a chunk needs
/// more spans than there are `sentinels`.
Example corrupt_spans(std::span<const int32_t> tokens, const SpanCorruption& config,
                      int32_t first_sentinel, int64_t sentinels, int32_t eos, CounterRng rng);

}  // namespace altup
