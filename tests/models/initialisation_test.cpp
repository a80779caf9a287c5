// The table of standard deviations, and what it is for: a first loss near ln V.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::random_ids;

T5Config medium_config() {
  T5Config config;
  config.size = ModelSize::kCustom;
  config.d_model = 96;
  config.d_ff = 160;
  config.d_kv = 32;
  config.num_heads = 4;
  config.num_encoder_layers = 2;
  config.num_decoder_layers = 2;
  config.vocab_size = 1000;
  return config;
}

void expect_deviation(const T5& model, const std::string& name, double expected) {
  const auto parameter = model->named_parameters()[name];
  // Five standard errors of the estimate.
  const double margin = 5.0 / std::sqrt(2.0 * static_cast<double>(parameter.numel()));
  EXPECT_NEAR(parameter.std().item<double>() / expected, 1.0, margin) << name;
  EXPECT_NEAR(parameter.mean().item<double>() / expected, 0.0, 2 * margin) << name;
}

double inverse_root(int64_t n) {
  return 1.0 / std::sqrt(static_cast<double>(n));
}

TEST(Initialisation, HasTheDeviationsOfT5) {
  torch::manual_seed(1);
  const T5 model(medium_config());
  expect_deviation(model, "shared.weight", 1.0);
  expect_deviation(model, "lm_head.weight", inverse_root(96));
  expect_deviation(model, "encoder.relative_bias.weight", inverse_root(96));
  expect_deviation(model, "decoder.relative_bias.weight", inverse_root(96));
  for (const std::string layer : {"encoder.layers.1.", "decoder.layers.1."}) {
    expect_deviation(model, layer + "self_attention.q.weight", inverse_root(96 * 32));
    expect_deviation(model, layer + "self_attention.k.weight", inverse_root(96));
    expect_deviation(model, layer + "self_attention.v.weight", inverse_root(96));
    expect_deviation(model, layer + "self_attention.o.weight", inverse_root(4 * 32));
    expect_deviation(model, layer + "feed_forward.wi_0.weight", inverse_root(96));
    expect_deviation(model, layer + "feed_forward.wi_1.weight", inverse_root(96));
    expect_deviation(model, layer + "feed_forward.wo.weight", inverse_root(160));
  }
  for (const auto& item : model->named_parameters()) {
    if (item.key().find("norm") != std::string::npos) {
      EXPECT_TRUE((item.value() == 1).all().item<bool>()) << item.key();
    }
  }
}

TEST(Initialisation, FollowsTheWidthsOfAltUp) {
  torch::manual_seed(2);
  auto config = medium_config();
  config.altup = {.variant = Variant::kAltUp, .blocks = 3};
  const T5 model(config);
  expect_deviation(model, "lm_head.weight", inverse_root(3 * 96));
  expect_deviation(model, "decoder.layers.0.cross_attention.k.weight", inverse_root(3 * 96));
  expect_deviation(model, "decoder.layers.0.cross_attention.v.weight", inverse_root(3 * 96));
}

TEST(Initialisation, GivesSumTheEmbeddingOfADenseModel) {
  torch::manual_seed(3);
  auto config = medium_config();
  config.altup = {.variant = Variant::kSum, .blocks = 4};
  const T5 model(config);
  const auto summed = model->shared->weight.view({1000, 4, 96}).sum(1);
  EXPECT_NEAR(summed.std().item<double>(), 1.0, 0.02);
}

T5 of_one_seed(const T5Config& config) {
  torch::manual_seed(5);
  return T5(config);
}

// What variants of one seed are paired by: every weight that both have is the same, and the first
// block of a wider one is the other, but for the deviation.
TEST(Initialisation, OfOneSeedIsTheSameInEveryVariant) {
  const auto dense = of_one_seed(medium_config())->named_parameters();
  for (const auto& [variant, blocks] :
       std::vector<std::pair<Variant, int64_t>>{{Variant::kAltUp, 2},
                                                {Variant::kAltUp, 4},
                                                {Variant::kRecycled, 2},
                                                {Variant::kSum, 2}}) {
    auto config = medium_config();
    config.altup = {.variant = variant, .blocks = blocks};
    int64_t same = 0;
    int64_t wider = 0;
    const auto model = of_one_seed(config);
    for (const auto& item : model->named_parameters()) {
      const auto* narrow = dense.find(item.key());
      if (narrow == nullptr) continue;  // the coefficients
      if (narrow->sizes() == item.value().sizes()) {
        EXPECT_TRUE(torch::equal(*narrow, item.value())) << enum_name(variant) << " " << item.key();
        ++same;
      } else if (narrow->dim() == 2) {
        const auto block = item.value().narrow(1, 0, narrow->size(1));
        const double scale =
            item.key() != "shared.weight" || variant == Variant::kSum ? inverse_root(blocks) : 1.0;
        EXPECT_TRUE(torch::allclose(*narrow * scale, block, 1e-5, 1e-7))
            << enum_name(variant) << " " << item.key();
        EXPECT_FALSE(torch::allclose(block, item.value().narrow(1, narrow->size(1), 96)));
        ++wider;
      }
    }
    EXPECT_GT(same, 40);
    // Embedding, head, and keys and values of two layers; of Sum the embedding.
    EXPECT_EQ(wider, variant == Variant::kAltUp ? 6 : variant == Variant::kSum ? 1 : 0);
  }
}

TEST(Initialisation, OfALayerDependsOnNoOtherLayersSize) {
  auto config = medium_config();
  const auto two = of_one_seed(config)->named_parameters();
  config.num_encoder_layers = 3;
  config.feed_forward = FeedForwardKind::kRelu;  // a matrix fewer in every layer
  const auto three = of_one_seed(config)->named_parameters();
  for (const auto* name : {"encoder.layers.1.self_attention.q.weight",
                           "decoder.layers.1.self_attention.q.weight", "lm_head.weight"}) {
    EXPECT_TRUE(torch::equal(two[name], three[name])) << name;
  }
  EXPECT_FALSE(torch::equal(two["encoder.layers.0.self_attention.q.weight"],
                            two["encoder.layers.1.self_attention.q.weight"]));
}

// A mixture differs from the dense model, and from one of more experts, by what only it has.
TEST(Initialisation, TheFirstExpertIsTheFeedForwardOfTheDenseModel) {
  auto config = medium_config();
  const auto dense = of_one_seed(config)->named_parameters();
  config.moe.experts = 2;
  const auto two = of_one_seed(config)->named_parameters();
  config.moe.experts = 5;
  const auto five = of_one_seed(config)->named_parameters();
  int64_t of_experts = 0;
  for (const auto& item : two) {
    const auto& name = item.key();
    if (const auto* same = dense.find(name)) {
      EXPECT_TRUE(torch::equal(*same, item.value())) << name;
      continue;
    }
    const auto at = name.find("experts.");
    if (at == std::string::npos) continue;  // a router
    const auto of_dense = name.substr(0, at) + name.substr(at + 8) + ".weight";
    EXPECT_TRUE(torch::equal(dense[of_dense], item.value()[0])) << name;
    EXPECT_TRUE(torch::equal(five[name].narrow(0, 0, 2), item.value())) << name;
    EXPECT_FALSE(torch::equal(item.value()[0], item.value()[1])) << name;
    ++of_experts;
  }
  EXPECT_EQ(of_experts, 6);  // the last layer of each stack
  expect_deviation(T5(config), "encoder.layers.1.feed_forward.router.weight", std::sqrt(0.1 / 96));
}

class FirstLoss : public ::testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Variants, FirstLoss,
                         ::testing::Values(Variant::kNone, Variant::kAltUp, Variant::kRecycled,
                                           Variant::kSum, Variant::kSequence, Variant::kStrideSkip,
                                           Variant::kAveragePool),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

TEST_P(FirstLoss, IsNearTheLogarithmOfTheVocabulary) {
  torch::manual_seed(4);
  auto config = medium_config();
  config.num_encoder_layers = 3;  // of which sequence variants stride the second
  config.altup.variant = GetParam();
  T5 model(config);
  torch::NoGradGuard no_grad;
  const auto targets = random_ids(4, 30, config);
  const auto result = model->loss(random_ids(4, 50, config), {}, shift_right(targets),
                                  targets.flatten(), torch::ones({120}), {});
  // Logits of variance 1 cost half a nat above the uniform distribution.
  EXPECT_NEAR(result.loss.item<double>() / 120, std::log(1000.0) + 0.5, 0.4);
}

// Of normal numbers of variance 1 half are within 0.674 of 0. (The loss says less: the id that went in
// has a large logit, since what came of it is close to its embedding still.)
TEST(TiedHead, OfSeveralBlocksHasLogitsOfVarianceOne) {
  auto config = medium_config();
  config.tie_embeddings = true;
  config.altup.variant = Variant::kAltUp;
  for (const int64_t blocks : {1, 2, 4}) {
    config.altup.blocks = blocks;
    torch::manual_seed(4);
    T5 model(config);
    const torch::NoGradGuard no_grad;
    const auto logits = model->forward(random_ids(4, 50, config), {}, random_ids(4, 30, config));
    EXPECT_NEAR(logits.abs().median().item<double>(), 0.674, 0.05) << blocks;
  }
}

}  // namespace
}  // namespace altup
