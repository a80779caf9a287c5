// Positions, anchors and means against loops over each sequence by itself.
#include "altup/modules/sequence_altup.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <vector>

namespace altup {
namespace {

struct Row {
  int64_t first;   // token of the row
  int64_t length;  // tokens
};

// Rows of which some are shorter than the batch, some pad at the start, and one is empty.
const std::vector<Row> kRows = {{0, 9}, {0, 5}, {4, 5}, {3, 4}, {0, 1}, {8, 1}, {0, 0}, {1, 8}};
constexpr int64_t kWidth = 9;
constexpr int64_t kModel = 3;

torch::Tensor mask_of(const std::vector<Row>& rows) {
  auto mask = torch::zeros({static_cast<int64_t>(rows.size()), kWidth}, torch::kBool);
  for (size_t b = 0; b < rows.size(); ++b) {
    mask[static_cast<int64_t>(b)].narrow(0, rows[b].first, rows[b].length).fill_(true);
  }
  return mask;
}

int64_t count_of(int64_t length, int64_t stride) {
  return static_cast<int64_t>(std::ceil(static_cast<double>(length) / static_cast<double>(stride)));
}

class Strided : public ::testing::TestWithParam<int64_t> {
 protected:
  Strided() {
    torch::manual_seed(1);
    x = torch::randn({static_cast<int64_t>(kRows.size()), kWidth, kModel}, torch::kDouble);
    mask = mask_of(kRows);
  }
  // The tokens of all rows, one behind the other, [1, N, d], and where each begins.
  torch::Tensor side_by_side() const { return x.index({mask}).unsqueeze(0); }
  static torch::Tensor offsets() {
    std::vector<int64_t> ends = {0};
    for (const auto& row : kRows) ends.push_back(ends.back() + row.length);
    return torch::tensor(ends);
  }
  torch::Tensor tokens_of(size_t b) const {  // [length, d]
    return x[static_cast<int64_t>(b)].narrow(0, kRows[b].first, kRows[b].length);
  }
  int64_t stride = GetParam();
  torch::Tensor x, mask;
};
INSTANTIATE_TEST_SUITE_P(Strides, Strided, ::testing::Values(1, 2, 3, 4, 8, 9, 20),
                         ::testing::PrintToStringParamName());

TEST_P(Strided, TakesEveryKthTokenOfEachRow) {
  const auto positions = strided_positions(x, mask, {}, stride);
  const auto taken = take_strided(x, positions);
  ASSERT_EQ(taken.sizes(), (std::vector<int64_t>{x.size(0), count_of(kWidth, stride), kModel}));
  for (size_t b = 0; b < kRows.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    for (int64_t j = 0; j < taken.size(1); ++j) {
      const bool is_token = j * stride < kRows[b].length;
      EXPECT_EQ(positions.mask[row][j].item<bool>(), is_token) << "row " << b << ", place " << j;
      if (!is_token) continue;
      EXPECT_TRUE(torch::equal(taken[row][j], tokens_of(b)[j * stride]));
    }
  }
}

TEST_P(Strided, AnchorsEachTokenAtTheComputedOneBeforeIt) {
  const auto positions = strided_positions(x, mask, {}, stride);
  const auto anchors = positions.anchors.view({x.size(0), kWidth});
  for (size_t b = 0; b < kRows.size(); ++b) {
    for (int64_t i = 0; i < kRows[b].length; ++i) {
      const auto row = static_cast<int64_t>(b);
      const auto anchor = anchors[row][kRows[b].first + i].item<int64_t>();
      EXPECT_EQ(anchor, row * count_of(kWidth, stride) + i / stride);
      EXPECT_EQ(positions.places.flatten()[anchor].item<int64_t>(),
                row * kWidth + kRows[b].first + i / stride * stride);
    }
  }
}

TEST_P(Strided, WithoutAMaskAllAreTokens) {
  const auto without = strided_positions(x, {}, {}, stride);
  const auto with =
      strided_positions(x, torch::ones({x.size(0), kWidth}, torch::kBool), {}, stride);
  EXPECT_FALSE(without.mask.defined());
  EXPECT_TRUE(with.mask.all().item<bool>());
  EXPECT_TRUE(torch::equal(without.places, with.places));
  EXPECT_TRUE(torch::equal(without.anchors, with.anchors));
}

TEST_P(Strided, OfSequencesSideBySideIsThatOfEach) {
  const auto joined = side_by_side();
  const auto positions = strided_positions(joined, {}, offsets(), stride);
  const auto of_rows = strided_positions(x, mask, {}, stride);
  const auto real = take_strided(x, of_rows).index({of_rows.mask}).unsqueeze(0);
  EXPECT_TRUE(torch::equal(take_strided(joined, positions), real));
  ASSERT_EQ(positions.offsets.size(0), offsets().size(0));
  for (size_t b = 0; b < kRows.size(); ++b) {
    const auto at = static_cast<int64_t>(b);
    EXPECT_EQ((positions.offsets[at + 1] - positions.offsets[at]).item<int64_t>(),
              count_of(kRows[b].length, stride));
  }
  EXPECT_TRUE(torch::equal(positions.offsets, strided_offsets(offsets(), stride)));
}

TEST_P(Strided, PutsWhatIsComputedInItsPlaceAndLeavesTheRest) {
  const auto positions = strided_positions(x, mask, {}, stride);
  const auto computed = take_strided(x, positions) + 100;
  const auto whole = put_strided(x, computed, positions);
  const auto joined = side_by_side();
  const auto of_sequences = strided_positions(joined, {}, offsets(), stride);
  const auto whole_joined =
      put_strided(joined, take_strided(joined, of_sequences) + 100, of_sequences);
  for (size_t b = 0; b < kRows.size(); ++b) {
    for (int64_t i = 0; i < kRows[b].length; ++i) {
      const auto token = tokens_of(b)[i];
      const auto expected = i % stride == 0 ? token + 100 : token;
      EXPECT_TRUE(torch::equal(whole[static_cast<int64_t>(b)][kRows[b].first + i], expected));
      EXPECT_TRUE(torch::equal(
          whole_joined[0][offsets()[static_cast<int64_t>(b)].item<int64_t>() + i], expected));
    }
  }
}

TEST_P(Strided, PoolsTheTokensOfEachRowAlone) {
  const auto positions = strided_positions(x, mask, {}, stride);
  const auto pooled = pool_strided(x, mask, positions);
  const auto means = pooled_mask(mask, stride);
  const auto joined = side_by_side();
  const auto pooled_joined =
      pool_strided(joined, {}, strided_positions(joined, {}, offsets(), stride));
  int64_t next = 0;
  for (size_t b = 0; b < kRows.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    for (int64_t j = 0; j < pooled.size(1); ++j) {
      const bool exists = j * stride < kRows[b].length;
      EXPECT_EQ(means[row][j].item<bool>(), exists);
      if (!exists) {
        EXPECT_EQ(pooled[row][j].abs().max().item<double>(), 0.0);
        continue;
      }
      auto sum = torch::zeros({kModel}, torch::kDouble);
      int64_t count = 0;
      for (int64_t i = j * stride; i < std::min((j + 1) * stride, kRows[b].length); ++i, ++count) {
        sum += tokens_of(b)[i];
      }
      EXPECT_TRUE(torch::allclose(pooled[row][j], sum / count, 1e-13, 1e-14));
      EXPECT_TRUE(torch::allclose(pooled_joined[0][next++], sum / count, 1e-13, 1e-14));
    }
  }
  EXPECT_EQ(next, pooled_joined.size(1));
  EXPECT_FALSE(pooled_mask({}, stride).defined());
}

TEST_P(Strided, LetsGradientsThrough) {
  // Of sums with random weights, written as sums over tokens.
  const auto leaf = x.clone().requires_grad_();
  const auto positions = strided_positions(leaf, mask, {}, stride);
  const auto computed = torch::randn_like(take_strided(x, positions)).requires_grad_();
  const auto put_weights = torch::randn_like(x) * mask.unsqueeze(2);
  const auto [of_x, of_computed] = [&] {
    const auto gradients = torch::autograd::grad(
        {(put_strided(leaf, computed, positions) * put_weights).sum()}, {leaf, computed});
    return std::pair{gradients[0], gradients[1]};
  }();
  const auto pool_weights = torch::randn_like(computed);
  const auto of_means = torch::autograd::grad(
      {(pool_strided(leaf, mask, positions) * pool_weights).sum()}, {leaf})[0];
  for (size_t b = 0; b < kRows.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    for (int64_t i = 0; i < kRows[b].length; ++i) {
      const auto place = kRows[b].first + i;
      const bool is_computed = i % stride == 0;
      EXPECT_TRUE(torch::equal(of_x[row][place], is_computed ? torch::zeros_like(of_x[row][place])
                                                             : put_weights[row][place]));
      if (is_computed) {
        EXPECT_TRUE(torch::equal(of_computed[row][i / stride], put_weights[row][place]));
      }
      const int64_t in_mean = std::min(stride, kRows[b].length - i / stride * stride);
      EXPECT_TRUE(torch::allclose(of_means[row][place], pool_weights[row][i / stride] / in_mean));
    }
  }
}

TEST(SequenceUpdate, PredictsAndCorrectsWithItsCoefficients) {
  SequenceUpdate update;
  const auto x = torch::tensor({10.0F, 20.0F, 30.0F}).view({1, 3, 1});
  const auto computed = torch::tensor({100.0F, 200.0F}).view({1, 2, 1});
  const auto positions = strided_positions(x, {}, {}, 2);  // anchors 0 0 1
  EXPECT_TRUE(torch::equal(update(x, computed, positions).flatten(),
                           torch::tensor({100.0F, 110.0F, 200.0F})));
  torch::NoGradGuard no_grad;
  update->prediction_coefs.copy_(torch::tensor({2.0F, 0.5F}));
  update->correction_coefs.fill_(-1.0F);
  // Predicted: 25, 45, 75. Innovations: 75, 75, 125.
  EXPECT_TRUE(torch::equal(update(x, computed, positions).flatten(),
                           torch::tensor({-50.0F, -30.0F, -50.0F})));
  update->reset_parameters();
  EXPECT_TRUE(torch::equal(update->prediction_coefs, torch::tensor({1.0F, 0.0F})));
  EXPECT_TRUE(torch::equal(update->correction_coefs, torch::tensor({1.0F})));
}

TEST(StridedPositions, RefusesWhatDoesNotFit) {
  const auto x = torch::zeros({1, 4, 2});
  const auto offsets = torch::tensor(std::vector<int64_t>{0, 3});
  EXPECT_THROW(strided_positions(x, {}, {}, 0), c10::Error);
  EXPECT_THROW(strided_positions(x, {}, offsets, 2), c10::Error);
  EXPECT_THROW(strided_positions(torch::zeros({2, 3, 2}), {}, offsets, 2), c10::Error);
}

}  // namespace
}  // namespace altup
