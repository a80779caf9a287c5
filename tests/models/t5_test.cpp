// What every kind of model must keep: masks, the cache, the two paths of attention, gradients.
#include <gtest/gtest.h>

#include "tests/models/model_testing.h"
#include "tests/support/gradcheck.h"

namespace altup {
namespace {

using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;
using testing::small_config;

constexpr double kRounding = 2e-5;

class EveryKind : public ::testing::TestWithParam<NamedConfig> {
 protected:
  EveryKind() : config(GetParam().config), model(make_model(config)) {}
  T5Config config;
  T5 model;
};
INSTANTIATE_TEST_SUITE_P(Models, EveryKind, ::testing::ValuesIn(testing::every_kind()),
                         [](const auto& info) { return info.param.name; });

TEST_P(EveryKind, ALaterTokenChangesNoEarlierLogit) {
  const auto inputs = random_ids(2, 7, config);
  const auto targets = random_ids(2, 9, config);
  for (const bool with_gradients : {true, false}) {
    torch::AutoGradMode mode(with_gradients);
    const auto before = model->forward(inputs, {}, targets);
    for (const int64_t position : {1, 4, 8}) {
      auto changed = targets.clone();
      changed.select(1, position).add_(1).remainder_(config.vocab_size);
      const auto after = model->forward(inputs, {}, changed);
      const auto kept = before.narrow(1, 0, position);
      if (config.moe.experts == 0) {
        EXPECT_TRUE(torch::equal(kept, after.narrow(1, 0, position)));
      } else {  // an expert's product may round otherwise with another number of rows
        EXPECT_LT(largest_difference(kept, after.narrow(1, 0, position)), kRounding);
      }
      EXPECT_GT(largest_difference(before.narrow(1, position, 1), after.narrow(1, position, 1)),
                1e-3);
    }
  }
}

TEST_P(EveryKind, APaddedTokenChangesNothing) {
  const auto inputs = random_ids(3, 8, config);
  const auto targets = random_ids(3, 5, config);
  const auto mask = mask_of({8, 5, 1}, 8);
  auto changed = inputs.clone();
  changed.masked_fill_(mask.logical_not(), 7);
  for (const bool with_gradients : {true, false}) {
    torch::AutoGradMode mode(with_gradients);
    const auto before = model->forward(inputs, mask, targets);
    EXPECT_TRUE(torch::equal(before, model->forward(changed, mask, targets)));
    // Without the mask they do change something, so the test can fail.
    EXPECT_GT(largest_difference(before, model->forward(changed, {}, targets)), 1e-3);
  }
}

TEST_P(EveryKind, MorePaddingChangesNothing) {
  const auto inputs = random_ids(2, 6, config);
  const auto targets = random_ids(2, 5, config);
  const auto longer = torch::cat({inputs, torch::zeros({2, 30}, torch::kInt64)}, 1);
  for (const bool with_gradients : {true, false}) {
    torch::AutoGradMode mode(with_gradients);
    EXPECT_LT(largest_difference(model->forward(inputs, {}, targets),
                                 model->forward(longer, mask_of({6, 6}, 36), targets)),
              kRounding);
  }
}

TEST_P(EveryKind, AttentionIsTheSameWithAndWithoutGradients) {
  const auto inputs = random_ids(2, 30, config);
  const auto targets = random_ids(2, 25, config);
  const auto mask = mask_of({30, 11}, 30);
  const auto training = model->forward(inputs, mask, targets);
  torch::NoGradGuard no_grad;
  EXPECT_LT(largest_difference(training, model->forward(inputs, mask, targets)), kRounding);
}

TEST_P(EveryKind, CachedDecodingIsUncachedDecoding) {
  torch::NoGradGuard no_grad;
  const int64_t steps = 50;
  const auto inputs = random_ids(2, 9, config);
  const auto mask = mask_of({9, 4}, 9);
  const auto targets = random_ids(2, steps, config);
  const auto memory = model->encode(inputs, mask);
  const auto whole = model->decode(targets, memory, mask);
  KvCache cache;
  std::vector<torch::Tensor> parts = {// several tokens at first, then one by one
                                      model->decode(targets.narrow(1, 0, 3), memory, mask, &cache)};
  for (int64_t i = 3; i < steps; ++i) {
    parts.push_back(model->decode(targets.narrow(1, i, 1), memory, mask, &cache));
  }
  EXPECT_EQ(cache.length(), steps);
  EXPECT_LT(largest_difference(whole, torch::cat(parts, 1)), kRounding);
}

// Weights of 8 bits are off by 0.4 % of their row's largest at most.
TEST_P(EveryKind, TheQuantisedModelIsNearTheExactOne) {
  const auto inputs = random_ids(2, 40, config);
  const auto ids = random_ids(2, 3, config);
  const auto with_gradients = model->forward(inputs, {}, ids);
  const auto run = [&] {
    const c10::InferenceMode inference;
    return model->forward(inputs, {}, ids);
  };
  const auto exact = run();
  model->quantise();
  const auto near = run();
  const double scale = exact.std().item<double>();
  EXPECT_LT(largest_difference(near, exact), 0.1 * scale);
  EXPECT_GT(largest_difference(near, exact), 1e-4 * scale);
  EXPECT_TRUE(torch::equal(model->forward(inputs, {}, ids), with_gradients));
}

TEST_P(EveryKind, ActivationCheckpointingGivesTheSameGradients) {
  for (const double dropout : {0.0, 0.3}) {
    config.dropout = dropout;
    const auto inputs = random_ids(2, 7, config);
    const auto targets = random_ids(2, 5, config);
    const auto run = [&](bool checkpointed) {
      auto fresh = make_model(config);
      fresh->train();
      fresh->set_activation_checkpointing(checkpointed);
      torch::manual_seed(5);
      const auto logits = fresh->forward(inputs, mask_of({7, 3}, 7), targets);
      logits.square().mean().backward();
      return std::pair{logits.detach(), fresh};
    };
    const auto [expected, plain] = run(false);
    const auto [logits, recomputed] = run(true);
    EXPECT_TRUE(torch::equal(logits, expected));
    for (const auto& item : plain->named_parameters()) {
      const auto gradient = recomputed->named_parameters()[item.key()].grad();
      ASSERT_TRUE(item.value().grad().defined()) << item.key() << " has no gradient";
      ASSERT_TRUE(gradient.defined()) << item.key() << " lost its gradient";
      EXPECT_TRUE(torch::allclose(item.value().grad(), gradient, 1e-4, 1e-6)) << item.key();
    }
  }
}

// In double, over all parameters of an encoder layer and its update.
TEST(AltUpLayer, HasTheGradientsOfFiniteDifferences) {
  torch::manual_seed(1);
  auto config = small_config(Variant::kAltUp, 3);
  config.d_model = 4;
  config.d_ff = 5;
  config.d_kv = 2;
  config.num_heads = 2;
  EncoderLayer layer(config);
  layer->reset_parameters();
  AltUpUpdate update(AltUpUpdateConfig{.num_blocks = 3, .active_block = 1});
  layer->to(torch::kDouble);
  update->to(torch::kDouble);
  const auto options = torch::TensorOptions().dtype(torch::kDouble);
  const auto x = torch::randn({3, 2, 3, 4}, options).requires_grad_(true);
  const auto bias = torch::randn({2, 5}, options).requires_grad_(true);  // distances -2 to 2
  auto inputs = layer->parameters();
  for (const auto& parameter : update->parameters()) inputs.push_back(parameter);
  inputs.push_back(x);
  inputs.push_back(bias);
  EXPECT_TRUE(testing::gradients_match(
      [&] {
        const AttentionOptions attention{.relative_bias = bias, .zero_distance = 2};
        return update(x, layer->forward(update->active(x), attention));
      },
      inputs, 1e-5, 1e-6));
}

TEST(T5, ShiftsTargetsBehindAPad) {
  EXPECT_TRUE(torch::equal(shift_right(torch::tensor({{5, 6, 1}, {7, 1, 0}})),
                           torch::tensor({{0, 5, 6}, {0, 7, 1}})));
}

TEST(T5, TiedHeadIsTheScaledEmbedding) {
  auto config = small_config();
  config.tie_embeddings = true;
  auto model = make_model(config);
  const auto decoded = torch::randn({2, 16});
  const auto expected = torch::matmul(decoded / 4.0, model->shared->weight.t());  // 16^-1/2
  EXPECT_TRUE(torch::allclose(model->logits(decoded), expected, 1e-5, 1e-6));
}

}  // namespace
}  // namespace altup
