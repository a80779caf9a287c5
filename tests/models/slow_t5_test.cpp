// Each variant against the papers' algorithms written out as loops over tokens, heads and blocks.
#include "tests/models/slow_t5.h"

#include <gtest/gtest.h>

#include "tests/models/model_testing.h"

namespace altup {
namespace {

class Loops : public ::testing::TestWithParam<testing::NamedConfig> {};
INSTANTIATE_TEST_SUITE_P(Models, Loops, ::testing::ValuesIn(testing::every_kind()),
                         [](const auto& info) { return info.param.name; });

std::vector<int64_t> ids_of(const torch::Tensor& row, int64_t length) {
  return {row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + length};
}

TEST_P(Loops, HaveTheModelsLogitsAndGradientsInDouble) {
  const auto& config = GetParam().config;
  auto model = testing::make_model(config, 3);
  model->to(torch::kDouble);
  const std::vector<int64_t> lengths = {11, 6};  // the second one padded
  const int64_t target_length = 5;
  const auto inputs = testing::random_ids(2, 11, config);
  const auto targets = testing::random_ids(2, target_length, config);
  const auto weights =
      torch::randn({2, target_length, config.vocab_size}, torch::kDouble);  // of a loss

  const auto logits = model->forward(inputs, testing::mask_of(lengths, 11), targets);
  (weights * logits).sum().backward();
  std::vector<std::pair<std::string, torch::Tensor>> gradients;
  for (const auto& item : model->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    gradients.emplace_back(item.key(), item.value().grad().clone());
  }
  model->zero_grad();

  testing::SlowT5 slow(model);
  for (int64_t b = 0; b < 2; ++b) {
    const auto expected = slow.logits(ids_of(inputs[b], lengths[static_cast<size_t>(b)]),
                                      ids_of(targets[b], target_length));
    EXPECT_LT(testing::largest_difference(logits[b], expected), 1e-10);
    (weights[b] * expected).sum().backward();
  }
  const auto parameters = model->named_parameters();
  for (const auto& [name, gradient] : gradients) {
    const auto& expected = parameters[name].grad();
    ASSERT_TRUE(expected.defined()) << name;
    const double scale = 1 + expected.abs().max().item<double>();
    EXPECT_LT(testing::largest_difference(gradient, expected), 1e-10 * scale) << name;
  }
}

}  // namespace
}  // namespace altup
