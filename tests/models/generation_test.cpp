#include "altup/models/generation.h"

#include <gmock/gmock.h>

#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;
using testing::small_config;

class Greedy : public ::testing::TestWithParam<NamedConfig> {};
INSTANTIATE_TEST_SUITE_P(Models, Greedy, ::testing::ValuesIn(testing::every_kind()),
                         [](const auto& info) { return info.param.name; });

// The definition: the whole decoder again for every token, one example at a time, no mask.
std::vector<int64_t> by_definition(T5& model, const torch::Tensor& input_ids, int64_t limit,
                                   int64_t valid_vocab) {
  torch::NoGradGuard no_grad;
  std::vector<int64_t> ids = {0};
  while (static_cast<int64_t>(ids.size()) <= limit) {
    const auto logits = model->forward(input_ids, {}, torch::tensor(ids).unsqueeze(0));
    ids.push_back(logits[0][-1].narrow(0, 0, valid_vocab).argmax().item<int64_t>());
    if (ids.back() == 1) break;
  }
  ids.erase(ids.begin());
  return ids;
}

TEST_P(Greedy, GivesEachExampleOfABatchItsOwnIds) {
  const auto& config = GetParam().config;
  auto model = make_model(config, 3);
  const std::vector<int64_t> lengths = {11, 4, 1, 7};
  const auto inputs = random_ids(4, 11, config);
  const int64_t limit = 20;
  const int64_t valid_vocab = 38;
  const auto together = generate_greedy(model, inputs, mask_of(lengths, 11),
                                        {.max_new_tokens = limit, .valid_vocab = valid_vocab});
  ASSERT_EQ(together.ids.size(), 4U);
  for (int64_t b = 0; b < 4; ++b) {
    const auto alone = inputs.narrow(0, b, 1).narrow(1, 0, lengths[static_cast<size_t>(b)]);
    EXPECT_EQ(together.ids[static_cast<size_t>(b)],
              by_definition(model, alone, limit, valid_vocab));
  }
}

// A dense model whose head prefers `favourite` by far, whatever it reads.
T5 make_biased_model(int64_t favourite) {
  auto model = make_model(small_config());
  torch::NoGradGuard no_grad;
  model->decoder->final_norm->weight.zero_();  // all logits are 0, and the first id wins
  model->decoder->final_norm->weight[0] = 1.0;
  model->lm_head->weight.zero_();
  model->lm_head->weight[favourite][0] = 1.0;
  // The first feature is positive for every token: the embedding's is large.
  model->shared->weight.select(1, 0).fill_(1000.0);
  return model;
}

TEST(Generation, StopsAtEosAndCountsWhatTheLimitCut) {
  const auto inputs = torch::full({2, 3}, 5, torch::kInt64);
  auto ends = make_biased_model(1);
  auto generation = generate_greedy(ends, inputs, {}, {.max_new_tokens = 6});
  EXPECT_THAT(generation.ids, ::testing::Each(::testing::ElementsAre(1)));
  EXPECT_EQ(generation.truncated, 0);

  auto never_ends = make_biased_model(9);
  generation = generate_greedy(never_ends, inputs, {}, {.max_new_tokens = 6});
  EXPECT_THAT(generation.ids, ::testing::Each(::testing::ElementsAre(9, 9, 9, 9, 9, 9)));
  EXPECT_EQ(generation.truncated, 2);
}

TEST(Generation, NeverProducesAnIdThatIsNotAWord) {
  auto model = make_biased_model(39);
  const auto inputs = torch::full({1, 3}, 5, torch::kInt64);
  EXPECT_THAT(generate_greedy(model, inputs, {}, {.max_new_tokens = 3}).ids[0],
              ::testing::Each(39));
  const auto limited =
      generate_greedy(model, inputs, {}, {.max_new_tokens = 3, .valid_vocab = 39}).ids[0];
  EXPECT_THAT(limited, ::testing::Each(::testing::Lt(39)));
}

TEST(Generation, LeavesTheModelInItsMode) {
  auto config = small_config();
  config.dropout = 0.5;
  auto model = make_model(config);
  const auto inputs = random_ids(1, 4, config);
  const auto expected = generate_greedy(model, inputs, {}, {.max_new_tokens = 5}).ids;
  model->train();
  EXPECT_EQ(generate_greedy(model, inputs, {}, {.max_new_tokens = 5}).ids, expected);
  EXPECT_TRUE(model->is_training());
  EXPECT_TRUE(model->decoder->is_training());
}

}  // namespace
}  // namespace altup
