// Fine-tuning: from a checkpoint, on one task and on several at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "altup/util/error.h"
#include "altup/util/text.h"
#include "tests/integration/training_fixture.h"
#include "trainers/checkpoint_io.h"
#include "trainers/metrics.h"
#include "trainers/training.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using testing::expect_equal_files;
using ::testing::HasSubstr;

class FineTuning : public testing::TrainingTest {
 protected:
  // Sentiment and entailment of the demo's world, from new weights.
  static RunConfig mixture() {
    RunConfig config = tiny_run(Variant::kRecycled);
    config.data = DataConfig();
    config.task.names = {"glue/sst2", "glue/rte"};
    config.task.data = files_->path().string();
    config.task.input_length = 64;
    config.task.target_length = 16;
    config.task.validation_examples = 4;
    return config;
  }
};

TEST_F(FineTuning, FineTuningStartsFromACheckpointAndLearnsATask) {
  testing::TempDir runs;
  auto pretraining = tiny_run(Variant::kAltUp);
  pretraining.train.steps = 2;
  pretrain(pretraining, runs / "base", Resume::kAuto);

  RunConfig config;
  config.task.names = {"glue/sst2"};
  config.task.data = files_->path().string();
  config.task.validation_split = "train";  // can it learn what it sees: 64 sentences by heart
  config.task.input_length = 64;
  config.task.target_length = 8;
  config.train.init_from = (runs / "base").string();
  config.train.steps = 150;
  config.train.batch_size = 16;
  config.train.precision = Precision::kFp32;
  config.train.evaluate_every = 0;
  config.train.save_every = 0;
  config.optimizer.name = OptimizerName::kAdamW;
  config.optimizer.learning_rate = 3e-3;
  config.optimizer.schedule = Schedule::kConstant;
  config.optimizer.warmup_steps = 0;
  const auto result = finetune(config, runs / "tuned", Resume::kAuto);
  ASSERT_EQ(result.evaluation.size(), 1U);
  EXPECT_EQ(result.evaluation.front().split, "glue/sst2");
  EXPECT_GT(result.evaluation.front().values.at("accuracy"), 95.0);
  EXPECT_EQ(load_model(runs / "tuned", torch::kCPU).config.model.altup.variant, Variant::kAltUp);
  EXPECT_TRUE(fs::exists(runs / "tuned" / "answers.jsonl"));

  config.model.d_model = 48;
  config.sources["model.d_model"] = "here:1";
  EXPECT_THROW(finetune(config, runs / "other", Resume::kAuto), UserError)
      << "contradicts the checkpoint";
}

TEST_F(FineTuning, AMixtureIsEvaluatedTaskByTaskAndResumesBitExactly) {
  testing::TempDir runs;
  auto config = mixture();
  config.model.dropout = 0.1;
  ::testing::internal::CaptureStderr();
  const auto result = finetune(config, runs / "whole", Resume::kAuto);
  const auto log = ::testing::internal::GetCapturedStderr();
  ASSERT_EQ(result.evaluation.size(), 3U);
  EXPECT_EQ(result.evaluation[0].split, "glue/sst2");
  EXPECT_EQ(result.evaluation[1].split, "glue/rte");
  EXPECT_EQ(result.evaluation[2].split, "average");
  EXPECT_DOUBLE_EQ(
      result.evaluation[2].values.at("score"),
      (result.evaluation[0].values.at("accuracy") + result.evaluation[1].values.at("accuracy")) /
          2.0);
  for (const auto* file : {"answers_glue_sst2.jsonl", "answers_glue_rte.jsonl"}) {
    EXPECT_TRUE(fs::exists(runs / "whole" / file)) << file;
  }
  EXPECT_THAT(log, HasSubstr("glue/sst2: 64 examples, 88.9 % of the mixture"));
  EXPECT_THAT(log, HasSubstr("glue/rte: 8 examples, 11.1 % of the mixture"));
  // What evaluation needs most memory for is done before the first step.
  const auto rehearsal = log.find("the largest batch of an evaluation, tried first: 8 inputs");
  EXPECT_LT(rehearsal, log.find("step 2/"));
  for (const int task : {0, 1}) {
    const double cut = result.evaluation[task].values.at("cut_answers");
    EXPECT_TRUE(cut >= 0.0 && cut <= 100.0) << cut;
  }

  auto half = config;
  half.train.steps = 3;
  finetune(half, runs / "parts", Resume::kAuto);
  finetune(config, runs / "parts", Resume::kMust);
  for (const auto* file : {"model.safetensors", "optimizer.safetensors"}) {
    expect_equal_files(runs / "whole" / "checkpoints" / "latest" / file,
                       runs / "parts" / "checkpoints" / "latest" / file);
  }
}

TEST_F(FineTuning, BucketsResumeBitExactlyInTheMiddleOfAGroup) {
  testing::TempDir runs;
  auto config = mixture();
  config.model.dropout = 0.1;
  config.task.bucket_batches = 4;
  config.train.micro_batch_size = 2;
  for (const auto padding : {Padding::kNone, Padding::kLongest}) {
    config.train.padding = padding;
    const auto whole = runs / str("whole_", enum_name(padding));
    const auto parts = runs / str("parts_", enum_name(padding));
    finetune(config, whole, Resume::kAuto);
    auto half = config;
    for (const int64_t steps : {1, 3}) {
      half.train.steps = steps;
      finetune(half, parts, Resume::kAuto);
    }
    finetune(config, parts, Resume::kMust);
    for (const auto* file : {"model.safetensors", "optimizer.safetensors"}) {
      expect_equal_files(whole / "checkpoints" / "latest" / file,
                         parts / "checkpoints" / "latest" / file);
    }
  }
}

TEST_F(FineTuning, PaddingChangesTheArithmeticOnlyAndNotTheBatches) {
  testing::TempDir runs;
  std::vector<MetricRecord> records;
  for (const auto padding : {Padding::kNone, Padding::kLongest, Padding::kMaximum}) {
    auto config = mixture();
    config.train.padding = padding;
    config.train.steps = 4;
    config.train.log_every = 4;
    config.train.evaluate_every = 0;
    const auto run = runs / std::string(enum_name(padding));
    finetune(config, run, Resume::kAuto);
    records.push_back(read_metrics(run / "metrics.jsonl").front());
  }
  for (const auto& record : records) {
    EXPECT_EQ(record.values.at("tokens"), records[0].values.at("tokens"));
    EXPECT_NEAR(record.values.at("loss"), records[0].values.at("loss"), 1e-4);
    EXPECT_NEAR(record.values.at("gradient_norm"), records[0].values.at("gradient_norm"), 1e-3);
    EXPECT_LT(record.values.at("data_seconds"), record.values.at("seconds"));
  }
}

TEST_F(FineTuning, ACapMakesSharesMoreEqual) {
  testing::TempDir runs;
  auto config = mixture();
  config.task.mixing_cap = 8;
  config.train.steps = 1;
  ::testing::internal::CaptureStderr();
  finetune(config, runs / "run", Resume::kAuto);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("glue/sst2: 64 examples, 50.0 % of the mixture"));
}

TEST_F(FineTuning, TheChosenMetricPicksTheBestCheckpoint) {
  testing::TempDir runs;
  auto config = mixture();
  config.train.steps = 60;
  config.train.evaluate_every = 10;
  config.train.save_every = 0;
  config.train.batch_size = 8;
  config.task.validation_split = "train";
  config.task.validation_examples = 0;
  config.task.best_metric = "glue/rte/accuracy";
  config.optimizer.name = OptimizerName::kAdamW;
  config.optimizer.learning_rate = 3e-3;
  config.optimizer.schedule = Schedule::kConstant;
  config.optimizer.warmup_steps = 0;
  finetune(config, runs / "run", Resume::kAuto);
  int64_t best_step = 0;
  double best = -1.0;
  for (const auto& record : read_metrics(runs / "run" / "metrics.jsonl")) {
    if (record.split != "glue/rte" || record.values.at("accuracy") <= best) continue;
    best = record.values.at("accuracy");
    best_step = record.step;
  }
  EXPECT_GT(best, 0.0);
  const auto name = fs::read_symlink(runs / "run" / "checkpoints" / "best").string();
  EXPECT_THAT(name, ::testing::EndsWith(std::to_string(best_step)));
}

TEST_F(FineTuning, WhatCannotBeIsRefusedBeforeTraining) {
  testing::TempDir runs;
  const auto message = [&](const RunConfig& config) -> std::string {
    try {
      finetune(config, runs / "run", Resume::kAuto);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  auto config = mixture();
  config.task.best_metric = "accuracy";
  EXPECT_EQ(message(config),
            "task.best_metric is \"accuracy\"; expected average or glue/sst2/accuracy or "
            "glue/rte/accuracy");
  config.task.names = {"glue/rte"};
  config.task.best_metric = "f1";
  EXPECT_EQ(message(config), "task.best_metric is \"f1\"; expected accuracy");
  config.task.best_metric = "";
  config.task.names = {"glue/rte", "glue/sst2", "glue/rte"};
  EXPECT_THAT(message(config), HasSubstr("\"glue/rte\" is there twice"));
  config.task.names = {"glue/rte"};
  config.task.validation_split = "test";
  config.task.data = runs.path().string();
  const std::string header = "index\tsentence1\tsentence2";
  runs.write("RTE/train.tsv", header + "\tlabel\n0\ta\tb\tentailment\n");
  runs.write("RTE/test.tsv", header + "\n5\ta\tb\n");
  EXPECT_EQ(message(config),
            "task.validation_split is \"test\", but glue/rte has no label there for example \"5\"; "
            "expected a labelled split such as dev");
  EXPECT_FALSE(fs::exists(runs / "run" / "checkpoints"));
}

}  // namespace
}  // namespace altup
