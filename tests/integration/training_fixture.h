// What the integration tests share: a small corpus with its tokenizer and tasks, and a tiny run on
// it.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>

#include "altup/checkpoint/safetensors.h"
#include "altup/data/batch.h"
#include "altup/data/tokenizer.h"
#include "altup/util/random.h"
#include "tests/support/paths.h"
#include "trainers/demo_world.h"
#include "trainers/run_config.h"

namespace altup::testing {

constexpr int64_t kPieces = 400;

// A small corpus, its tokenizer and an SST-2 of the demo's world, made once for all tests.
class TrainingTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TempDir();
    DemoWorldConfig world;
    world.pretraining_bytes = 200'000;
    world.validation_bytes = 20'000;
    world.sentiment_train = 64;
    world.sentiment_dev = 16;
    world.entailment_train = world.entailment_dev = world.qa_train = world.qa_dev = 8;
    write_demo_world(world, files_->path());
    train_tokenizer(
        {.inputs = {files_->path() / "pretrain" / "part-00.txt"}, .vocab_size = kPieces},
        files_->path());
  }
  static void TearDownTestSuite() {
    delete files_;
    files_ = nullptr;
  }

  static RunConfig tiny_run(Variant variant) {
    RunConfig config;
    config.model.size = ModelSize::kCustom;
    config.model.d_model = 32;
    config.model.d_ff = 64;
    config.model.d_kv = 16;
    config.model.num_heads = 2;
    config.model.num_encoder_layers = 2;
    config.model.num_decoder_layers = 2;
    config.model.vocab_size = 512;
    config.model.altup.variant = variant;
    config.tokenizer.model = (files_->path() / "spiece.model").string();
    config.data.train = {(files_->path() / "pretrain" / "part-*.txt").string()};
    config.data.validation = {(files_->path() / "pretrain" / "validation.txt").string()};
    config.data.input_length = 48;
    config.data.target_length = 0;
    config.data.shuffle_window = 64;
    config.train.steps = 6;
    config.train.batch_size = 4;
    config.train.precision = Precision::kFp32;
    config.train.validation_examples = 8;
    config.train.log_every = 2;
    config.train.evaluate_every = 3;
    config.train.save_every = 3;
    config.optimizer.warmup_steps = 100;
    return config;
  }

  inline static TempDir* files_ = nullptr;
};

/// `size` random examples, `copies` of each in turn; ragged ones are of unequal length, no multiples of
/// a stride, so that there is padding.
inline Batch random_batch(int64_t size, bool ragged, int64_t copies = 1) {
  CounterRng rng(7);
  std::vector<Example> examples;
  for (int64_t i = 0; i < size; ++i) {
    const auto row = [&](int64_t length) {
      std::vector<int32_t> ids;
      for (int64_t k = 0; k + 1 < length; ++k)
        ids.push_back(static_cast<int32_t>(3 + rng.below(300)));
      ids.push_back(Tokenizer::kEos);
      return ids;
    };
    examples.push_back({row(ragged ? 5 + 3 * i : 16), row(ragged ? 9 - i : 8)});
  }
  const auto once = examples;
  for (int64_t i = 1; i < copies; ++i) examples.insert(examples.end(), once.begin(), once.end());
  return collate(examples);
}

inline Batch ragged_batch(int64_t copies = 1) {
  return random_batch(4, /*ragged=*/true, copies);
}

inline void expect_equal_files(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto first = read_safetensors(a);
  const auto second = read_safetensors(b);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].first, second[i].first);
    EXPECT_TRUE(torch::equal(first[i].second, second[i].second)) << first[i].first << " in " << b;
  }
}

}  // namespace altup::testing
