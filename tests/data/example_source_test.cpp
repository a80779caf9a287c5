// Examples in memory: every one once an epoch, parts of a mixture by their weights, and a saved
// position that continues bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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
        all.push_back(batch.input_ids[static_cast<size_t>(row * batch.input_length)]);
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

}  // namespace
}  // namespace altup
