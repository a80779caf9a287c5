// Examples in memory: every one once an epoch, parts of a mixture by their weights, and a saved
// position that continues bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "altup/data/pipeline.h"
#include "altup/util/error.h"
#include "tests/data/support.h"

namespace altup {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

std::vector<Example> numbered(int32_t count) {
  std::vector<Example> examples;
  for (int32_t i = 0; i < count; ++i) examples.push_back({{10 + i, 1}, {20 + i, 30, 1}});
  return examples;
}

TEST(Examples, EachEpochIsAnotherPermutation) {
  const auto source = make_example_source(numbered(10), 1, 1);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    std::vector<int64_t> order;
    for (int i = 0; i < 10; ++i) order.push_back(source->next().input_ids[0]);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], 10 + i);
  }
  EXPECT_EQ(orders.size(), 5);
}

TEST(Examples, ContinueBitForBitAcrossEpochs) {
  const auto source = make_example_source(numbered(10), 4, 1);
  for (int i = 0; i < 12; ++i) {
    const auto state = source->state();
    const auto expected = source->next();
    const auto resumed = make_example_source(numbered(10), 4, 1);
    resumed->restore(state);
    EXPECT_EQ(resumed->next(), expected);
    EXPECT_EQ(resumed->state(), source->state());
  }
}

TEST(Examples, OtherExamplesAndNoneAreErrors) {
  const auto state = make_example_source(numbered(10), 4, 1)->state();
  auto changed = numbered(10);
  changed[3].targets[0] = 99;
  const auto source = make_example_source(changed, 4, 1);
  EXPECT_THAT(message_of<UserError>([&] { source->restore(state); }), HasSubstr("examples = "));
  EXPECT_THAT(message_of<UserError>([] { make_example_source({}, 4, 1); }),
              HasSubstr("no examples"));
}

std::vector<MixturePart> large_and_small() {
  std::vector<MixturePart> parts(2);
  parts[0] = {"large", numbered(30), 30.0};
  parts[1] = {"small", {{{100, 1}, {1}}, {{101, 1}, {1}}, {{102, 1}, {1}}}, 10.0};
  return parts;
}

TEST(Mixtures, DrawPartsByWeightAndLeaveNoExampleOut) {
  const auto source = make_mixture_source(large_and_small(), 8, 1);
  std::map<int64_t, int> times;
  for (int i = 0; i < 500; ++i) {
    for (const auto& id : source->next().input_ids) {
      if (id != 1) ++times[id];
    }
  }
  int small = 0;
  for (int64_t id = 100; id < 103; ++id) small += times[id];
  // A quarter of 4,000 draws, within five standard deviations (27).
  EXPECT_NEAR(small, 1000, 137);
  // A part goes round: the numbers of times its examples came differ by one at most.
  for (int64_t id = 101; id < 103; ++id) EXPECT_NEAR(times[id], times[100], 1);
  for (int64_t id = 11; id < 40; ++id) EXPECT_NEAR(times[id], times[10], 1);
}

TEST(Mixtures, ContinueBitForBit) {
  const auto source = make_mixture_source(large_and_small(), 4, 7);
  for (int i = 0; i < 30; ++i) {
    const auto state = source->state();
    const auto expected = source->next();
    const auto resumed = make_mixture_source(large_and_small(), 4, 7);
    resumed->restore(state);
    EXPECT_EQ(resumed->next(), expected);
    EXPECT_EQ(resumed->state(), source->state());
  }
}

TEST(Mixtures, AnotherSeedOrBatchSize) {
  const auto ids = [](int64_t batch_size, uint64_t seed) {
    const auto source = make_mixture_source(large_and_small(), batch_size, seed);
    std::vector<int64_t> all;
    while (all.size() < 240) {
      const auto batch = source->next();
      for (int64_t row = 0; row < batch.size; ++row) {
        all.push_back(batch.input(row).front());
      }
    }
    return all;
  };
  EXPECT_EQ(ids(4, 1), ids(12, 1)) << "the order of the examples does not depend on the batches";
  EXPECT_NE(ids(4, 1), ids(4, 2));
}

TEST(Mixtures, AStateOfAnotherMixtureIsAnError) {
  const auto state = make_mixture_source(large_and_small(), 4, 1)->state();
  auto weights = large_and_small();
  weights[1].weight = 3.0;
  EXPECT_THAT(message_of<UserError>([&] { make_mixture_source(weights, 4, 1)->restore(state); }),
              HasSubstr("weight of small = 10.0"));
  auto fewer = large_and_small();
  fewer.pop_back();
  EXPECT_THAT(message_of<UserError>([&] { make_mixture_source(fewer, 4, 1)->restore(state); }),
              HasSubstr("expected a list of 1"));
  auto empty = large_and_small();
  empty[1].examples.clear();
  EXPECT_THAT(message_of<UserError>([&] { make_mixture_source(empty, 4, 1); }),
              HasSubstr("small: there are no examples to train on"));
}

// Inputs of 1 to 40 tokens, the first of which is the example's number.
std::vector<Example> of_many_lengths(int32_t count) {
  CounterRng rng(5);
  std::vector<Example> examples;
  for (int32_t i = 0; i < count; ++i) {
    examples.push_back({std::vector<int32_t>(1 + rng.below(40), 7), {8, 1}});
    examples.back().inputs.front() = 100 + i;
  }
  return examples;
}

std::unique_ptr<BatchSource> bucketed(int64_t batch_size, int64_t bucket_batches,
                                      uint64_t seed = 1) {
  std::vector<MixturePart> parts(2);
  parts[0] = {"large", of_many_lengths(50), 50.0};
  parts[1] = {"small", numbered(7), 7.0};
  return make_mixture_source(std::move(parts), batch_size, seed, bucket_batches);
}

std::vector<int64_t> first_ids(const Batch& batch) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < batch.size; ++i) ids.push_back(batch.input(i).front());
  return ids;
}

TEST(Buckets, ShareOutTheExamplesOfTheirBatchesByLength) {
  constexpr int64_t kBatch = 6;
  constexpr int64_t kBuckets = 5;
  const auto plain = bucketed(kBatch, 1);
  const auto source = bucketed(kBatch, kBuckets);
  std::set<std::vector<size_t>> orders;  // of the batches of a group, by their place in the sorting
  for (int group = 0; group < 6; ++group) {
    std::vector<int64_t> drawn;
    std::vector<int64_t> got;
    std::vector<std::pair<int64_t, int64_t>> ranges;  // shortest and longest of each batch
    for (int64_t i = 0; i < kBuckets; ++i) {
      std::ranges::copy(first_ids(plain->next()), std::back_inserter(drawn));
      const auto batch = source->next();
      ASSERT_EQ(batch.size, kBatch);
      std::ranges::copy(first_ids(batch), std::back_inserter(got));
      std::vector<int64_t> lengths;
      for (int64_t k = 0; k < kBatch; ++k) {
        lengths.push_back(static_cast<int64_t>(batch.input(k).size() + batch.target(k).size()));
      }
      const auto [shortest, longest] = std::ranges::minmax(lengths);
      ranges.emplace_back(shortest, longest);
    }
    EXPECT_TRUE(std::ranges::is_permutation(drawn, got)) << "other examples than were drawn";
    auto sorted = ranges;
    std::ranges::sort(sorted);
    for (size_t i = 1; i < sorted.size(); ++i) {
      EXPECT_LE(sorted[i - 1].second, sorted[i].first) << "batches overlap in length";
    }
    std::vector<size_t> order;
    for (const auto& range : ranges) {
      order.push_back(static_cast<size_t>(std::ranges::find(sorted, range) - sorted.begin()));
    }
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 3U) << "the batches of a group come in a drawn order";
}

TEST(Buckets, ContinueBitForBitFromEveryBatch) {
  const auto source = bucketed(4, 5);
  for (int i = 0; i < 40; ++i) {
    const auto state = source->state();
    const auto resumed = bucketed(4, 5);
    for (int warm = 0; warm < 3; ++warm) resumed->next();  // what it did before must not matter
    resumed->restore(state);
    EXPECT_EQ(resumed->state(), state);
    EXPECT_EQ(resumed->next(), source->next()) << i;
    EXPECT_EQ(resumed->state(), source->state());
  }
  EXPECT_NE(bucketed(4, 5, 1)->next(), bucketed(4, 5, 2)->next());
}

TEST(Buckets, APositionWithinAGroupFitsTheSameGroupsOnly) {
  const auto source = bucketed(4, 3);
  source->next();
  const auto within = source->state();
  EXPECT_THAT(message_of<UserError>([&] { bucketed(4, 1)->restore(within); }),
              HasSubstr("within 3 batches of 4 examples, shared out by length; expected the same "
                        "of this run, which has task.bucket_batches = 1 and train.batch_size = 4"));
  EXPECT_THAT(message_of<UserError>([&] { bucketed(2, 3)->restore(within); }),
              HasSubstr("train.batch_size = 2"));
  source->next();
  source->next();
  const auto between = source->state();
  const auto other = bucketed(6, 2);
  other->restore(between);
  const auto plain = bucketed(12, 1);
  plain->next();
  auto expected = first_ids(plain->next());
  auto got = first_ids(other->next());
  std::ranges::copy(first_ids(other->next()), std::back_inserter(got));
  EXPECT_TRUE(std::ranges::is_permutation(got, expected));
}

}  // namespace
}  // namespace altup
