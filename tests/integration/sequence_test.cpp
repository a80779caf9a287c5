// Training of the models that shorten the encoder's sequence, and of those whose coefficients are the
// token's: each learns a batch by heart, resumes bit for bit, and is fine-tuned as what it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "altup/optim/optimizer.h"
#include "altup/util/error.h"
#include "tests/integration/training_fixture.h"
#include "trainers/checkpoint_io.h"
#include "trainers/train_step.h"
#include "trainers/training.h"

namespace altup {
namespace {

using testing::expect_equal_files;
using testing::kPieces;
using testing::ragged_batch;

struct Case {
  std::string name;
  Variant variant;
  Coefficients coefficients = Coefficients::kStatic;
  int64_t experts = 0;
  friend void PrintTo(const Case& of, std::ostream* out) { *out << of.name; }
};

class ShortAndToken : public testing::TrainingTest, public ::testing::WithParamInterface<Case> {
 protected:
  static RunConfig run_of(const Case& of) {
    auto config = tiny_run(of.variant);
    config.model.num_encoder_layers = 4;
    config.model.altup.stride = 3;
    config.model.altup.coefficients = of.coefficients;
    config.model.moe.experts = of.experts;
    return config;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, ShortAndToken,
    ::testing::Values(Case{"Sequence", Variant::kSequence},
                      Case{"StrideSkip", Variant::kStrideSkip},
                      Case{"AveragePool", Variant::kAveragePool},
                      Case{"SequenceWithExperts", Variant::kSequence, Coefficients::kStatic, 4},
                      Case{"AltUpToken", Variant::kAltUp, Coefficients::kToken},
                      Case{"RecycledToken", Variant::kRecycled, Coefficients::kToken}),
    [](const auto& info) { return info.param.name; });

TEST_P(ShortAndToken, OverfitOneBatchInFp32AndInBf16) {
  auto config = run_of(GetParam());
  config.optimizer.name = OptimizerName::kAdamW;
  config.optimizer.learning_rate = 5e-3;
  config.optimizer.schedule = Schedule::kConstant;
  config.optimizer.warmup_steps = 0;
  config.train.z_loss = 0.0;
  for (const auto precision : {Precision::kFp32, Precision::kBf16}) {
    torch::manual_seed(1);
    T5 model(config.model);
    const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
    const Batch batch = ragged_batch();
    StepResult result;
    for (int64_t step = 1; step <= 200; ++step) {
      result = train_step(model, kPieces, *optimizer, batch, step, config, precision);
    }
    EXPECT_LT(result.loss, 0.2) << enum_name(precision);
    EXPECT_EQ(result.correct, result.span_tokens) << enum_name(precision);
    for (const auto& [name, tensor] : named_parameters(*model)) {
      EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name << ": masters stay fp32";
      if (name.ends_with("_coefs")) {  // 0 and 1 at the start
        EXPECT_FALSE(torch::equal(tensor, tensor.round())) << name << " has learnt nothing";
      }
    }
  }
}

TEST_P(ShortAndToken, ResumeBitExactly) {
  testing::TempDir runs;
  auto config = run_of(GetParam());
  config.model.dropout = 0.1;
  config.train.micro_batch_size = 2;
  config.train.activation_checkpointing = true;
  config.train.steps = 4;
  pretrain(config, runs / "whole", Resume::kAuto);
  auto half = config;
  half.train.steps = 2;
  pretrain(half, runs / "parts", Resume::kAuto);
  EXPECT_EQ(pretrain(config, runs / "parts", Resume::kMust).step, 4);
  for (const auto* file : {"model.safetensors", "optimizer.safetensors"}) {
    expect_equal_files(runs / "whole" / "checkpoints" / "latest" / file,
                       runs / "parts" / "checkpoints" / "latest" / file);
  }
  EXPECT_TRUE(load_model(runs / "whole", torch::kCPU).config.model == config.model);
}

class ShortTuning : public testing::TrainingTest {};

TEST_F(ShortTuning, KeepsTheStrideAndTheStartOfTheCheckpoint) {
  testing::TempDir runs;
  auto config = tiny_run(Variant::kSequence);
  config.model.num_encoder_layers = 3;
  config.model.altup.stride = 3;
  config.train.steps = 1;
  pretrain(config, runs / "base", Resume::kAuto);

  RunConfig tuning;
  tuning.train.init_from = (runs / "base").string();
  std::shared_ptr<const Tokenizer> tokenizer;
  EXPECT_EQ(make_model(tuning, tokenizer)->config().altup, config.model.altup);

  tuning.model = config.model;
  tuning.model.altup.stride = 2;
  tuning.sources["altup.stride"] = "here:1";
  EXPECT_THROW(make_model(tuning, tokenizer), UserError);
}

}  // namespace
}  // namespace altup
