// What a variant is, said by comparison with the dense model.
#include <gtest/gtest.h>

#include "altup/models/block_ends.h"
#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::copy_common_parameters;
using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::random_ids;
using testing::small_config;

struct Logits {
  torch::Tensor dense, widened;
};

// Both at their start, on the same padded batch, with the dense model's weights.
Logits compare_with_dense(const T5Config& widened_config) {
  auto dense_config = widened_config;
  dense_config.altup = AltUpConfig{};
  torch::manual_seed(1);
  T5 dense(dense_config);
  T5 widened(widened_config);
  EXPECT_EQ(copy_common_parameters(dense, widened), 0);
  const auto inputs = random_ids(2, 9, dense_config);
  const auto targets = random_ids(2, 6, dense_config);
  const auto mask = mask_of({9, 5}, 9);
  return {dense->forward(inputs, mask, targets), widened->forward(inputs, mask, targets)};
}

TEST(Recycled, AtItsStartIsTheDenseModelBitForBit) {
  for (const int64_t blocks : {2, 3, 4, 5, 7}) {
    for (const auto selection : {BlockSelection::kAlternating, BlockSelection::kSame}) {
      auto config = small_config(Variant::kRecycled, blocks);
      config.altup.block_selection = selection;
      const auto logits = compare_with_dense(config);
      EXPECT_TRUE(torch::equal(logits.dense, logits.widened)) << blocks << " blocks";
    }
  }
}

TEST(Recycled, CopiesTheEmbeddingAsAView) {
  const auto embedded = torch::randn({2, 3, 16});
  const auto state = enter_blocks(embedded, small_config(Variant::kRecycled, 4));
  EXPECT_EQ(state.sizes(), (std::vector<int64_t>{4, 2, 3, 16}));
  EXPECT_EQ(state.data_ptr(), embedded.data_ptr());
}

TEST(AltUp, OfOneBlockIsTheDenseModel) {
  const auto logits = compare_with_dense(small_config(Variant::kAltUp, 1));
  EXPECT_TRUE(torch::equal(logits.dense, logits.widened));
}

TEST(Sum, IsTheDenseModelOfTheSummedEmbedding) {
  auto sum = make_model(small_config(Variant::kSum, 3), 1);
  auto dense = make_model(small_config(), 2);
  torch::NoGradGuard no_grad;
  for (const auto& item : sum->named_parameters()) {
    const bool is_embedding = item.key() == "shared.weight";
    dense->named_parameters()[item.key()].copy_(is_embedding ? item.value().view({40, 3, 16}).sum(1)
                                                             : item.value());
  }
  const auto inputs = random_ids(2, 9, dense->config());
  const auto targets = random_ids(2, 6, dense->config());
  EXPECT_LT(
      largest_difference(sum->forward(inputs, {}, targets), dense->forward(inputs, {}, targets)),
      1e-5);
}

TEST(AltUp, SplitsTheEmbeddingIntoItsBlocksAndPutsThemSideBySide) {
  const auto config = small_config(Variant::kAltUp, 3);
  const auto embedded = torch::randn({2, 5, 48});
  const auto state = enter_blocks(embedded, config);
  EXPECT_TRUE(state.is_contiguous());
  for (int64_t k = 0; k < 3; ++k) {
    EXPECT_TRUE(torch::equal(state[k], embedded.narrow(2, 16 * k, 16)));
  }
  EXPECT_TRUE(torch::equal(leave_blocks(state, /*wide=*/true), embedded));
  EXPECT_TRUE(torch::allclose(leave_blocks(state, /*wide=*/false), state.mean(0)));
}

TEST(AltUp, ComputesTheBlocksInTurnOrAlwaysTheFirst) {
  auto config = small_config(Variant::kAltUp, 3);
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(config.active_block(i), i % 3);
  config.altup.block_selection = BlockSelection::kSame;
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(config.active_block(i), 0);
}

// Blocks that start equal and that no layer computes see the same gradients: they are one block.
TEST(Recycled, BlocksPartWhereLayersComputeThem) {
  // g of the encoder's first layer after some steps.
  const auto corrections = [](const T5Config& config) {
    torch::manual_seed(1);
    T5 model(config);
    for (int step = 0; step < 3; ++step) {
      model->zero_grad();
      const auto targets = random_ids(2, 5, config);
      model
          ->loss(random_ids(2, 6, config), {}, shift_right(targets), targets.flatten(),
                 torch::ones({10}), {})
          .loss.backward();
      const torch::NoGradGuard no_grad;
      for (auto& weight : model->parameters()) weight.sub_(weight.grad(), 0.01);
    }
    return model->named_parameters()["encoder.altup.0.correction_coefs"].detach();
  };
  auto config = small_config(Variant::kRecycled, 3);
  EXPECT_EQ(config.idle_blocks(), 1);  // of the decoder's two layers
  const auto in_turn = corrections(config);
  for (const auto& pair : {std::pair{0, 1}, {1, 2}, {0, 2}}) {
    EXPECT_GT(largest_difference(in_turn[pair.first], in_turn[pair.second]), 1e-4);
  }
  config.altup.block_selection = BlockSelection::kSame;
  EXPECT_EQ(config.idle_blocks(), 2);
  const auto same = corrections(config);
  EXPECT_GT(largest_difference(same[0], same[1]), 1e-4);
  EXPECT_LT(largest_difference(same[1], same[2]), 1e-6);
  EXPECT_EQ(small_config().idle_blocks(), 0);
  EXPECT_EQ(small_config(Variant::kRecycled, 5).idle_blocks(), 3);
}

// With `same`, block 1 never passes through a layer: what changes it is the correction alone.
TEST(AltUp, MovesTheBlocksThatNoLayerComputes) {
  auto config = small_config(Variant::kAltUp, 2);
  config.altup.block_selection = BlockSelection::kSame;
  torch::manual_seed(2);
  T5 model(config);
  const auto ids = random_ids(1, 6, config);
  const auto embedded = model->shared(ids);
  const auto state = enter_blocks(embedded, config);
  const auto computed =
      model->encoder->layers->at<EncoderLayerImpl>(0).forward(state[0], AttentionOptions{});
  const auto moved = model->encoder->altup->at<AltUpUpdateImpl>(0).forward(state, computed);
  EXPECT_GT(largest_difference(moved[1], state[1]), 0.1);

  // In the end, each block's embedding has a say.
  auto changed = embedded.detach().clone();
  changed.narrow(2, 16, 16).add_(1.0);
  EXPECT_GT(largest_difference(model->encoder->forward(embedded, {}),
                               model->encoder->forward(changed, {})),
            1e-2);
}

TEST(KvCache, IsAsLargeWithAnyNumberOfBlocks) {
  torch::NoGradGuard no_grad;
  const auto bytes = [](const T5Config& config) {
    auto model = make_model(config);
    const auto memory = model->encode(random_ids(2, 9, config), {});
    KvCache cache;
    for (int i = 0; i < 20; ++i) model->decode(random_ids(2, 1, config), memory, {}, &cache);
    size_t total = 0;
    for (const auto& layer : cache.layers) {
      for (const auto* part : {&layer.self, &layer.cross}) {
        total += part->keys.storage().nbytes() + part->values.storage().nbytes();
      }
    }
    return total;
  };
  const auto dense = bytes(small_config());
  EXPECT_GT(dense, 0U);
  EXPECT_EQ(dense, bytes(small_config(Variant::kAltUp, 4)));
  EXPECT_EQ(dense, bytes(small_config(Variant::kRecycled, 4)));
}

}  // namespace
}  // namespace altup
