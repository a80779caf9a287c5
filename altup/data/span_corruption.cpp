#include "altup/data/span_corruption.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

/// Rounds as T5 does (Python's and TensorFlow's round): halves go to the even number.
int64_t round_half_even(double value) {
  return static_cast<int64_t>(std::nearbyint(value));
}

struct Noise {
  int64_t tokens;
  int64_t spans;
};

/// T5's numbers: at least one token of each kind, at least one span. Where T5 itself would break
/// down we choose: a chunk of one token is noise, and there are no more spans than tokens to stand
/// between them.
Noise noise_of_chunk(int64_t length, const SpanCorruption& config) {
  if (length == 1) return {1, 1};
  const int64_t tokens = std::clamp<int64_t>(
      round_half_even(static_cast<double>(length) * config.noise_density), 1, length - 1);
  const int64_t spans = round_half_even(static_cast<double>(tokens) / config.mean_span_length);
  return {tokens, std::clamp<int64_t>(spans, 1, std::min(tokens, length - tokens))};
}

/// Cuts `items` into `segments` lengths, none zero, each way of doing so equally likely: segments -
/// 1 of the items - 1 gaps are chosen, one gap after the other (selection sampling).
std::vector<int64_t> random_segmentation(int64_t items, int64_t segments, CounterRng& rng) {
  std::vector<int64_t> lengths;
  lengths.reserve(static_cast<size_t>(segments));
  int64_t begin = 0;
  int64_t wanted = segments - 1;
  for (int64_t gap = 1; wanted > 0; ++gap) {
    if (rng.below(static_cast<uint64_t>(items - gap)) < static_cast<uint64_t>(wanted)) {
      lengths.push_back(gap - begin);
      begin = gap;
      --wanted;
    }
  }
  lengths.push_back(items - begin);
  return lengths;
}

/// One stretch of the chunk, text and then noise; either may be empty at the chunk's ends.
struct Stretch {
  int64_t text;
  int64_t noise;
};

/// Rotates to the left by a random amount, but never into the middle of a noise span: that would
/// make it two, and the input one token too long. The text that was cut off at the front comes
/// last.
void rotate_stretches(std::vector<Stretch>& stretches, int64_t length, const Noise& noise,
                      CounterRng& rng) {
  auto left =
      static_cast<int64_t>(rng.below(static_cast<uint64_t>(length - noise.tokens + noise.spans)));
  // A stretch allows its text + 1 beginnings: at each of its text's tokens, and at its noise.
  size_t first = 0;
  while (left > stretches[first].text) left -= stretches[first++].text + 1;
  std::rotate(stretches.begin(), stretches.begin() + static_cast<int64_t>(first), stretches.end());
  stretches.front().text -= left;
  stretches.push_back({left, 0});
}

}  // namespace

ChunkLengths lengths_of_chunk(int64_t chunk, const SpanCorruption& config) {
  const Noise noise = noise_of_chunk(chunk, config);
  return {chunk, chunk - noise.tokens + noise.spans + 1, noise.tokens + noise.spans + 1};
}

ChunkLengths chunk_for_input(int64_t input_length, const SpanCorruption& config) {
  const auto fits = [&](int64_t chunk) {
    return lengths_of_chunk(chunk, config).input <= input_length;
  };
  // The input never gets shorter as the chunk grows, so bisection finds what T5 finds by counting
  // up.
  int64_t low = std::max<int64_t>(1, input_length - 1);
  int64_t high = low + 1;
  while (fits(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  const ChunkLengths longest = lengths_of_chunk(low, config);
  const bool one_too_long = config.noise_density == 0.5 && longest.target > longest.input;
  return one_too_long ? lengths_of_chunk(low - 1, config) : longest;
}

Example corrupt_spans(std::span<const int32_t> tokens, const SpanCorruption& config,
                      int32_t first_sentinel, int64_t sentinels, int32_t eos, CounterRng rng) {
  const auto length = static_cast<int64_t>(tokens.size());
  if (length == 0) throw std::invalid_argument("corrupt_spans: the chunk is empty");
  const Noise noise = noise_of_chunk(length, config);
  if (noise.spans > sentinels) {
    throw UserError(str("a chunk of ", length, " tokens needs ", noise.spans,
                        " sentinels, but tokenizer.sentinels is ", sentinels,
                        "; expected more sentinels, a shorter data.input_length or a longer "
                        "data.mean_span_length"));
  }

  const auto noise_lengths = random_segmentation(noise.tokens, noise.spans, rng);
  std::vector<int64_t> text_lengths = {0};  // of the chunk that is one token of noise
  if (length > noise.tokens) {
    text_lengths = random_segmentation(length - noise.tokens, noise.spans, rng);
  }
  std::vector<Stretch> stretches;
  stretches.reserve(noise_lengths.size() + 1);
  for (size_t i = 0; i < noise_lengths.size(); ++i) {
    stretches.push_back({text_lengths[i], noise_lengths[i]});
  }
  if (config.random_start) rotate_stretches(stretches, length, noise, rng);

  Example example;
  example.inputs.reserve(static_cast<size_t>(length - noise.tokens + noise.spans + 1));
  example.targets.reserve(static_cast<size_t>(noise.tokens + noise.spans + 1));
  int32_t sentinel = first_sentinel;
  auto at = tokens.begin();
  for (const auto& [text, span] : stretches) {
    example.inputs.insert(example.inputs.end(), at, at + text);
    at += text;
    if (span == 0) continue;  // what a rotation left at the end
    example.inputs.push_back(sentinel);
    example.targets.push_back(sentinel);
    example.targets.insert(example.targets.end(), at, at + span);
    at += span;
    --sentinel;
  }
  example.inputs.push_back(eos);
  example.targets.push_back(eos);
  return example;
}

}  // namespace altup
