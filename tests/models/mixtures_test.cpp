// Models with mixtures of experts: where the mixtures are, how large the model is, what they add to
// the loss, and what padding and recomputation must not change.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "altup/models/model_size.h"
#include "altup/modules/routing.h"
#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;
using testing::small_config;
using testing::with_mixtures;

struct Example {
  torch::Tensor inputs, input_mask, targets, weights;
};

// Inputs of 9 and 5 tokens, targets of 6 and 3, and `more` places of padding.
Example padded_example(const T5Config& config, int64_t more = 0) {
  torch::manual_seed(11);
  Example example{random_ids(2, 9, config), mask_of({9, 5}, 9 + more), random_ids(2, 6, config),
                  mask_of({6, 3}, 6 + more).to(torch::kFloat)};
  const auto longer = [&](const torch::Tensor& ids) {
    return torch::cat({ids, torch::full({2, more}, 3, torch::kInt64)}, 1);
  };
  example.inputs = longer(example.inputs);
  example.targets = longer(example.targets);
  return example;
}

LinearCrossEntropy loss_of(T5& model, const Example& example) {
  torch::manual_seed(12);  // of the jitter
  return model->loss(example.inputs, example.input_mask, shift_right(example.targets),
                     example.targets.flatten(), example.weights.flatten(), {});
}

TEST(Mixtures, StandInEverySecondLayer) {
  const auto model = make_model(with_mixtures(small_config()));
  const auto parameters = model->named_parameters();
  EXPECT_EQ(parameters["encoder.layers.1.feed_forward.router.weight"].sizes(),
            (std::vector<int64_t>{3, 16}));
  EXPECT_EQ(parameters["encoder.layers.1.feed_forward.experts.wi_0"].sizes(),
            (std::vector<int64_t>{3, 20, 16}));
  EXPECT_EQ(parameters["encoder.layers.1.feed_forward.experts.wi_1"].sizes(),
            (std::vector<int64_t>{3, 20, 16}));
  EXPECT_EQ(parameters["decoder.layers.1.feed_forward.experts.wo"].sizes(),
            (std::vector<int64_t>{3, 16, 20}));
  for (const auto* dense :
       {"encoder.layers.0.feed_forward.wo.weight", "encoder.layers.2.feed_forward.wo.weight",
        "decoder.layers.0.feed_forward.wo.weight"}) {
    EXPECT_TRUE(parameters.contains(dense)) << dense;
  }
  EXPECT_FALSE(parameters.contains("encoder.layers.1.feed_forward.wo.weight"));
}

class MixtureSize : public ::testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Variants, MixtureSize,
                         ::testing::Values(Variant::kNone, Variant::kAltUp, Variant::kRecycled,
                                           Variant::kSum),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

// A mixture has E feed-forwards and a router for one feed-forward.
TEST_P(MixtureSize, IsTheFormula) {
  for (const auto kind : {FeedForwardKind::kGatedGelu, FeedForwardKind::kRelu}) {
    for (const int64_t every : {1, 2, 3}) {
      auto dense = small_config(GetParam(), 2);
      dense.feed_forward = kind;
      auto mixed = dense;
      mixed.moe.experts = 5;
      mixed.moe.every = every;
      const int64_t mixtures = 3 / every + 2 / every;
      const int64_t feed_forward = (kind == FeedForwardKind::kGatedGelu ? 3 : 2) * 16 * 20;
      const auto count = count_parameters(mixed);
      const auto of_dense = count_parameters(dense).total;
      EXPECT_EQ(count.total, of_dense + mixtures * (4 * feed_forward + 5 * 16));
      EXPECT_EQ(count.experts, mixtures * 5 * feed_forward);
      EXPECT_EQ(count.active, of_dense + mixtures * 5 * 16);
      EXPECT_EQ(count_parameters(dense).active, of_dense);
      EXPECT_EQ(count_parameters(dense).experts, 0);

      const auto flops = count_flops(mixed, 7, 4).forward_backward;
      const double routers =
          6.0 * 5 * 16 * (static_cast<double>(3 / every) * 7 + static_cast<double>(2 / every) * 4);
      EXPECT_DOUBLE_EQ(flops, count_flops(dense, 7, 4).forward_backward + routers);
    }
  }
}

TEST(MixtureSize, OfExpertChoiceGoesByTheCapacity) {
  auto config = with_mixtures(small_config(), Router::kExpertChoice);
  config.moe.capacity_factor = 2.0;  // of three experts
  const auto dense = count_parameters(small_config()).total;
  EXPECT_EQ(count_parameters(config).active, dense + 3 * 16 * 20 + 2 * 3 * 16);
  config.moe.capacity_factor = 100.0;  // all three; the decoder's tokens still have one each
  EXPECT_EQ(count_parameters(config).active, count_parameters(config).total - 2 * 3 * 16 * 20);
}

// T5 1.1 small with 8 experts: 8 mixtures, each 7 · 3 · 512 · 1024 + 8 · 512 more.
TEST(MixtureSize, OfTheSmallModelWithEightExperts) {
  T5Config config;
  config.apply_size(ModelSize::kSmall);
  config.moe.experts = 8;
  EXPECT_EQ(count_parameters(config).total, 76'961'152 + 8 * (7 * 3 * 512 * 1024 + 8 * 512));
  EXPECT_EQ(count_parameters(config).active, 76'961'152 + 8 * 8 * 512);
}

class WithMixtures : public ::testing::TestWithParam<NamedConfig> {
 protected:
  WithMixtures() : config(GetParam().config) {}
  int64_t mixtures() const {
    return config.num_mixtures(config.num_encoder_layers) +
           config.num_mixtures(config.num_decoder_layers);
  }
  T5Config config;
};
INSTANTIATE_TEST_SUITE_P(Models, WithMixtures, ::testing::ValuesIn(testing::kinds_with_mixtures()),
                         [](const auto& info) { return info.param.name; });

TEST_P(WithMixtures, TheLossHasTheRoutingLossesForEachTargetToken) {
  auto with = make_model(config);
  config.moe.load_balance_loss = 0.0;
  config.moe.router_z_loss = 0.0;
  auto without = make_model(config);
  with->train();
  without->train();
  const auto example = padded_example(config);
  const double difference =
      (loss_of(with, example).loss - loss_of(without, example).loss).item<double>();
  const auto statistics = with->routing_statistics();
  const auto of = [&](int64_t i) { return statistics[i].item<double>(); };
  // The statistics are means; Expert Choice, in the encoder, has no load-balance loss.
  const auto count = static_cast<double>(mixtures());
  const auto balanced = config.moe.router == Router::kExpertChoice
                            ? static_cast<double>(config.num_mixtures(config.num_decoder_layers))
                            : count;
  const double expected = 9 * (0.01 * balanced * of(0) + 0.001 * count * of(1));  // 9 targets
  EXPECT_NEAR(difference, expected, 1e-4);
  EXPECT_GT(expected, 0.1);
  EXPECT_EQ(loss_of(with, example).nll.item<double>(),
            loss_of(without, example).nll.item<double>());

  with->eval();
  EXPECT_TRUE(torch::equal(loss_of(with, example).loss, loss_of(with, example).nll));
  EXPECT_FALSE(with->routing_statistics().defined());
}

TEST_P(WithMixtures, MorePaddingChangesNoLossInTraining) {
  auto model = make_model(config);
  model->train();
  const auto short_loss = loss_of(model, padded_example(config)).loss.item<double>();
  const auto statistics = model->routing_statistics();
  const auto longer = padded_example(config, 20);
  EXPECT_NEAR(loss_of(model, longer).loss.item<double>(), short_loss, 1e-4);
  EXPECT_TRUE(torch::allclose(model->routing_statistics(), statistics, 1e-4, 1e-4, true));
}

TEST_P(WithMixtures, RecomputationGivesTheSameGradientsOfTheWholeLoss) {
  config.dropout = 0.2;
  config.moe.jitter = 0.2;
  config.moe.load_balance_loss = 1.0;
  config.moe.router_z_loss = 1.0;
  const auto example = padded_example(config);
  const auto run = [&](bool recompute) {
    auto model = make_model(config);
    model->train();
    model->set_activation_checkpointing(recompute);
    const auto loss = loss_of(model, example).loss;
    loss.backward();
    return std::tuple{loss.item<double>(), model, model->routing_statistics()};
  };
  const auto [loss, plain, statistics] = run(false);
  const auto [loss_again, recomputed, statistics_again] = run(true);
  EXPECT_EQ(loss, loss_again);
  EXPECT_TRUE(torch::allclose(statistics, statistics_again, 0, 0, true));
  for (const auto& item : plain->named_parameters()) {
    const auto gradient = recomputed->named_parameters()[item.key()].grad();
    ASSERT_TRUE(gradient.defined()) << item.key();
    EXPECT_TRUE(torch::allclose(item.value().grad(), gradient, 1e-4, 1e-5)) << item.key();
  }
}

TEST_P(WithMixtures, OfOneExpertAreTheDenseModel) {
  config.moe.experts = 1;
  auto mixed = make_model(config);
  config.moe.experts = 0;
  auto dense = make_model(config, 2);
  {
    torch::NoGradGuard no_grad;
    const auto from = mixed->named_parameters();
    for (const auto& item : dense->named_parameters()) {
      if (const auto* same = from.find(item.key()); same != nullptr) {
        item.value().copy_(*same);
        continue;
      }
      auto name = item.key();  // encoder.layers.1.feed_forward.wo.weight
      name.resize(name.size() - std::string(".weight").size());
      name.insert(name.rfind('.'), ".experts");
      item.value().copy_(from[name][0]);
    }
  }
  const auto example = padded_example(config);
  const auto logits = [&](T5& model) {
    return model->forward(example.inputs, example.input_mask, example.targets);
  };
  EXPECT_LT(largest_difference(logits(mixed), logits(dense)), 2e-5);
  mixed->train();
  EXPECT_LT(largest_difference(logits(mixed), logits(dense)), 2e-5);
}

TEST(Mixtures, OfTheDecoderCompareNoTokens) {
  auto config = with_mixtures(small_config(), Router::kExpertChoice);
  config.moe.batch_prioritised = true;
  config.moe.capacity_factor = 0.5;
  config.moe.jitter = 0.0;
  auto model = make_model(config);
  model->train();  // where tokens are dropped
  const auto inputs = random_ids(1, 7, config);
  const auto targets = random_ids(1, 12, config);
  const auto memory = model->encode(inputs, {});
  // Places are filled in order, so that what is dropped at a position depends on those before it.
  // The number of places does depend on the length of the targets, which is kept here.
  const auto before = model->decode(targets, memory, {});
  for (const int64_t position : {2, 7, 11}) {
    auto changed = targets.clone();
    changed.select(1, position).add_(1).remainder_(config.vocab_size);
    EXPECT_LT(largest_difference(model->decode(changed, memory, {}).narrow(1, 0, position),
                                 before.narrow(1, 0, position)),
              2e-5);
  }
}

TEST(Mixtures, OfAnInputDependOnNoOtherInEvaluation) {
  for (const auto router : {Router::kSwitch, Router::kExpertChoice}) {
    const auto config = with_mixtures(small_config(), router);
    auto model = make_model(config);
    const auto inputs = random_ids(5, 12, config);
    const auto targets = random_ids(5, 6, config);
    const std::vector<int64_t> lengths = {12, 3, 7, 1, 11};
    const auto together = model->forward(inputs, mask_of(lengths, 12), targets);
    for (int64_t b = 0; b < 5; ++b) {
      const auto alone =
          model->forward(inputs.narrow(0, b, 1).narrow(1, 0, lengths[static_cast<size_t>(b)]), {},
                         targets.narrow(0, b, 1));
      EXPECT_LT(largest_difference(alone[0], together[b]), 2e-5) << b;
    }
  }
}

}  // namespace
}  // namespace altup
