// Texts through a small random model: how they are batched, and that it does not matter.
#include "trainers/text_generation.h"

#include <gmock/gmock.h>

#include "altup/util/error.h"
#include "tests/data/support.h"
#include "tests/support/one_thread.h"
#include "trainers/bench.h"
#include "trainers/text_stream.h"

namespace altup {
namespace {

using testing::small_tokenizer;

T5 small_model() {
  T5Config config;
  config.size = ModelSize::kCustom;
  config.d_model = 16;
  config.d_ff = 24;
  config.d_kv = 8;
  config.num_heads = 2;
  config.num_encoder_layers = 1;
  config.num_decoder_layers = 1;
  config.vocab_size = 256;
  torch::manual_seed(3);
  T5 model(config);
  model->eval();
  return model;
}

// n words of one piece each, or more.
std::string words(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += " river";
  return text;
}

TEST(TextGeneration, BatchesHoldNoMoreInputsAndTokensThanTheyMay) {
  auto model = small_model();
  const auto& tokenizer = *small_tokenizer();
  const auto length = [&](int n) {
    return static_cast<int64_t>(encode_with_eos(tokenizer, words(n), 512).size());
  };
  const std::vector<std::string> inputs = {words(1), words(9),  words(1),
                                           words(4), words(30), words(10)};
  TextGenerationConfig config{.batch_size = 3, .decoding = {.max_new_tokens = 4}};
  const auto batches = [&](int64_t batch_tokens) {
    config.batch_tokens = batch_tokens;
    return generate_texts(model, tokenizer, inputs, config).batches;
  };
  // The longest go first, and the others are padded to them.
  EXPECT_EQ(batches(3 * length(30)), 2);      // {30, 10, 9}, {4, 1, 1}
  EXPECT_EQ(batches(3 * length(30) - 1), 3);  // {30, 10}, {9, 4, 1}, {1}
  EXPECT_EQ(batches(2 * length(10)), 3);      // {30}, {10, 9}, {4, 1, 1}
  EXPECT_EQ(batches(2 * length(10) - 1), 4);  // {30}, {10}, {9, 4}, {1, 1}
  EXPECT_EQ(batches(1), 6);  // an input goes through also where it is longer than a batch may be
}

TEST(TextGeneration, TheLargestBatchIsTheFirst) {
  const auto& tokenizer = *small_tokenizer();
  const std::vector<std::string> inputs = {words(1), words(9), words(4), words(30), words(10)};
  TextGenerationConfig config{.batch_size = 3};
  EXPECT_THAT(largest_batch(tokenizer, inputs, config),
              ::testing::ElementsAre(words(30), words(10), words(9)));
  config.batch_tokens = 1;
  EXPECT_THAT(largest_batch(tokenizer, inputs, config), ::testing::ElementsAre(words(30)));
  EXPECT_TRUE(largest_batch(tokenizer, {}, config).empty());
}

TEST(TextGeneration, BatchesChangeNothing) {
  auto model = small_model();
  std::vector<std::string> inputs;
  for (int i = 0; i < 9; ++i) inputs.push_back(words(i * i % 7) + " stone");
  for (const auto& decoding : {GenerationConfig{.max_new_tokens = 12},
                               GenerationConfig{.max_new_tokens = 12, .beams = 3, .n_best = 2},
                               GenerationConfig{.max_new_tokens = 12, .sample = true, .seed = 4}}) {
    TextGenerationConfig config{.batch_size = 9, .decoding = decoding};
    const auto together = generate_texts(model, *small_tokenizer(), inputs, config);
    config.batch_tokens = 6;
    const auto apart = generate_texts(model, *small_tokenizer(), inputs, config);
    EXPECT_GT(apart.batches, 3);
    EXPECT_EQ(apart.texts, together.texts);
    EXPECT_EQ(apart.generated_tokens, together.generated_tokens);
    ASSERT_EQ(together.hypotheses.size(), inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      ASSERT_EQ(together.hypotheses[i].size(), static_cast<size_t>(decoding.n_best));
      EXPECT_EQ(together.hypotheses[i][0].text, together.texts[i]);
    }
  }
}

TEST(TextGeneration, ASampleGoesByTheNumberOfItsInput) {
  auto model = small_model();
  const std::vector<std::string> inputs = {words(1), words(5), words(2), words(3)};
  const TextGenerationConfig config{.decoding = {.max_new_tokens = 12, .sample = true}};
  const auto all = generate_texts(model, *small_tokenizer(), inputs, config).texts;
  const std::vector<std::string> later(inputs.begin() + 2, inputs.end());
  EXPECT_EQ(generate_texts(model, *small_tokenizer(), later, config, 2).texts,
            std::vector(all.begin() + 2, all.end()));
}

TEST(BenchGenerate, KeepsToTheTokenizersIdsAndLeavesTheModelInItsMode) {
  auto model = small_model();
  GenerateBenchConfig config{
      .batch_size = 1, .beams = 3, .input_length = 4, .new_tokens = 3, .repeats = 1};
  model->train();
  bench_generate(model, config);
  EXPECT_TRUE(model->is_training());
  config.valid_vocab = 5;  // too few for three beams
  EXPECT_THROW(bench_generate(model, config), UserError);
}

TEST(TextGeneration, CountsWhatTheLimitsCut) {
  auto model = small_model();
  const std::vector<std::string> inputs = {words(1), words(40), words(2), words(50)};
  const TextGenerationConfig config{.input_length = 20, .decoding = {.max_new_tokens = 1}};
  const auto result = generate_texts(model, *small_tokenizer(), inputs, config);
  EXPECT_EQ(result.truncated_inputs, 2);
  int64_t cut = 0;
  for (const auto& outputs : result.hypotheses) cut += outputs[0].finished ? 0 : 1;
  EXPECT_EQ(result.truncated_outputs, cut);
  EXPECT_DOUBLE_EQ(result.truncated_share(), static_cast<double>(cut) / 4.0);
  EXPECT_DOUBLE_EQ(TextGeneration().truncated_share(), 0.0);
}

TEST(TextGeneration, StreamedTextIsTheText) {
  auto model = small_model();
  for (const bool sample : {false, true}) {
    const TextGenerationConfig config{.decoding = {.max_new_tokens = 30, .sample = sample}};
    const auto expected =
        generate_texts(model, *small_tokenizer(), {words(1), words(2), words(3)}, config);
    std::string streamed;
    int pieces = 0;
    const auto result =
        stream_text(model, *small_tokenizer(), words(3), 2, config, [&](std::string_view piece) {
          streamed += piece;
          pieces += piece.empty() ? 0 : 1;
        });
    EXPECT_EQ(streamed, expected.texts[2]);
    EXPECT_EQ(result.texts[0], expected.texts[2]);
    EXPECT_GT(pieces, 5);
  }
}

// Spaces, sentinels, the unknown token and what decoding leaves out.
TEST(TextStream, HandsOutWhatTheIdsAddUpTo) {
  const auto& tokenizer = *small_tokenizer();
  auto ids = tokenizer.encode("the old bridge<extra_id_3> walked <extra_id_0>slowly.");
  ids.insert(ids.begin() + 3, {Tokenizer::kUnk, Tokenizer::kPad, Tokenizer::kUnk});
  ids.push_back(Tokenizer::kEos);
  TextStream stream(tokenizer);
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    text += stream.add(ids[i]);
    EXPECT_EQ(text, tokenizer.decode(std::span(ids).first(i + 1)));
  }
  EXPECT_EQ(stream.finish(), "");
}

}  // namespace
}  // namespace altup
