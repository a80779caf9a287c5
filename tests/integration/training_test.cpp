// Whole behaviours of training: a model that can learn learns, accumulation is one large batch, a
// resumed run is the run that was never stopped, a signal loses nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <csignal>
#include <fstream>

#include "altup/checkpoint/directory.h"
#include "altup/data/pipeline.h"
#include "altup/optim/optimizer.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/integration/training_fixture.h"
#include "tests/support/paths.h"
#include "trainers/batch_tensors.h"
#include "trainers/checkpoint_io.h"
#include "trainers/evaluator.h"
#include "trainers/train_step.h"
#include "trainers/training.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using testing::expect_equal_files;
using testing::kPieces;
using testing::random_batch;
using testing::TrainingTest;

NamedTensors copies(const T5& model) {
  NamedTensors result;
  for (const auto& [name, tensor] : named_parameters(*model))
    result.emplace_back(name, tensor.detach().clone());
  return result;
}

class EveryVariant : public TrainingTest, public ::testing::WithParamInterface<Variant> {};

INSTANTIATE_TEST_SUITE_P(Variants, EveryVariant,
                         ::testing::Values(Variant::kNone, Variant::kAltUp, Variant::kRecycled,
                                           Variant::kSum),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

TEST_P(EveryVariant, OverfitsOneBatch) {
  auto config = tiny_run(GetParam());
  config.optimizer.name = OptimizerName::kAdamW;
  config.optimizer.learning_rate = 5e-3;
  config.optimizer.schedule = Schedule::kConstant;
  config.optimizer.warmup_steps = 0;
  config.train.z_loss = 0.0;
  torch::manual_seed(1);
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  const Batch batch = random_batch(4, /*ragged=*/true);
  double loss = 0.0;
  for (int64_t step = 1; step <= 250; ++step) {
    loss = train_step(model, kPieces, *optimizer, batch, step, config, Precision::kFp32).loss;
    if (step == 1) {
      EXPECT_NEAR(loss, std::log(512.0), 1.0) << "the first loss should be near ln V";
    }
  }
  EXPECT_LT(loss, 0.05);
}

TEST_P(EveryVariant, OverfitsInBf16Too) {
  auto config = tiny_run(GetParam());
  config.optimizer.name = OptimizerName::kAdamW;
  config.optimizer.learning_rate = 5e-3;
  config.optimizer.schedule = Schedule::kConstant;
  config.optimizer.warmup_steps = 0;
  config.train.z_loss = 0.0;
  torch::manual_seed(1);
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  const Batch batch = random_batch(4, /*ragged=*/false);
  double loss = 0.0;
  for (int64_t step = 1; step <= 250; ++step) {
    loss = train_step(model, kPieces, *optimizer, batch, step, config, Precision::kBf16).loss;
  }
  EXPECT_LT(loss, 0.1);
  for (const auto& [name, tensor] : named_parameters(*model)) {
    EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name << ": masters stay fp32";
  }
}

// Gradients, through one AdamW-free step: plain parameters after an update differ by rounding only.
TEST_F(TrainingTest, AccumulationIsOneLargeBatch) {
  const auto after_one_step = [&](int64_t micro_batch_size, Padding padding) {
    auto config = tiny_run(Variant::kAltUp);
    config.train.micro_batch_size = micro_batch_size;
    config.train.padding = padding;
    torch::manual_seed(3);
    T5 model(config.model);
    const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
    const auto result = train_step(model, kPieces, *optimizer, random_batch(8, /*ragged=*/true), 1,
                                   config, Precision::kFp32);
    return std::make_pair(result, copies(model));
  };
  const auto [whole, whole_weights] = after_one_step(8, Padding::kLongest);
  for (const auto padding : {Padding::kNone, Padding::kLongest, Padding::kMaximum}) {
    for (const int64_t micro : {1, 2, 3, 4, 8}) {
      const auto how = std::to_string(micro) + ", padding " + std::string(enum_name(padding));
      const auto [parts, part_weights] = after_one_step(micro, padding);
      EXPECT_NEAR(parts.loss, whole.loss, 1e-5) << how;
      EXPECT_NEAR(parts.gradient_norm, whole.gradient_norm, 1e-4 * whole.gradient_norm) << how;
      EXPECT_EQ(parts.target_tokens, whole.target_tokens);
      EXPECT_EQ(parts.tokens, whole.tokens);
      EXPECT_EQ(parts.correct, whole.correct) << how;
      EXPECT_EQ(parts.span_tokens, whole.span_tokens) << how;
      for (size_t i = 0; i < whole_weights.size(); ++i) {
        EXPECT_TRUE(torch::allclose(part_weights[i].second, whole_weights[i].second, 1e-3, 1e-4))
            << whole_weights[i].first << " with micro-batches of " << how;
      }
    }
  }
}

TEST_F(TrainingTest, ClippingScalesTheWholeGradient) {
  auto config = tiny_run(Variant::kNone);
  config.optimizer.name = OptimizerName::kAdamW;
  config.train.gradient_clip = 1e-3;
  torch::manual_seed(3);
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  const auto result =
      train_step(model, kPieces, *optimizer, random_batch(2, false), 1, config, Precision::kFp32);
  EXPECT_GT(result.gradient_norm, 1e-3) << "the norm that is reported is the one before clipping";
  double first_moments = 0.0;
  for (const auto& [name, tensor] : optimizer->state()) {
    if (name.ends_with(".m")) first_moments += tensor.square().sum().item<double>();
  }
  // After one step the first moment is (1 - beta1) times the clipped gradient.
  EXPECT_NEAR(std::sqrt(first_moments), 0.1 * 1e-3, 1e-6);
}

TEST_F(TrainingTest, NotFiniteNamesThePlace) {
  const auto config = tiny_run(Variant::kNone);
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  {
    torch::NoGradGuard no_grad;
    model->named_parameters()["decoder.layers.1.feed_forward.wo.weight"].fill_(std::nan(""));
  }
  try {
    train_step(model, kPieces, *optimizer, random_batch(2, false), 5, config, Precision::kFp32);
    FAIL() << "a NaN went unnoticed";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("step 5"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("decoder.layers.1.feed_forward.wo.weight"));
  }
}

// A bad gradient spoils those that the backward pass makes from it, down to the embedding's.
TEST_F(TrainingTest, NotFiniteNamesTheGradientWhereItBegan) {
  const auto config = tiny_run(Variant::kNone);
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  for (const auto* name : {"shared.weight", "encoder.layers.0.feed_forward.wo.weight",
                           "decoder.layers.1.feed_forward.wo.weight"}) {
    model->named_parameters()[name].register_hook(
        [](const torch::Tensor& gradient) { return gradient * std::nan(""); });
  }
  try {
    train_step(model, kPieces, *optimizer, random_batch(2, false), 5, config, Precision::kFp32);
    FAIL() << "a NaN went unnoticed";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("the gradient of decoder.layers.1.feed_forward.wo.weight"));
  }
}

class NotFinite : public TrainingTest, public ::testing::WithParamInterface<Padding> {};
INSTANTIATE_TEST_SUITE_P(Paddings, NotFinite,
                         ::testing::Values(Padding::kNone, Padding::kLongest, Padding::kMaximum),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

TEST_P(NotFinite, NamesTheModuleWhereItBegan) {
  auto config = tiny_run(Variant::kAltUp);
  config.train.padding = GetParam();
  T5 model(config.model);
  const auto optimizer = make_optimizer(config.optimizer, named_parameters(*model));
  {
    torch::NoGradGuard no_grad;  // finite, but its products are not
    model->named_parameters()["encoder.layers.1.feed_forward.wo.weight"].fill_(3e38);
  }
  try {
    train_step(model, kPieces, *optimizer, random_batch(2, /*ragged=*/true), 5, config,
               Precision::kFp32);
    FAIL() << "an overflow went unnoticed";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("the output of encoder.layers.1"));
  }
}

TEST_P(EveryVariant, ResumeContinuesBitExactly) {
  testing::TempDir runs;
  auto config = tiny_run(GetParam());
  config.model.dropout = 0.1;
  config.train.steps = 6;
  pretrain(config, runs / "whole", Resume::kAuto);

  auto half = config;
  half.train.steps = 2;  // not a multiple of the window or of save_every: mid-epoch
  pretrain(half, runs / "parts", Resume::kAuto);
  half.train.steps = 4;
  pretrain(half, runs / "parts", Resume::kMust);
  const auto result = pretrain(config, runs / "parts", Resume::kMust);

  EXPECT_EQ(result.step, 6);
  for (const auto* file : {"model.safetensors", "optimizer.safetensors"}) {
    expect_equal_files(runs / "whole" / "checkpoints" / "latest" / file,
                       runs / "parts" / "checkpoints" / "latest" / file);
  }
}

TEST_F(TrainingTest, ASignalSavesAndARerunGoesOn) {
  testing::TempDir runs;
  auto config = tiny_run(Variant::kRecycled);
  config.train.steps = 5;
  pretrain(config, runs / "whole", Resume::kAuto);

  const auto tokenizer = std::make_shared<const Tokenizer>(config.tokenizer.model, 100);
  TrainingRun run{.config = config, .output = runs / "stopped"};
  run.tokenizer = tokenizer;
  run.model = make_model(run.config, run.tokenizer);
  // A source that sends the process a signal while the third batch is made.
  class SignallingSource : public BatchSource {
   public:
    explicit SignallingSource(std::unique_ptr<BatchSource> source) : source_(std::move(source)) {}
    Batch next() override {
      if (++calls_ == 3) std::raise(SIGTERM);
      return source_->next();
    }
    std::string state() const override { return source_->state(); }
    void restore(const std::string& state) override { source_->restore(state); }

   private:
    std::unique_ptr<BatchSource> source_;
    int calls_ = 0;
  };
  run.source = std::make_unique<SignallingSource>(make_pretraining_source(
      config.data, tokenizer, config.data.train, config.train.batch_size, 1));
  const auto stopped = run_training(run);
  EXPECT_EQ(stopped.signal, SIGTERM);
  EXPECT_EQ(stopped.step, 3);

  const auto finished = pretrain(config, runs / "stopped", Resume::kMust);
  EXPECT_EQ(finished.step, 5);
  expect_equal_files(runs / "whole" / "checkpoints" / "latest" / "model.safetensors",
                     runs / "stopped" / "checkpoints" / "latest" / "model.safetensors");
}

TEST_F(TrainingTest, RunDirectoryHoldsWhatItPromises) {
  testing::TempDir runs;
  pretrain(tiny_run(Variant::kNone), runs / "run", Resume::kAuto);
  for (const auto* file :
       {"config.toml", "log.txt", "metrics.jsonl", "checkpoints/latest/model.safetensors",
        "checkpoints/latest/optimizer.safetensors", "checkpoints/latest/state.json",
        "checkpoints/latest/config.toml", "checkpoints/latest/spiece.model",
        "checkpoints/latest/manifest.json"}) {
    EXPECT_TRUE(fs::exists(runs / "run" / file)) << file;
  }
  EXPECT_FALSE(fs::is_empty(runs / "run" / "tensorboard"));
  verify_checkpoint(resolve_checkpoint(runs / "run"));

  const auto records = read_metrics(runs / "run" / "metrics.jsonl");
  ASSERT_EQ(records.size(), 5U);  // training at 2, 4, 6; validation at 3, 6
  EXPECT_EQ(records.back().split, "validation");
  for (const auto* key : {"loss", "accuracy", "tokens", "tokens_per_second", "learning_rate",
                          "gradient_norm", "seconds", "data_seconds", "peak_memory_mib"}) {
    EXPECT_TRUE(records.front().values.contains(key)) << key;
  }

  // A checkpoint moved elsewhere suffices.
  fs::copy(resolve_checkpoint(runs / "run"), runs / "moved", fs::copy_options::recursive);
  auto original = load_model(runs / "run", torch::kCPU);
  auto moved = load_model(runs / "moved", torch::kCPU);
  const auto ids = torch::randint(3, 300, {2, 9}, torch::kInt64);
  EXPECT_TRUE(
      torch::equal(original.model->forward(ids, {}, ids), moved.model->forward(ids, {}, ids)));
}

TEST_F(TrainingTest, ResumeRefusesWhatDoesNotFit) {
  testing::TempDir runs;
  auto config = tiny_run(Variant::kNone);
  config.train.steps = 1;
  const auto message = [&](const RunConfig& run, Resume resume) -> std::string {
    try {
      pretrain(run, runs / "run", resume);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(config, Resume::kMust), ::testing::HasSubstr("holds no checkpoint"));
  EXPECT_EQ(message(config, Resume::kAuto), "");
  EXPECT_THAT(message(config, Resume::kNever), ::testing::HasSubstr("already holds checkpoints"));
  auto other = config;
  other.model.d_ff = 128;
  EXPECT_THAT(message(other, Resume::kAuto), ::testing::HasSubstr("of another model"));
}

TEST_F(TrainingTest, EvaluationCountsSpanTokensOnly) {
  const auto targets = torch::tensor({499, 5, 6, 498, 7, 1, 0}, torch::kInt64);
  const auto weights = torch::tensor({1, 1, 1, 1, 1, 1, 0}, torch::kFloat);
  const auto counted = span_weights(targets, weights, kPieces);
  EXPECT_TRUE(torch::equal(counted, torch::tensor({0, 1, 1, 0, 1, 0, 0}, torch::kFloat)));
}

}  // namespace
}  // namespace altup
