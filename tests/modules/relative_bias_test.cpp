#include "altup/modules/relative_bias.h"

#include <gmock/gmock.h>

namespace altup {
namespace {

std::vector<int64_t> buckets_of(const std::vector<int64_t>& distances,
                                const RelativeBiasConfig& config) {
  std::vector<int64_t> buckets;
  for (const int64_t distance : distances) {
    buckets.push_back(relative_buckets(distance, 1, config).item<int64_t>());
  }
  return buckets;
}

const std::vector<int64_t> kDistances = {
    -1000, -128, -127, -100, -64, -63, -32, -31, -20, -17, -16, -15, -9, -8, -7, -1,  0,   1,  7,
    8,     11,   12,   15,   16,  22,  23,  31,  32,  45,  46,  63,  64, 90, 91, 127, 128, 500};

// The values are those of transformers' T5Attention._relative_position_bucket, 32 buckets, 128.
TEST(RelativeBuckets, AreThoseOfT5InTheEncoder) {
  EXPECT_THAT(buckets_of(kDistances, {.buckets = 32, .max_distance = 128, .bidirectional = true}),
              ::testing::ElementsAre(15, 15, 15, 15, 14, 13, 12, 11, 10, 10, 10, 9, 8, 8, 7, 1, 0,
                                     17, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30,
                                     31, 31, 31, 31));
}

TEST(RelativeBuckets, AreThoseOfT5InTheDecoder) {
  EXPECT_THAT(buckets_of(kDistances, {.buckets = 32, .max_distance = 128, .bidirectional = false}),
              ::testing::ElementsAre(31, 31, 31, 30, 26, 26, 21, 21, 17, 16, 16, 15, 9, 8, 7, 1, 0,
                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

// bias[h, q, k] is the weight of the bucket of k − q, also for queries that start further on.
TEST(RelativeBias, HasTheWeightOfEachDistance) {
  torch::manual_seed(1);
  const RelativeBiasConfig config{
      .num_heads = 3, .buckets = 8, .max_distance = 20, .bidirectional = true};
  RelativeBias bias(config);
  bias->reset_parameters(1.0);
  const int64_t queries = 4;
  const int64_t keys = 9;
  const int64_t first = 5;
  const auto values = bias(queries, keys, first);
  ASSERT_EQ(values.sizes(), (std::vector<int64_t>{1, 3, queries, keys}));
  for (int64_t q = 0; q < queries; ++q) {
    for (int64_t k = 0; k < keys; ++k) {
      const auto bucket = relative_buckets(k - (first + q), 1, config).item<int64_t>();
      EXPECT_TRUE(torch::equal(values[0].select(1, q).select(1, k), bias->weight[bucket]))
          << "query " << q << ", key " << k;
    }
  }
}

// Every third position: the bias is that of three times the distance.
TEST(RelativeBias, OfStridedPositionsIsThatOfTheirDistances) {
  torch::manual_seed(2);
  const RelativeBiasConfig config{
      .num_heads = 3, .buckets = 8, .max_distance = 20, .bidirectional = true};
  RelativeBias bias(config);
  bias->reset_parameters(1.0);
  const auto strided = bias->by_distance(-5, 11, 3);  // [H, 11]
  for (int64_t i = 0; i < 11; ++i) {
    EXPECT_TRUE(torch::equal(strided.select(1, i), bias->by_distance(3 * (i - 5), 1).select(1, 0)));
  }
  EXPECT_FALSE(torch::equal(strided, bias->by_distance(-5, 11)));
  EXPECT_EQ(relative_buckets(-5, 11, config, 3)[0].item<int64_t>(),
            relative_buckets(-15, 1, config)[0].item<int64_t>());
}

}  // namespace
}  // namespace altup
