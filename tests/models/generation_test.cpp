#include "altup/models/generation.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "altup/util/error.h"
#include "altup/util/text.h"
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

std::vector<std::vector<int64_t>> best_ids(const Generation& generation) {
  std::vector<std::vector<int64_t>> ids;
  for (const auto& output : generation.outputs) ids.push_back(output.front().ids);
  return ids;
}

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
  const auto together = best_ids(generate(model, inputs, mask_of(lengths, 11),
                                          {.max_new_tokens = limit, .valid_vocab = valid_vocab}));
  ASSERT_EQ(together.size(), 4U);
  for (int64_t b = 0; b < 4; ++b) {
    const auto alone = inputs.narrow(0, b, 1).narrow(1, 0, lengths[static_cast<size_t>(b)]);
    EXPECT_EQ(together[static_cast<size_t>(b)], by_definition(model, alone, limit, valid_vocab));
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
  auto generation = generate(ends, inputs, {}, {.max_new_tokens = 6});
  EXPECT_THAT(best_ids(generation), ::testing::Each(::testing::ElementsAre(1)));
  EXPECT_TRUE(generation.outputs[0].front().finished);
  EXPECT_EQ(generation.truncated, 0);

  auto never_ends = make_biased_model(9);
  generation = generate(never_ends, inputs, {}, {.max_new_tokens = 6});
  EXPECT_THAT(best_ids(generation), ::testing::Each(::testing::ElementsAre(9, 9, 9, 9, 9, 9)));
  EXPECT_FALSE(generation.outputs[0].front().finished);
  EXPECT_EQ(generation.truncated, 2);
}

TEST(Generation, NeverProducesAnIdThatIsNotAWord) {
  auto model = make_biased_model(39);
  const auto inputs = torch::full({1, 3}, 5, torch::kInt64);
  for (GenerationConfig config :
       {GenerationConfig{.max_new_tokens = 3}, GenerationConfig{.max_new_tokens = 3, .beams = 2}}) {
    EXPECT_THAT(best_ids(generate(model, inputs, {}, config))[0], ::testing::Each(39));
    config.valid_vocab = 39;
    EXPECT_THAT(best_ids(generate(model, inputs, {}, config))[0],
                ::testing::Each(::testing::Lt(39)));
  }
}

TEST(Generation, LeavesTheModelInItsMode) {
  auto config = small_config();
  config.dropout = 0.5;
  auto model = make_model(config);
  const auto inputs = random_ids(1, 4, config);
  const auto expected = best_ids(generate(model, inputs, {}, {.max_new_tokens = 5}));
  model->train();
  EXPECT_EQ(best_ids(generate(model, inputs, {}, {.max_new_tokens = 5})), expected);
  EXPECT_TRUE(model->is_training());
  EXPECT_TRUE(model->decoder->is_training());
}

// --- rows that end at different times ---------------------------------------------------------

struct Batch {
  T5 model{nullptr};
  torch::Tensor ids = {};
  std::vector<int64_t> lengths = {};
};

constexpr int64_t kLimit = 24;

// Six inputs of unequal lengths, of whose outputs some end, at three or more lengths, and some are
// cut. A small vocabulary makes eos likely; the seed is looked for, since random numbers may differ
// between machines.
Batch ragged_batch(const GenerationConfig& config) {
  Batch batch{.lengths = {12, 5, 1, 8, 3, 12}};
  auto model_config = small_config(Variant::kAltUp, 2);
  model_config.vocab_size = 9;
  for (uint64_t seed = 1; seed < 500; ++seed) {
    batch.model = make_model(model_config, seed);
    batch.ids = random_ids(6, 12, model_config);
    const auto result = generate(batch.model, batch.ids, mask_of(batch.lengths, 12), config);
    std::set<size_t> lengths;
    for (const auto& ids : best_ids(result)) lengths.insert(ids.size());
    if (lengths.size() > 3 && result.truncated > 0) return batch;
  }
  ADD_FAILURE() << "no model gives rows of different lengths";
  return batch;
}

GenerationConfig ways[] = {
    {.max_new_tokens = kLimit, .valid_vocab = 8},
    {.max_new_tokens = kLimit, .valid_vocab = 8, .beams = 3, .n_best = 3, .length_penalty = 0.6},
    {.max_new_tokens = kLimit, .valid_vocab = 8, .sample = true, .top_k = 6, .seed = 5},
};

TEST(Generation, GivesEachExampleOfABatchItsOwnOutputsWhicheverTheWay) {
  for (const auto& config : ways) {
    auto batch = ragged_batch(config);
    const auto together = generate(batch.model, batch.ids, mask_of(batch.lengths, 12), config);
    for (int64_t b = 0; b < 6; ++b) {
      const auto row = static_cast<size_t>(b);
      const auto alone = batch.ids.narrow(0, b, 1).narrow(1, 0, batch.lengths[row]);
      const auto expected = generate(batch.model, alone, {}, config, {b}).outputs[0];
      ASSERT_EQ(together.outputs[row].size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(together.outputs[row][i].ids, expected[i].ids);
        EXPECT_EQ(together.outputs[row][i].finished, expected[i].finished);
        EXPECT_NEAR(together.outputs[row][i].score, expected[i].score, 1e-5);
      }
    }
  }
}

// The score is that of the whole output, teacher-forced.
TEST(Beams, ScoreIsTheSumOfLogProbabilitiesOverThePowerOfTheLength) {
  const auto& config = ways[1];
  auto batch = ragged_batch(config);
  torch::NoGradGuard no_grad;
  const auto result = generate(batch.model, batch.ids, mask_of(batch.lengths, 12), config);
  for (int64_t b = 0; b < 6; ++b) {
    const auto& outputs = result.outputs[static_cast<size_t>(b)];
    double last = 0.0;
    for (const auto& output : outputs) {
      const auto targets = torch::tensor(output.ids).unsqueeze(0);  // [1, T]
      const auto mask = mask_of({batch.lengths[static_cast<size_t>(b)]}, 12);
      const auto logits =
          batch.model->forward(batch.ids.narrow(0, b, 1), mask, shift_right(targets));
      const auto chosen = logits.log_softmax(-1).gather(2, targets.unsqueeze(2));
      const auto length = static_cast<double>(output.ids.size());
      EXPECT_NEAR(output.score, chosen.sum().item<double>() / std::pow(length, 0.6), 1e-4);
      EXPECT_EQ(output.finished, output.ids.back() == 1);
      EXPECT_TRUE(output.finished || length == kLimit);
      EXPECT_LE(output.score, last);
      last = output.score;
    }
  }
}

TEST(Beams, FindMoreThanGreedyDoes) {
  auto batch = ragged_batch(ways[0]);
  double gain = 0.0;
  GenerationConfig beams{.max_new_tokens = kLimit, .valid_vocab = 8, .beams = 4};
  beams.length_penalty = 0.0;  // the score is then the log-probability alone
  const auto wide = generate(batch.model, batch.ids, mask_of(batch.lengths, 12), beams);
  beams.beams = 2;
  const auto narrow = generate(batch.model, batch.ids, mask_of(batch.lengths, 12), beams);
  for (size_t b = 0; b < 6; ++b) gain += wide.outputs[b][0].score - narrow.outputs[b][0].score;
  EXPECT_GT(gain, 0.0);
}

TEST(Sampling, DependsOnSeedAndExampleOnly) {
  auto batch = ragged_batch(ways[2]);
  const auto mask = mask_of(batch.lengths, 12);
  const auto first = best_ids(generate(batch.model, batch.ids, mask, ways[2]));
  EXPECT_EQ(best_ids(generate(batch.model, batch.ids, mask, ways[2])), first);
  EXPECT_EQ(best_ids(generate(batch.model, batch.ids.flip({0}), mask.flip({0}), ways[2],
                              {5, 4, 3, 2, 1, 0})),
            std::vector(first.rbegin(), first.rend()));
  EXPECT_NE(best_ids(generate(batch.model, batch.ids, mask, ways[2], {6, 7, 8, 9, 10, 11})), first);
  auto other = ways[2];
  other.seed = 6;
  EXPECT_NE(best_ids(generate(batch.model, batch.ids, mask, other)), first);
}

TEST(Sampling, FromTheLikeliestOneIsGreedy) {
  auto batch = ragged_batch(ways[0]);
  const auto mask = mask_of(batch.lengths, 12);
  const auto greedy = best_ids(generate(batch.model, batch.ids, mask, ways[0]));
  for (auto config : {GenerationConfig{.sample = true, .top_k = 1},
                      GenerationConfig{.sample = true, .top_p = 1e-6},
                      GenerationConfig{.sample = true, .temperature = 1e-4},
                      GenerationConfig{.sample = true, .temperature = 1e-6}}) {
    config.max_new_tokens = kLimit;
    config.valid_vocab = 8;
    EXPECT_EQ(best_ids(generate(batch.model, batch.ids, mask, config)), greedy);
  }
}

// Logits of 10^33 overflow where they are divided by the temperature as they are.
TEST(Sampling, AtALowTemperatureIsGreedyHoweverLargeTheLogits) {
  auto model = make_biased_model(9);
  {
    torch::NoGradGuard no_grad;
    model->lm_head->weight.mul_(1e33);
  }
  const GenerationConfig config{
      .max_new_tokens = 4, .valid_vocab = 38, .sample = true, .temperature = 1e-6};
  const auto inputs = torch::full({2, 3}, 5, torch::kInt64);
  EXPECT_THAT(best_ids(generate(model, inputs, {}, config)),
              ::testing::Each(::testing::ElementsAre(9, 9, 9, 9)));
}

TEST(Sampling, FromAModelOfNansFails) {
  auto model = make_biased_model(9);
  {
    torch::NoGradGuard no_grad;
    model->lm_head->weight.fill_(std::nan(""));
  }
  const auto inputs = torch::full({1, 3}, 5, torch::kInt64);
  EXPECT_THROW(
      generate(model, inputs, {}, {.max_new_tokens = 4, .valid_vocab = 38, .sample = true}),
      c10::Error);
}

TEST(Generation, TellsEachIdAsItIsChosen) {
  auto batch = ragged_batch(ways[0]);
  for (int64_t b = 0; b < 6; ++b) {
    std::vector<int64_t> told;
    const auto alone =
        batch.ids.narrow(0, b, 1).narrow(1, 0, batch.lengths[static_cast<size_t>(b)]);
    const auto result =
        generate(batch.model, alone, {}, ways[0], {}, [&](int64_t id) { told.push_back(id); });
    EXPECT_EQ(told, result.outputs[0].front().ids);
  }
}

// --- the cache --------------------------------------------------------------------------------

TEST(KvCache, SizeDoesNotDependOnTheNumberOfBlocks) {
  torch::NoGradGuard no_grad;
  std::vector<int64_t> bytes;
  for (const int64_t blocks : {1, 4}) {
    const auto config = small_config(Variant::kAltUp, blocks);
    auto model = make_model(config);
    const auto inputs = random_ids(2, 7, config);
    KvCache cache;
    model->decode(torch::zeros({2, 1}, torch::kInt64), model->encode(inputs, {}), {}, &cache);
    bytes.push_back(cache.bytes());
  }
  // Keys and values, 2 layers, 2 rows, 7 + 16 tokens (the cache grows from 16), 3 heads of 4, fp32.
  const int64_t expected = 2 * 2 * 2 * (7 + 16) * 3 * 4 * 4;
  EXPECT_THAT(bytes, ::testing::ElementsAre(expected, expected));
}

// Two inputs, the first with beams that go on from other beams; cross-attention stays one row each.
TEST(KvCache, BeamsFollowTheirIndicesAndShareTheirInput) {
  torch::NoGradGuard no_grad;
  const auto config = small_config(Variant::kAltUp, 2);
  auto model = make_model(config);
  const auto inputs = random_ids(2, 7, config);
  const auto mask = mask_of({7, 4}, 7);
  const auto memory = model->encode(inputs, mask);
  const auto ids = [](std::vector<int64_t> values) { return torch::tensor(values).unsqueeze(1); };
  KvCache cache;
  model->decode(ids({0, 0}), memory, mask, &cache);
  cache.select_rows(torch::tensor({0, 0, 0, 1, 1, 1}));
  model->decode(ids({3, 4, 5, 6, 7, 8}), {}, {}, &cache);
  cache.select_rows(torch::tensor({1, 0, 1, 5, 5, 3}));
  const auto last = model->decode(ids({9, 10, 11, 12, 13, 14}), {}, {}, &cache);
  EXPECT_EQ(cache.layers[0].cross.keys.size(0), 2);
  EXPECT_EQ(cache.layers[0].self.keys.size(0), 6);

  const auto whole =
      torch::tensor({{0, 4, 9}, {0, 3, 10}, {0, 4, 11}, {0, 8, 12}, {0, 8, 13}, {0, 6, 14}});
  const auto input = torch::tensor({0, 0, 0, 1, 1, 1});
  const auto expected =
      model->decode(whole, memory.index_select(0, input), mask.index_select(0, input));
  EXPECT_LT(testing::largest_difference(last.squeeze(1), expected.select(1, 2)), 1e-5);

  cache.select_rows(torch::tensor({3, 4, 5}));  // the first input leaves
  const auto alone = model->decode(ids({2, 3, 4}), {}, {}, &cache);
  const auto longer = torch::cat({whole.narrow(0, 3, 3), ids({2, 3, 4})}, 1);
  const auto second = torch::ones({3}, torch::kInt64);
  EXPECT_LT(testing::largest_difference(
                alone.squeeze(1),
                model->decode(longer, memory.index_select(0, second), mask.index_select(0, second))
                    .select(1, 3)),
            1e-5);
}

// --- options ----------------------------------------------------------------------------------

TEST(GenerationConfig, RefusesWhatContradictsItself) {
  const auto refusal = [](GenerationConfig config) -> std::string {
    if (config.max_new_tokens == 0) config.max_new_tokens = 5;
    try {
      config.validate();
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  using ::testing::StartsWith;
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({.beams = 4, .n_best = 4, .length_penalty = -2.0}), "");
  EXPECT_EQ(refusal({.sample = true, .temperature = 0.7, .top_k = 9, .top_p = 0.9}), "");
  EXPECT_THAT(refusal({.max_new_tokens = -1}), StartsWith("max_new_tokens is -1"));
  EXPECT_THAT(refusal({.beams = 2, .n_best = 3}), StartsWith("n_best is 3"));
  EXPECT_THAT(refusal({.length_penalty = 0.6}), StartsWith("length_penalty is 0.6"));
  EXPECT_THAT(refusal({.early_stopping = EarlyStopping::kNever}),
              StartsWith("early_stopping is never"));
  EXPECT_THAT(refusal({.beams = 2, .sample = true}), StartsWith("sample is set and beams is 2"));
  EXPECT_THAT(refusal({.temperature = 0.5}), StartsWith("temperature, top_k and top_p"));
  EXPECT_THAT(refusal({.sample = true, .temperature = 0.0}), StartsWith("temperature is 0"));
  for (const double temperature : {1e-46, 1e-38, 9e-7, 1e31, HUGE_VAL, std::nan("")}) {
    EXPECT_THAT(refusal({.sample = true, .temperature = temperature}),
                StartsWith(str("temperature is ", temperature, "; expected 1e-06 to 1e+30")));
  }
  for (const double temperature : {1e-6, 1e30}) {
    EXPECT_EQ(refusal({.sample = true, .temperature = temperature}), "");
  }
  EXPECT_THAT(refusal({.sample = true, .top_k = -1}), StartsWith("top_k is -1"));
  EXPECT_THAT(refusal({.sample = true, .top_p = 1.5}), StartsWith("top_p is 1.5"));
  EXPECT_THAT(refusal({.repetition_penalty = 0.0}), StartsWith("repetition_penalty is 0"));
  for (const double penalty : {1e-46, 1e-39, 1e39, HUGE_VAL, std::nan("")}) {
    EXPECT_THAT(refusal({.repetition_penalty = penalty}),
                StartsWith(str("repetition_penalty is ", penalty, "; expected 1e-30 to 1e+30")));
  }
  for (const double penalty : {-400.0, -20.0, 20.0, 400.0}) {  // 100^20 = 10^40
    EXPECT_THAT(refusal({.max_new_tokens = 100, .beams = 2, .length_penalty = penalty}),
                StartsWith(str("length_penalty is ", penalty, "; expected one with which")));
    EXPECT_EQ(refusal({.max_new_tokens = 1, .beams = 2, .length_penalty = penalty}), "");
  }
  EXPECT_EQ(refusal({.max_new_tokens = 100, .beams = 2, .length_penalty = 14.0}), "");
  EXPECT_THAT(refusal({.no_repeat_ngram_size = -1}), StartsWith("no_repeat_ngram_size is -1"));
  EXPECT_THROW(GenerationConfig{}.validate(), UserError);  // no limit was given

  auto model = make_model(small_config());
  const auto input = torch::ones({1, 2}, torch::kInt64);
  for (const int64_t beams : {int64_t{21}, std::numeric_limits<int64_t>::max() / 2 + 2}) {
    EXPECT_THROW(generate(model, input, {}, {.max_new_tokens = 5, .beams = beams}),
                 UserError);  // 40 ids
  }
}

}  // namespace
}  // namespace altup
