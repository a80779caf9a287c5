// A batch without padding, all its tokens in one row, is the padded batch: the same logits, loss and
// gradients for every kind of model, and no example sees another.
#include <gtest/gtest.h>

#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;

// Ragged examples in both forms.
struct Ragged {
  std::vector<int64_t> input_lengths;
  std::vector<int64_t> target_lengths;
  torch::Tensor inputs;   // [B, S]
  torch::Tensor targets;  // [B, T]

  Ragged(const T5Config& config, std::vector<int64_t> of_inputs, std::vector<int64_t> of_targets)
      : input_lengths(std::move(of_inputs)),
        target_lengths(std::move(of_targets)),
        inputs(random_ids(size(), width(input_lengths), config)),
        targets(random_ids(size(), width(target_lengths), config)) {}

  int64_t size() const { return static_cast<int64_t>(input_lengths.size()); }
  static int64_t width(const std::vector<int64_t>& lengths) {
    return *std::max_element(lengths.begin(), lengths.end());
  }
  torch::Tensor input_mask() const { return mask_of(input_lengths, width(input_lengths)); }
  torch::Tensor target_mask() const { return mask_of(target_lengths, width(target_lengths)); }
  SequenceOffsets offsets() const { return {ends(input_lengths), ends(target_lengths)}; }
  static torch::Tensor ends(const std::vector<int64_t>& lengths) {
    return torch::cat({torch::zeros({1}, torch::kInt64), torch::tensor(lengths).cumsum(0)});
  }
  // The real ones of [B, width, ..], in one row: [1, N, ..].
  static torch::Tensor real(const torch::Tensor& padded, const torch::Tensor& mask) {
    return padded.flatten(0, 1).index({mask.flatten()}).unsqueeze(0);
  }

  torch::Tensor padded_logits(T5& model) const {
    const auto logits = model->forward(inputs, input_mask(), shift_right(targets));
    return real(logits, target_mask());
  }
  torch::Tensor unpadded_logits(T5& model) const {
    return model->forward(real(inputs, input_mask()), {}, real(shift_right(targets), target_mask()),
                          offsets());
  }
  LinearCrossEntropy padded_loss(T5& model, const CrossEntropyOptions& options) const {
    return model->loss(inputs, input_mask(), shift_right(targets), targets.flatten(),
                       target_mask().flatten().to(model->shared->weight.scalar_type()), options);
  }
  LinearCrossEntropy unpadded_loss(T5& model, const CrossEntropyOptions& options) const {
    const auto ids = real(targets, target_mask()).flatten();
    return model->loss(real(inputs, input_mask()), {}, real(shift_right(targets), target_mask()),
                       ids, torch::ones(ids.sizes(), model->shared->weight.scalar_type()), options,
                       offsets());
  }
};

// Lengths beyond the exact buckets of the relative bias, a longest example in the middle, and
// examples of one token on either side.
Ragged ragged(const T5Config& config) {
  return {config, {5, 1, 23, 11, 1}, {3, 9, 1, 17, 1}};
}

class Unpadded : public ::testing::TestWithParam<NamedConfig> {
 protected:
  Unpadded() : config(GetParam().config), model(make_model(config)) {}

  void expect_gradients(const NamedTensors& expected, double relative) {
    const auto parameters = named_parameters(*model);
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto& [name, parameter] = parameters[i];
      ASSERT_TRUE(parameter.grad().defined()) << name;
      const double scale = expected[i].second.abs().max().item<double>();
      EXPECT_GT(scale, 0.0) << name << " has no gradient to compare";
      EXPECT_LT(largest_difference(parameter.grad(), expected[i].second), relative * scale) << name;
    }
  }
  // The gradients, which are left undefined.
  NamedTensors take_gradients() {
    NamedTensors gradients;
    for (auto& [name, parameter] : named_parameters(*model)) {
      gradients.emplace_back(name, parameter.grad());
      parameter.mutable_grad() = torch::Tensor();
    }
    return gradients;
  }

  T5Config config;
  T5 model;
};
INSTANTIATE_TEST_SUITE_P(Models, Unpadded, ::testing::ValuesIn(testing::every_kind()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Unpadded, LogitsAreThoseOfThePaddedBatch) {
  const auto examples = ragged(config);
  for (const bool with_gradients : {true, false}) {
    torch::AutoGradMode mode(with_gradients);
    const auto padded = examples.padded_logits(model);
    EXPECT_LT(largest_difference(examples.unpadded_logits(model), padded),
              1e-5 * padded.abs().max().item<double>());
  }
}

TEST_P(Unpadded, LossAndGradientsAreThoseOfThePaddedBatch) {
  const auto examples = ragged(config);
  const CrossEntropyOptions options{.scale = 0.25, .z_loss = 1e-2, .label_smoothing = 0.1};
  for (const bool in_double : {false, true}) {
    // The reference kernels know double throughout.
    set_use_reference_kernels(in_double);
    const double relative = in_double ? 1e-10 : 1e-5;
    if (in_double) model->to(torch::kDouble);
    const auto padded = examples.padded_loss(model, options);
    (padded.loss * options.scale).backward();
    const auto expected = take_gradients();
    for (const bool checkpointed : {false, true}) {
      model->set_activation_checkpointing(checkpointed);
      const auto unpadded = examples.unpadded_loss(model, options);
      (unpadded.loss * options.scale).backward();
      EXPECT_NEAR(unpadded.loss.item<double>(), padded.loss.item<double>(),
                  relative * padded.loss.item<double>());
      EXPECT_NEAR(unpadded.nll.item<double>(), padded.nll.item<double>(),
                  relative * padded.nll.item<double>());
      expect_gradients(expected, relative);
      take_gradients();
    }
    model->set_activation_checkpointing(false);
  }
  set_use_reference_kernels(false);
}

TEST_P(Unpadded, AnExampleSeesNoOther) {
  const auto examples = ragged(config);
  const auto before = examples.unpadded_logits(model);
  const auto ends = Ragged::ends(examples.target_lengths);
  for (int64_t changed = 0; changed < examples.size(); ++changed) {
    for (const bool input : {true, false}) {
      auto other = examples;
      auto& side = input ? other.inputs : other.targets;
      side = side.clone();
      side[changed].add_(1).remainder_(config.vocab_size);
      const auto after = other.unpadded_logits(model);
      for (int64_t i = 0; i < examples.size(); ++i) {
        const int64_t begin = ends[i].item<int64_t>();
        const int64_t length = examples.target_lengths[static_cast<size_t>(i)];
        const auto part = [&](const torch::Tensor& all) { return all.narrow(1, begin, length); };
        if (i != changed) {
          // An expert's product may round otherwise with another number of rows.
          EXPECT_LE(largest_difference(part(before), part(after)),
                    config.moe.experts == 0 ? 0.0 : 1e-5)
              << i << " sees " << changed;
        } else if (input || length > 1) {  // of a single target the decoder sees the pad alone
          EXPECT_GT(largest_difference(part(before), part(after)), 1e-3);
        }
      }
    }
  }
}

TEST_P(Unpadded, ASingleExampleIsARow) {
  const Ragged one(config, {9}, {4});
  EXPECT_LT(largest_difference(one.unpadded_logits(model), one.padded_logits(model)), 1e-5);
}

// Dropout draws other numbers than for the padded batch, but the same ones again when layers are
// recomputed.
TEST_P(Unpadded, WithDropoutRecomputingGivesTheSameGradients) {
  config.dropout = 0.3;
  model = make_model(config);
  model->train();
  const auto examples = ragged(config);
  const auto loss = [&] {
    torch::manual_seed(5);
    const auto result = examples.unpadded_loss(model, {}).loss;
    result.backward();
    return result.item<double>();
  };
  const double expected_loss = loss();
  const auto expected = take_gradients();
  model->set_activation_checkpointing(true);
  EXPECT_EQ(loss(), expected_loss);
  expect_gradients(expected, 1e-5);
}

// Where capacities drop tokens and the routing losses count. Padding is not routed, so that the jitter,
// too, is drawn for the same tokens in the same order.
class UnpaddedMixtures : public Unpadded {};
INSTANTIATE_TEST_SUITE_P(Models, UnpaddedMixtures,
                         ::testing::ValuesIn(testing::kinds_with_mixtures()),
                         [](const auto& info) { return info.param.name; });

TEST_P(UnpaddedMixtures, RouteInTrainingAsInThePaddedBatch) {
  config.moe.jitter = 0.2;
  config.moe.capacity_factor = 0.75;
  config.moe.load_balance_loss = config.moe.router_z_loss = 1.0;
  model = make_model(config);
  model->to(torch::kDouble);
  model->train();
  set_use_reference_kernels(true);  // which know double throughout
  const auto examples = ragged(config);
  const auto run = [&](bool padded) {
    torch::manual_seed(6);
    const auto loss =
        (padded ? examples.padded_loss(model, {}) : examples.unpadded_loss(model, {})).loss;
    loss.backward();
    return std::pair{loss.item<double>(), model->routing_statistics()};
  };
  const auto [loss, statistics] = run(/*padded=*/true);
  const auto expected = take_gradients();
  for (const bool checkpointed : {false, true}) {
    model->set_activation_checkpointing(checkpointed);
    const auto [unpadded_loss, unpadded_statistics] = run(/*padded=*/false);
    EXPECT_NEAR(unpadded_loss, loss, 1e-10 * loss);
    EXPECT_TRUE(torch::allclose(unpadded_statistics, statistics, 1e-6, 1e-6, true));
    expect_gradients(expected, 1e-10);
    take_gradients();
  }
  EXPECT_GT(statistics[3].item<double>(), 0.0) << "no token was dropped";
  set_use_reference_kernels(false);
}

}  // namespace
}  // namespace altup
