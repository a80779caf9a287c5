// The operators of decoding against their twins: the few-row projection, attention to a cache, and
// the choice of the likeliest ids.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "altup/ops/ops.h"
#include "altup/ops/reference.h"
#include "tests/ops/twins.h"

namespace altup {
namespace {

using testing::expect_near;
using testing::label;

// --- linear_few_rows --------------------------------------------------------------------------

struct Weights {
  at::Tensor weight;
  at::Tensor scale = {};
};

Weights random_weights(int64_t out, int64_t in, at::ScalarType type) {
  if (type != at::kChar) return {at::randn({out, in}).to(type)};
  return {at::randint(-127, 128, {out, in}).to(at::kChar), at::rand({out}) + 0.5};
}

at::Tensor exact(const at::Tensor& x, const Weights& weights) {
  const auto y = at::matmul(x.to(at::kDouble), weights.weight.to(at::kDouble).t());
  return weights.scale.defined() ? y * weights.scale.to(at::kDouble) : y;
}

/// With int8 weights each x is rounded to a whole multiple of its row's step: a product may be off
/// by half a step times its weight, besides what fp32 rounds.
void expect_near_but_for_rounding(const at::Tensor& y, const at::Tensor& x, const Weights& weights,
                                  double largest, const std::string& what) {
  const auto expected = exact(x, weights);
  const auto step = x.to(at::kDouble).abs().amax(1, /*keepdim=*/true) / largest;  // [rows, 1]
  const auto bound =
      0.5 * step * weights.weight.to(at::kDouble).abs().sum(1) * weights.scale.to(at::kDouble) +
      1e-6 * expected.abs().max();  // [rows, out]
  EXPECT_TRUE(((y.to(at::kDouble) - expected).abs() <= bound).all().item<bool>()) << what;
}

/// The largest whole number that x is rounded to, for rows of `in`: the sums stay below 2^31.
double largest_of(int64_t in) {
  return in == 2048 ? 8191 : 32767;
}

constexpr at::ScalarType kWeightTypes[] = {at::kFloat, at::kBFloat16, at::kChar, at::kDouble};

TEST(LinearFewRows, IsTheProductWhateverTheSizes) {
  at::manual_seed(1);
  for (const auto type : kWeightTypes) {
    for (const int64_t in : {1, 7, 16, 100, 512}) {
      for (const int64_t out : {1, 2, 8, 11, 130}) {
        const auto weights = random_weights(out, in, type);
        for (const int64_t rows : {1, 2, 3, 4, 5, 9, 33}) {
          const auto x = at::randn({rows, in});
          const auto y = linear_few_rows(x, weights.weight, weights.scale);
          EXPECT_EQ(y.scalar_type(), at::kFloat);
          const auto what = label(rows, type) + ", in " + std::to_string(in);
          if (type == at::kChar) {
            expect_near_but_for_rounding(y, x, weights, largest_of(in), what);
          } else {
            expect_near(y, exact(x, weights), testing::tolerance_of(at::kFloat), what);
          }
        }
      }
    }
  }
}

TEST(LinearFewRows, TakesAnyShapeStrideAndTypeOfX) {
  at::manual_seed(2);
  const auto weights = random_weights(6, 10, at::kBFloat16);
  const auto x = at::randn({10, 3, 2}).permute({2, 1, 0});  // [2, 3, 10]
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const auto typed = x.to(type);
    const auto y = linear_few_rows(typed, weights.weight);
    EXPECT_EQ(y.scalar_type(), type == at::kDouble ? at::kDouble : at::kFloat);
    expect_near(y, exact(typed, weights), testing::tolerance_of(at::kFloat), label(10, type));
  }
  EXPECT_EQ(linear_few_rows(at::randn({0, 10}), weights.weight).sizes(), at::IntArrayRef({0, 6}));
  EXPECT_EQ(linear_few_rows(at::randn({10}), weights.weight).sizes(), at::IntArrayRef({6}));
}

// Bit for bit: an output may not depend on what else is in its batch.
TEST(LinearFewRows, GivesARowTheSameNumbersInAnyCompanyAndOnAnyThreads) {
  at::manual_seed(3);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kChar}) {
    for (const int64_t in : {90, 512}) {
      const auto weights = random_weights(301, in, type);
      const auto x = at::randn({37, in});
      const auto together = linear_few_rows(x, weights.weight, weights.scale);
      for (const int64_t rows : {1, 2, 3, 6, 7, 36}) {
        const auto some = linear_few_rows(x.narrow(0, 1, rows), weights.weight, weights.scale);
        EXPECT_TRUE(at::equal(some, together.narrow(0, 1, rows))) << label(rows, type);
      }
      const int threads = at::get_num_threads();
      for (const int count : {1, 3}) {
        at::set_num_threads(count);
        EXPECT_TRUE(at::equal(linear_few_rows(x, weights.weight, weights.scale), together));
      }
      at::set_num_threads(threads);
    }
  }
}

// Whole numbers: what int8 computes is exactly this.
TEST(LinearFewRows, Int8RoundsEachRowToTheBitsThatItsSumsLeave) {
  at::manual_seed(8);
  for (const int64_t in : {5, 512, 2048}) {
    const auto weights = random_weights(9, in, at::kChar);
    const auto x =
        at::randn({6, in}) * at::tensor({1e-20F, 1.0F, 1e20F, 3.0F, 0.0F, 1.0F}).unsqueeze(1);
    const auto step = x.to(at::kDouble).abs().amax(1, /*keepdim=*/true) / largest_of(in);
    const auto in_steps = (x.to(at::kDouble) / step).nan_to_num();  // a row of zeros
    const auto rounded = in_steps.round();
    const auto sums = at::matmul(rounded, weights.weight.to(at::kDouble).t());
    EXPECT_LT(sums.abs().max().item<double>(), 2147483648.0);
    const auto expected = sums * step * weights.scale.to(at::kDouble);
    // A number that fp32 cannot tell from one halfway between two may be rounded either way.
    const auto halfway = ((in_steps - in_steps.floor() - 0.5).abs() < 0.01).to(at::kDouble);
    const auto bound = at::matmul(halfway, weights.weight.to(at::kDouble).abs().t()) * step *
                           weights.scale.to(at::kDouble) +
                       1e-6 * expected.abs().amax(1, /*keepdim=*/true);
    const auto y = linear_few_rows(x, weights.weight, weights.scale);
    EXPECT_TRUE(((y.to(at::kDouble) - expected).abs() <= bound).all().item<bool>()) << in;
  }
  // The largest sum there can be, and what is not finite.
  const auto most = at::full({2, 512}, 7.0F);
  const auto weight = at::full({1, 512}, -128, at::kChar);
  const auto y = linear_few_rows(most, weight, at::ones({1}));
  expect_near(y, at::full({2, 1}, -7.0 * 512 * 128, at::kDouble), 1e-6, "the largest sum");
  most[1][300] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(
      linear_few_rows(most, weight, at::ones({1})).isfinite().logical_not()[1].item<bool>());
}

// Bit for bit, wherever a thread's share of the columns ends.
TEST(LinearFewRows, SeveralWeightsGiveWhatEachGives) {
  at::manual_seed(9);
  const auto x = at::randn({5, 130});
  for (const auto type : kWeightTypes) {
    std::vector<at::Tensor> weights, scales;
    for (const int64_t out : {700, 1, 33}) {
      const auto made = random_weights(out, 130, type);
      weights.push_back(made.weight);
      if (made.scale.defined()) scales.push_back(made.scale);
    }
    const int threads = at::get_num_threads();
    for (const int count : {1, 2, 3}) {
      at::set_num_threads(count);
      const auto y = linear_few_rows(x, weights, scales);
      ASSERT_EQ(y.size(), weights.size());
      for (size_t i = 0; i < weights.size(); ++i) {
        const auto alone =
            linear_few_rows(x, weights[i], scales.empty() ? at::Tensor() : scales[i]);
        EXPECT_TRUE(at::equal(y[i], alone)) << label(count, type) << ", weight " << i;
      }
    }
    at::set_num_threads(threads);
  }
  EXPECT_TRUE(linear_few_rows(x, std::vector<at::Tensor>()).empty());
}

TEST(LinearFewRows, RefusesWhatDoesNotFit) {
  const auto x = at::randn({2, 4});
  EXPECT_THROW(linear_few_rows(x, at::randn({3, 5})), c10::Error);
  EXPECT_THROW(linear_few_rows(x, at::zeros({3, 4}, at::kChar)), c10::Error);
  EXPECT_THROW(linear_few_rows(x, at::zeros({3, 4}, at::kChar), at::ones({4})), c10::Error);
  EXPECT_THROW(linear_few_rows(x, at::randn({3, 4}), at::ones({3})), c10::Error);
  const auto weight = at::randn({3, 4}).requires_grad_();
  EXPECT_THROW(linear_few_rows(x, weight).sum().backward(), c10::Error);
  const std::vector<at::Tensor> mixed = {at::randn({3, 4}), at::zeros({3, 4}, at::kChar)};
  EXPECT_THROW(linear_few_rows(x, mixed), c10::Error);
  EXPECT_THROW(linear_few_rows(x, {at::randn({3, 4})}, {at::ones({3}), at::ones({3})}), c10::Error);
}

// --- cached_attention -------------------------------------------------------------------------

struct Cache {
  at::Tensor keys, values;  // [N, H, capacity, d]
};

Cache random_cache(int64_t rows, int64_t heads, int64_t capacity, int64_t width,
                   at::ScalarType type) {
  const auto make = [&] { return at::randn({rows, heads, capacity, width}).to(type); };
  return {make(), make()};
}

// The formula, one query at a time.
at::Tensor by_definition(const at::Tensor& q, const Cache& cache, int64_t length,
                         const at::Tensor& sources, const at::Tensor& bias,
                         const at::Tensor& key_bias) {
  const auto out = at::empty({q.size(0), q.size(1), q.size(2), q.size(3)}, at::kDouble);
  const auto source = [&](int64_t r, int64_t t) {
    return sources.dim() == 1 ? sources[r].item<int64_t>() : sources[r][t].item<int64_t>();
  };
  for (int64_t r = 0; r < q.size(0); ++r) {
    for (int64_t i = 0; i < q.size(1); ++i) {
      for (int64_t h = 0; h < q.size(2); ++h) {
        std::vector<at::Tensor> scores, values;
        for (int64_t t = 0; t < length; ++t) {
          const int64_t n = source(r, t);
          auto score = at::dot(q[r][i][h].to(at::kDouble), cache.keys[n][h][t].to(at::kDouble));
          if (bias.defined()) score = score + bias[0][h][i][t];
          if (key_bias.defined()) score = score + key_bias[n][t];
          scores.push_back(score);
          values.push_back(cache.values[n][h][t].to(at::kDouble));
        }
        out[r][i][h] = at::matmul(at::softmax(at::stack(scores), 0), at::stack(values));
      }
    }
  }
  return out.flatten(2);
}

TEST(CachedAttention, IsAttentionToTheRowsThatSourcesName) {
  at::manual_seed(4);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    for (const int64_t width : {3, 20, 64, 100}) {
      for (const int64_t length : {1, 5, 12}) {
        for (const int64_t queries : {1, 2}) {
          const auto cache = random_cache(4, 2, 12, width, type);
          const auto q = at::randn({5, queries, 2, width}) / 4;
          const auto by_token = at::randint(4, {5, 12}, at::kLong);
          const auto bias = at::randn({1, 2, queries, length});
          const auto key_bias = at::randn({4, length});
          const auto expect = [&](const at::Tensor& sources, const at::Tensor& a,
                                  const at::Tensor& b) {
            const auto exact = by_definition(q, cache, length, sources, a, b);
            const auto what = label(width, type) + ", length " + std::to_string(length);
            const auto out = cached_attention(q, cache.keys, cache.values, length, sources, a, b);
            EXPECT_EQ(out.scalar_type(), at::kFloat);
            expect_near(out, exact, testing::tolerance_of(at::kFloat), what);
            expect_near(
                reference::cached_attention(q, cache.keys, cache.values, length, sources, a, b),
                exact, testing::tolerance_of(at::kFloat), what + ", the twin");
          };
          expect(by_token, bias, {});
          expect(by_token.select(1, 0).contiguous(), {}, key_bias);
        }
      }
    }
  }
}

TEST(CachedAttention, DoesNotReadBehindTheLengthAndSurvivesHiddenTokens) {
  auto cache = random_cache(1, 1, 8, 16, at::kFloat);
  cache.keys.narrow(2, 3, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  cache.values.narrow(2, 3, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  const auto sources = at::zeros({1}, at::kLong);
  const auto hidden = at::full({1, 3}, -1e9);
  const auto out =
      cached_attention(at::randn({1, 1, 1, 16}), cache.keys, cache.values, 3, sources, {}, hidden);
  // No visible key: the mean of all.
  expect_near(out.flatten(), cache.values[0][0].narrow(0, 0, 3).to(at::kDouble).mean(0),
              testing::tolerance_of(at::kFloat), "hidden");
}

TEST(CachedAttention, GivesARowTheSameNumbersInAnyCompany) {
  at::manual_seed(5);
  const auto cache = random_cache(6, 3, 40, 64, at::kFloat);
  const auto q = at::randn({6, 1, 3, 64}) / 8;
  const auto sources = at::randint(6, {6, 40}, at::kLong);
  const auto together = cached_attention(q, cache.keys, cache.values, 33, sources);
  for (int64_t r = 0; r < 6; ++r) {
    const auto alone =
        cached_attention(q.narrow(0, r, 1), cache.keys, cache.values, 33, sources.narrow(0, r, 1));
    EXPECT_TRUE(at::equal(alone[0], together[r])) << r;
  }
}

TEST(CachedAttention, RefusesWhatDoesNotFit) {
  const auto cache = random_cache(2, 2, 8, 4, at::kFloat);
  const auto q = at::randn({3, 1, 2, 4});
  const auto attend = [&](const at::Tensor& queries, int64_t length, const at::Tensor& sources) {
    cached_attention(queries, cache.keys, cache.values, length, sources);
  };
  const auto sources = at::zeros({3}, at::kLong);
  EXPECT_NO_THROW(attend(q, 8, sources));
  EXPECT_THROW(attend(q, 9, sources), c10::Error);
  EXPECT_THROW(attend(q, 0, sources), c10::Error);
  EXPECT_THROW(attend(q, 8, sources.narrow(0, 0, 2)), c10::Error);
  EXPECT_THROW(attend(q, 8, at::zeros({3, 7}, at::kLong)), c10::Error);
  EXPECT_THROW(attend(q, 8, sources.to(at::kInt)), c10::Error);
  EXPECT_THROW(attend(q, 8, sources + 2), c10::IndexError);  // the cache has rows 0 and 1
  EXPECT_THROW(attend(q, 8, sources - 1), c10::IndexError);
  auto late = at::zeros({3, 8}, at::kLong);
  late[2][7] = 2;
  EXPECT_NO_THROW(attend(q, 7, late));
  EXPECT_THROW(attend(q, 8, late), c10::IndexError);
  EXPECT_THROW(attend(at::randn({3, 1, 2, 5}), 8, sources), c10::Error);
}

TEST(AppendToCache, WritesBehindTheLengthInTheTypeOfTheCache) {
  at::manual_seed(6);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const auto cache = random_cache(4, 2, 9, 5, type);
    const auto before = cache.keys.clone();
    const auto keys = at::randn({3, 2, 2, 5});
    const auto values = at::randn({3, 2, 2, 5});
    append_to_cache(cache.keys, cache.values, keys, values, 6);
    auto expected = before.clone();
    expected.narrow(0, 0, 3).narrow(2, 6, 2).copy_(keys.transpose(1, 2));
    EXPECT_TRUE(at::equal(cache.keys, expected)) << type;
    EXPECT_TRUE(
        at::equal(cache.values.narrow(0, 0, 3).narrow(2, 6, 2), values.transpose(1, 2).to(type)))
        << type;
    EXPECT_THROW(append_to_cache(cache.keys, cache.values, keys, values, 8), c10::Error);
  }
}

// --- likeliest --------------------------------------------------------------------------------

TEST(Likeliest, IsTheHeadOfAStableSort) {
  at::manual_seed(7);
  for (const int64_t size : {1, 9, 64, 1000, 4099}) {
    for (const int64_t valid : {size, (size + 1) / 2}) {
      for (const int64_t count : {int64_t{1}, int64_t{8}, valid}) {
        if (count > valid) continue;
        // Few values, so that many are equal; and as many as there are numbers.
        for (auto scores : {at::randint(5, {3, size}).to(at::kFloat), at::randn({3, size})}) {
          scores[0][size / 3] = -std::numeric_limits<float>::infinity();
          for (const bool normalise : {false, true}) {
            const auto [values, ids] = likeliest(scores, count, valid, normalise);
            const auto [exact, exact_ids] =
                reference::likeliest(scores.to(at::kDouble), count, valid, normalise);
            EXPECT_TRUE(at::equal(ids, exact_ids)) << size << ", " << valid << ", " << count;
            const auto finite = exact.isfinite();
            EXPECT_TRUE(at::equal(finite, values.isfinite()));
            expect_near(values.where(finite, 0), exact.where(finite, 0),
                        testing::tolerance_of(at::kFloat), "values of " + std::to_string(size));
          }
        }
      }
    }
  }
}

TEST(Likeliest, GivesValidIdsForScoresThatAreNotNumbers) {
  auto scores = at::full({2, 100}, std::numeric_limits<float>::quiet_NaN());
  scores[1][70] = 1.0F;
  const auto ids = std::get<1>(likeliest(scores, 4, 90, /*normalise=*/true));
  EXPECT_TRUE(ids.ge(0).logical_and(ids.lt(90)).all().item<bool>());
  EXPECT_THROW(likeliest(scores, 91, 90, false), c10::Error);
  EXPECT_THROW(likeliest(scores, 1, 101, false), c10::Error);
}

}  // namespace
}  // namespace altup
