// Training with mixtures of experts: every variant learns, resumes bit for bit, counts the routing
// losses by micro-batches as it does all others, and says how tokens were routed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "altup/modules/routing.h"
#include "altup/optim/optimizer.h"
#include "altup/util/error.h"
#include "tests/integration/training_fixture.h"
#include "trainers/checkpoint_io.h"
#include "trainers/metrics.h"
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
  Router router = Router::kSwitch;
  bool batch_prioritised = false;
  friend void PrintTo(const Case& of, std::ostream* out) { *out << of.name; }
};

class Mixtures : public testing::TrainingTest, public ::testing::WithParamInterface<Case> {
 protected:
  static RunConfig mixture_run(const Case& of) {
    auto config = tiny_run(of.variant);
    config.model.moe.experts = 4;
    config.model.moe.router = of.router;
    config.model.moe.batch_prioritised = of.batch_prioritised;
    return config;
  }
  static RunConfig fast(RunConfig config) {
    config.optimizer.name = OptimizerName::kAdamW;
    config.optimizer.learning_rate = 5e-3;
    config.optimizer.schedule = Schedule::kConstant;
    config.optimizer.warmup_steps = 0;
    config.train.z_loss = 0.0;
    return config;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, Mixtures,
    ::testing::Values(Case{"Switch", Variant::kNone}, Case{"SwitchAltUp", Variant::kAltUp},
                      Case{"SwitchRecycled", Variant::kRecycled}, Case{"SwitchSum", Variant::kSum},
                      Case{"BatchPrioritised", Variant::kAltUp, Router::kSwitch, true},
                      Case{"ExpertChoice", Variant::kNone, Router::kExpertChoice},
                      Case{"ExpertChoiceAltUp", Variant::kAltUp, Router::kExpertChoice},
                      Case{"ExpertChoiceRecycled", Variant::kRecycled, Router::kExpertChoice},
                      Case{"ExpertChoiceSum", Variant::kSum, Router::kExpertChoice}),
    [](const auto& info) { return info.param.name; });

TEST_P(Mixtures, OverfitOneBatchInFp32AndInBf16) {
  const auto config = fast(mixture_run(GetParam()));
  for (const auto precision : {Precision::kFp32, Precision::kBf16}) {
    torch::manual_seed(1);
    T5 model(config.model);
    const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
    const Batch batch = ragged_batch();
    StepResult result;
    for (int64_t step = 1; step <= 200; ++step) {
      result = train_step(model, kPieces, *optimizer, batch, step, config, precision);
    }
    // The loss has the routing losses in it: of an even load, 0.01 for each of two mixtures.
    EXPECT_LT(result.loss, 0.2) << enum_name(precision);
    EXPECT_EQ(result.correct, result.span_tokens) << enum_name(precision);
    for (const auto& [name, tensor] : named_parameters(*model)) {
      EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name << ": masters stay fp32";
    }
  }
}

TEST_P(Mixtures, RecomputedInBf16TakeTheSameStep) {
  auto config = fast(mixture_run(GetParam()));
  config.model.dropout = 0.1;
  config.model.moe.jitter = 0.1;
  const auto take_step = [&](bool recompute) {
    torch::manual_seed(4);
    T5 model(config.model);
    model->set_activation_checkpointing(recompute);
    const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
    return train_step(model, kPieces, *optimizer, ragged_batch(), 1, config, Precision::kBf16);
  };
  const auto plain = take_step(false);
  const auto recomputed = take_step(true);
  EXPECT_EQ(plain.loss, recomputed.loss);
  EXPECT_EQ(plain.routing, recomputed.routing);
  EXPECT_NEAR(plain.gradient_norm, recomputed.gradient_norm, 1e-3 * plain.gradient_norm);
}

TEST_P(Mixtures, ResumeBitExactly) {
  testing::TempDir runs;
  auto config = mixture_run(GetParam());
  config.model.dropout = 0.1;
  config.model.moe.jitter = 0.1;
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

  const auto records = read_metrics(runs / "whole" / "metrics.jsonl");
  ASSERT_EQ(records.front().split, "train");
  for (const auto name : kRoutingStatistics) {
    EXPECT_TRUE(records.front().values.contains(std::string(name))) << name;
  }
  const auto loaded = load_model(runs / "whole", torch::kCPU);
  EXPECT_TRUE(loaded.config.model == config.model);
}

// Two micro-batches with the same examples route alike, so that their weighted losses are those of
// the batch that holds both.
TEST_P(Mixtures, CountTheRoutingLossesByMicroBatches) {
  auto config = mixture_run(GetParam());
  config.optimizer.name = OptimizerName::kAdamW;
  config.model.moe.jitter = 0.0;
  config.model.moe.capacity_factor = 4.0;  // nothing is dropped
  config.model.moe.load_balance_loss = 1.0;
  config.model.moe.router_z_loss = 1.0;
  const auto after_one_step = [&](int64_t micro_batch_size) {
    config.train.micro_batch_size = micro_batch_size;
    torch::manual_seed(3);
    T5 model(config.model);
    const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
    return train_step(model, kPieces, *optimizer, ragged_batch(2), 1, config, Precision::kFp32);
  };
  const auto whole = after_one_step(8);
  const auto parts = after_one_step(4);
  EXPECT_NEAR(parts.loss, whole.loss, 1e-4);
  EXPECT_NEAR(parts.gradient_norm, whole.gradient_norm, 1e-4 * whole.gradient_norm);
  ASSERT_EQ(parts.routing.size(), kRoutingStatistics.size());
  for (const auto& [name, value] : whole.routing) {
    EXPECT_NEAR(parts.routing.at(name), value, 1e-4) << name;
  }
  EXPECT_EQ(whole.routing.at("router_dropped"), 0.0);
  EXPECT_GT(whole.loss, 6.0 + 2.0) << "the load-balance losses of two mixtures are at least near 2";
}

class MixtureTuning : public testing::TrainingTest {};

TEST_F(MixtureTuning, MayTrainThemOtherwise) {
  testing::TempDir runs;
  auto config = tiny_run(Variant::kNone);
  config.model.moe.experts = 4;
  config.train.steps = 1;
  pretrain(config, runs / "base", Resume::kAuto);

  RunConfig tuning;
  tuning.train.init_from = (runs / "base").string();
  tuning.model.moe.capacity_factor = 2.0;
  tuning.sources["moe.capacity_factor"] = "here:1";
  std::shared_ptr<const Tokenizer> tokenizer;
  auto model = make_model(tuning, tokenizer);
  EXPECT_EQ(model->config().moe.experts, 4);
  EXPECT_EQ(model->config().moe.capacity_factor, 2.0);
  EXPECT_EQ(model->config().moe.jitter, config.model.moe.jitter);

  tuning.model = config.model;
  tuning.model.moe.experts = 2;
  tuning.sources["moe.experts"] = "here:2";
  EXPECT_THROW(make_model(tuning, tokenizer), UserError);
}

}  // namespace
}  // namespace altup
