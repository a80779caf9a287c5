#include "altup/util/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

namespace altup {
namespace {

using ::testing::ElementsAre;

std::vector<uint32_t> first(CounterRng rng, int count) {
  std::vector<uint32_t> drawn;
  for (int i = 0; i < count; ++i) drawn.push_back(rng.next_u32());
  return drawn;
}

TEST(CounterRng, DrawsWhatAnIndependentPhiloxDraws) {
  // By a separate implementation that passes the published known answers of Philox 4x32-10. These
  // numbers decide how saved runs continue: they must never change.
  EXPECT_THAT(first(CounterRng(1), 6),
              ElementsAre(0x6a249ee9, 0xdd51fa18, 0x8f51e136, 0x9aabeb2b, 0xf1888ac2, 0x917b34f3));
  EXPECT_THAT(first(CounterRng(42, 7, (5ULL << 32) + 9), 6),
              ElementsAre(0x355bcf19, 0x8c655fb1, 0xe0b993d4, 0xc42922f4, 0x69b6d0db, 0x9403df5c));
}

TEST(CounterRng, EachPartOfTheKeyCounts) {
  const std::set<std::vector<uint32_t>> different = {
      first(CounterRng(1, 2, 3), 4), first(CounterRng(2, 2, 3), 4),
      first(CounterRng(1, 3, 3), 4), first(CounterRng(1, 2, 4), 4),
      first(CounterRng(2, 1, 3), 4), first(CounterRng(1, 2, (1ULL << 32) + 3), 4)};
  EXPECT_EQ(different.size(), 6);
}

TEST(CounterRng, BelowIsUniformAndInRange) {
  CounterRng rng(3);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(rng.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.below(1), 0);
}

TEST(CounterRng, BelowHasNoModuloBias) {
  // Of 2^64 numbers modulo 3 * 2^62, those under 2^62 would come twice as often as the others.
  constexpr uint64_t kBound = 3ULL << 62;
  CounterRng rng(4);
  int low = 0;
  for (int i = 0; i < 30000; ++i) low += rng.below(kBound) < kBound / 3 ? 1 : 0;
  EXPECT_NEAR(low, 10000, 500);
}

TEST(CounterRng, UniformFillsTheUnitInterval) {
  CounterRng rng(5);
  double sum = 0;
  double lowest = 1;
  double highest = 0;
  for (int i = 0; i < 100000; ++i) {
    const double drawn = rng.uniform();
    sum += drawn;
    lowest = std::min(lowest, drawn);
    highest = std::max(highest, drawn);
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
  EXPECT_GE(lowest, 0.0);
  EXPECT_LT(lowest, 0.001);
  EXPECT_LT(highest, 1.0);
  EXPECT_GT(highest, 0.999);
}

TEST(RandomPermutation, HoldsEveryNumberOnce) {
  auto order = random_permutation(1000, CounterRng(1));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order, random_permutation(1000, CounterRng(1)));
  EXPECT_NE(order, random_permutation(1000, CounterRng(2)));
  std::sort(order.begin(), order.end());
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
  EXPECT_TRUE(random_permutation(0, CounterRng(1)).empty());
  EXPECT_THAT(random_permutation(1, CounterRng(1)), ElementsAre(0));
}

TEST(RandomPermutation, EveryOrderIsEquallyLikely) {
  std::array<int, 6> counts{};
  for (uint64_t seed = 0; seed < 60000; ++seed) {
    const auto order = random_permutation(3, CounterRng(seed));
    ++counts.at(order[0] * 2 + (order[1] > order[2] ? 1 : 0));
  }
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
}

}  // namespace
}  // namespace altup
