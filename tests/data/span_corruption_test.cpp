// The pair rebuilds the chunk, whatever is in it; lengths and numbers are T5's; each segmentation
// is equally likely.
#include "altup/data/span_corruption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "altup/util/error.h"
#include "tests/data/support.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kFirstSentinel = 32099;
constexpr int32_t kEos = 1;
constexpr int64_t kSentinels = 100;

std::vector<int32_t> counting(int64_t length, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Example corrupt(const std::vector<int32_t>& tokens, const SpanCorruption& config, uint64_t seed) {
  return corrupt_spans(tokens, config, kFirstSentinel, 10000, kEos, CounterRng(seed));
}

/// Puts each sentinel's span from the target in the sentinel's place in the input. Sentinels have
/// to come in order.
std::vector<int32_t> reconstruct(const Example& example) {
  EXPECT_EQ(example.inputs.back(), kEos);
  EXPECT_EQ(example.targets.back(), kEos);
  std::vector<int32_t> tokens;
  int32_t sentinel = kFirstSentinel;
  auto target = example.targets.begin();
  const auto target_end = example.targets.end() - 1;
  for (auto input = example.inputs.begin(); input != example.inputs.end() - 1; ++input) {
    if (*input != sentinel) {
      tokens.push_back(*input);
      continue;
    }
    EXPECT_EQ(*target, sentinel);
    --sentinel;
    const auto end = std::find(++target, target_end, sentinel);
    EXPECT_NE(target, end) << "an empty span";
    tokens.insert(tokens.end(), target, end);
    target = end;
  }
  EXPECT_EQ(target, target_end) << "the target has spans that the input does not name";
  return tokens;
}

TEST(SpanCorruption, LengthsAreThoseOfT5) {
  // From an independent evaluation of T5's formula.
  const auto check = [](int64_t input, double density, double mean, int64_t chunk, int64_t target) {
    const auto lengths = chunk_for_input(input, {density, mean, false});
    EXPECT_EQ(lengths.chunk, chunk) << input;
    EXPECT_EQ(lengths.input, input);
    EXPECT_EQ(lengths.target, target) << input;
  };
  check(512, 0.15, 3, 568, 114);
  check(128, 0.15, 3, 141, 29);
  check(256, 0.15, 3, 284, 58);
  check(1024, 0.15, 3, 1137, 229);
  check(64, 0.15, 3, 70, 14);
  check(32, 0.15, 3, 34, 8);
  check(512, 0.3, 10, 700, 232);
  check(100, 0.25, 1.5, 108, 46);
  check(512, 0.5, 3, 766, 512);  // T5's exception: 767 would give a target of 513
}

TEST(SpanCorruption, HalvesAreRoundedToTheEvenNumber) {
  // 10 * 0.15 = 1.5 -> 2 noise tokens; 30 * 0.15 = 4.5 -> 4, whose 4 / 3 spans are 1.
  EXPECT_EQ(lengths_of_chunk(10, {}).target, 2 + 1 + 1);
  EXPECT_EQ(lengths_of_chunk(30, {}).target, 4 + 1 + 1);
  // 6 noise tokens in spans of 4: 1.5 -> 2 spans. 10 in spans of 4: 2.5 -> 2.
  EXPECT_EQ(lengths_of_chunk(60, {0.1, 4, false}).target, 6 + 2 + 1);
  EXPECT_EQ(lengths_of_chunk(100, {0.1, 4, false}).target, 10 + 2 + 1);
}

TEST(SpanCorruption, ThePairRebuildsTheChunkAtEveryLength) {
  for (const bool random_start : {false, true}) {
    for (const double density : {0.001, 0.15, 0.5, 0.9, 0.999}) {
      for (int64_t length = 1; length <= 130; ++length) {
        const SpanCorruption config{density, 3, random_start};
        const auto tokens = counting(length);  // ids 0, 1 and 2 are among them
        const auto example = corrupt(tokens, config, static_cast<uint64_t>(length));
        ASSERT_EQ(reconstruct(example), tokens) << length << " at " << density;
        const auto lengths = lengths_of_chunk(length, config);
        ASSERT_EQ(example.inputs.size(), lengths.input) << length << " at " << density;
        ASSERT_EQ(example.targets.size(), lengths.target) << length << " at " << density;
      }
    }
  }
}

TEST(SpanCorruption, ChunkOf568GivesExactly512And114) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (const bool random_start : {false, true}) {
      const auto example = corrupt(counting(568), {0.15, 3, random_start}, seed);
      ASSERT_EQ(example.inputs.size(), 512);
      ASSERT_EQ(example.targets.size(), 114);
    }
  }
}

TEST(SpanCorruption, StartsWithTextAndEndsWithNoise) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto example = corrupt(counting(100, 5), {}, seed);
    EXPECT_EQ(example.inputs.front(), 5);
    EXPECT_GT(example.inputs[example.inputs.size() - 2], kFirstSentinel - 100);  // a sentinel
    EXPECT_EQ(example.targets.front(), kFirstSentinel);
  }
}

TEST(SpanCorruption, RandomStartMasksEveryPlaceEqually) {
  constexpr int64_t kLength = 40;
  constexpr int kDraws = 20000;
  const SpanCorruption config{0.25, 2.5, true};  // 10 tokens in 4 spans
  std::vector<int> masked(kLength);
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    for (const int32_t id : corrupt(counting(kLength), config, seed).targets) {
      if (id != kEos && id < kLength) ++masked[static_cast<size_t>(id)];
    }
  }
  // A span is never cut, so the ends are masked a little more rarely: where the cut meets a span's
  // beginning or end, 4 of the 34 places to cut at. (Token 1 cannot be told from eos here.)
  EXPECT_NEAR(masked.front() / double{kDraws}, 4.0 / 34, 0.01);
  EXPECT_NEAR(masked.back() / double{kDraws}, 4.0 / 34, 0.01);
  for (size_t i = 8; i < kLength - 8; ++i) EXPECT_NEAR(masked[i] / double{kDraws}, 0.25, 0.03);
}

TEST(SpanCorruption, EverySegmentationIsEquallyLikely) {
  // 10 tokens, 5 of them noise in 3 spans: 6 ways to cut the noise, 6 to cut the text.
  constexpr int kDraws = 36000;
  std::map<std::vector<int32_t>, int> seen;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    ++seen[corrupt(counting(10, 10), {0.5, 5.0 / 3, false}, seed).inputs];
  }
  EXPECT_EQ(seen.size(), 36);
  for (const auto& [inputs, count] : seen) EXPECT_NEAR(count, 1000, 160);  // five deviations
}

TEST(SpanCorruption, DependsOnTheKeyAlone) {
  const auto tokens = counting(568);
  EXPECT_EQ(corrupt(tokens, {}, 3).inputs, corrupt(tokens, {}, 3).inputs);
  EXPECT_NE(corrupt(tokens, {}, 3).inputs, corrupt(tokens, {}, 4).inputs);
}

TEST(SpanCorruption, AChunkOfOneTokenIsNoise) {
  const auto example = corrupt({7}, {}, 1);
  EXPECT_THAT(example.inputs, ElementsAre(kFirstSentinel, kEos));
  EXPECT_THAT(example.targets, ElementsAre(kFirstSentinel, 7, kEos));
}

TEST(SpanCorruption, TooFewSentinelsAreAnError) {
  const auto tokens = counting(3000);  // 450 noise tokens in 150 spans
  const auto message = testing::message_of<UserError>(
      [&] { corrupt_spans(tokens, {}, kFirstSentinel, kSentinels, kEos, CounterRng(1)); });
  EXPECT_THAT(message, HasSubstr("needs 150 sentinels, but tokenizer.sentinels is 100"));
}

TEST(Collate, PutsExamplesBehindEachOtherAndKeepsTheLengths) {
  const auto batch = collate({{{5, 0, 1}, {7, 1}}, {{6, 1}, {8, 9, 0, 1}}});
  EXPECT_EQ(batch.size, 2);
  EXPECT_THAT(batch.input_ids, ElementsAre(5, 0, 1, 6, 1));
  EXPECT_THAT(batch.target_ids, ElementsAre(7, 1, 8, 9, 0, 1));
  EXPECT_THAT(batch.input_lengths, ElementsAre(3, 2));  // the pad id inside a text counts
  EXPECT_THAT(batch.target_lengths, ElementsAre(2, 4));
  EXPECT_EQ(batch.input_tokens(), 5);
  EXPECT_EQ(batch.target_tokens(), 6);
  EXPECT_THAT(batch.input(0), ElementsAre(5, 0, 1));
  EXPECT_THAT(batch.input(1), ElementsAre(6, 1));
  EXPECT_THAT(batch.target(0), ElementsAre(7, 1));
  EXPECT_THAT(batch.target(1), ElementsAre(8, 9, 0, 1));
}

}  // namespace
}  // namespace altup
