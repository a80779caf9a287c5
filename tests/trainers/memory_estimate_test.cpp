// The estimate beside what the allocator sees of a real step and of real decoding.
#include "trainers/memory_estimate.h"

#include <gtest/gtest.h>

#include "altup/models/generation.h"
#include "altup/models/t5.h"
#include "altup/ops/ops.h"
#include "altup/optim/optimizer.h"
#include "altup/util/text.h"
#include "tests/models/model_testing.h"
#include "tests/support/counting_allocator.h"
#include "trainers/runtime.h"

namespace altup {
namespace {

using testing::CountingAllocator;

constexpr int64_t kBatch = 6;
constexpr int64_t kInput = 80;
constexpr int64_t kTarget = 48;

// Wide enough for what the estimate leaves out, ids and a few numbers a row, to be small.
T5Config sized(Variant variant, int64_t blocks) {
  T5Config config;
  config.size = ModelSize::kCustom;
  config.d_model = 96;
  config.d_ff = 224;
  config.d_kv = 32;
  config.num_heads = 2;
  config.num_encoder_layers = 3;
  config.num_decoder_layers = 2;
  config.vocab_size = 600;
  config.altup.variant = variant;
  config.altup.blocks = blocks;
  return config;
}

struct Case {
  std::string name;
  T5Config model;
  StepShape shape;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

std::vector<Case> cases() {
  std::vector<std::pair<std::string, T5Config>> models = {
      {"Dense", sized(Variant::kNone, 1)},         {"AltUp2", sized(Variant::kAltUp, 2)},
      {"AltUp4", sized(Variant::kAltUp, 4)},       {"Recycled2", sized(Variant::kRecycled, 2)},
      {"Recycled4", sized(Variant::kRecycled, 4)}, {"Sum2", sized(Variant::kSum, 2)}};
  models.emplace_back("AltUp2Summed", sized(Variant::kAltUp, 2));
  models.back().second.altup.cross_attention = CrossAttentionWidth::kSummed;
  models.emplace_back("AltUp2OfToken", sized(Variant::kAltUp, 2));
  models.back().second.altup.coefficients = Coefficients::kToken;
  models.emplace_back("Sequence", sized(Variant::kSequence, 1));
  models.emplace_back("StrideSkip", sized(Variant::kStrideSkip, 1));
  models.emplace_back("AveragePool", sized(Variant::kAveragePool, 1));
  models.emplace_back("Switch", sized(Variant::kNone, 1));
  models.back().second.moe.experts = 4;
  models.emplace_back("ExpertChoice", sized(Variant::kNone, 1));
  models.back().second.moe.experts = 4;
  models.back().second.moe.router = Router::kExpertChoice;
  models.emplace_back("ReluTied", sized(Variant::kNone, 1));
  models.back().second.feed_forward = FeedForwardKind::kRelu;
  models.back().second.tie_embeddings = true;
  models.emplace_back("Dropout", sized(Variant::kNone, 1));
  models.back().second.dropout = 0.1;
  models.emplace_back("ReluDropoutRecycled2", sized(Variant::kRecycled, 2));
  models.back().second.feed_forward = FeedForwardKind::kRelu;
  models.back().second.dropout = 0.1;
  std::vector<Case> all;
  for (const auto& [name, model] : models) {
    for (const bool bf16 : {false, true}) {
      for (const bool checkpointing : {false, true}) {
        all.push_back({name + (bf16 ? "Bf16" : "Fp32") + (checkpointing ? "Checkpointed" : ""),
                       model,
                       {.batch = kBatch,
                        .input_length = kInput,
                        .target_length = kTarget,
                        .bf16 = bf16,
                        .checkpointing = checkpointing}});
      }
    }
  }
  return all;
}

/// In bf16 it depends on the processor whether the encoder's weights are copied.
std::vector<Case> decoding_cases() {
  std::vector<Case> some;
  for (const auto& one : cases()) {
    if (!one.shape.bf16 && !one.shape.checkpointing) some.push_back(one);
  }
  return some;
}

/// A model with its optimiser, and a step of it in two halves.
class Step {
 public:
  explicit Step(const Case& one)
      : precision_(one.shape.bf16 ? Precision::kBf16 : Precision::kFp32), model_(one.model) {
    model_->train();
    model_->set_activation_checkpointing(one.shape.checkpointing);
    optimizer_ = make_optimizer({}, named_parameters(*model_));
    const auto ids = [&](int64_t length) {
      return torch::randint(3, one.model.vocab_size, {one.shape.batch, length}, torch::kInt64);
    };
    input_ids_ = ids(one.shape.input_length);
    const auto targets = ids(one.shape.target_length);
    decoder_ids_ = shift_right(targets);
    targets_ = targets.flatten();
    weights_ = torch::ones({targets_.numel()});
  }
  torch::Tensor loss() {
    const AutocastGuard autocast(precision_, at::kCPU);
    return model_->loss(input_ids_, {}, decoder_ids_, targets_, weights_, {}).loss;
  }
  void finish(torch::Tensor loss) {
    loss.backward();
    optimizer_->step(1e-3);
    for (const auto& parameter : model_->parameters()) parameter.mutable_grad() = torch::Tensor();
  }

 private:
  Precision precision_;
  T5 model_;
  std::unique_ptr<Optimizer> optimizer_;
  torch::Tensor input_ids_, decoder_ids_, targets_, weights_;
};

// Of bf16 products as an instruction makes them: where there is none, fp32 copies of a product's
// operands come on top, unless the products are the library's.
class Estimate : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().shape.bf16) set_product_kernels(ProductKernelChoice::kLibrary);
  }
  void TearDown() override { set_product_kernels(ProductKernelChoice::kAuto); }
};
INSTANTIATE_TEST_SUITE_P(Kinds, Estimate, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Estimate, IsWhatTheAllocatorSees) {
  auto& allocator = CountingAllocator::instance();
  const auto& one = GetParam();
  const auto memory = estimate_training_memory(one.model, {}, one.shape);

  const int64_t empty = allocator.live();
  Step step(one);
  const auto fixed = static_cast<double>(allocator.live() - empty);
  EXPECT_NEAR(fixed, memory.weights + memory.optimizer, 0.02 * fixed);
  step.finish(step.loss());  // whatever is made once is there now
  const int64_t before = allocator.live();
  allocator.forget();
  const auto loss = step.loss();
  const auto live = static_cast<double>(allocator.live() - before);
  const double head = 4.0 * static_cast<double>(one.model.vocab_size * one.model.output_width());
  // The gradients of the head and of what it read are made already. A layer that is to be computed
  // again keeps a generator's state.
  const double read = one.shape.product_bytes() *
                      static_cast<double>(one.shape.target_tokens() * one.model.output_width());
  constexpr double kGeneratorState = 5056;
  const auto layers =
      static_cast<double>(one.model.num_encoder_layers + one.model.num_decoder_layers);
  const double generators = one.shape.checkpointing ? kGeneratorState * layers : 0.0;
  EXPECT_NEAR(live, memory.activations + head + read + generators, 0.03 * live)
      << "after the forward pass";
  step.finish(loss);
  const auto most = static_cast<double>(allocator.most() - empty);
  EXPECT_NEAR(most, memory.peak - kProgramBytes, 0.06 * most)
      << "the peak, during " << memory.peak_during;
}

class DecodingEstimate : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Kinds, DecodingEstimate, ::testing::ValuesIn(decoding_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(DecodingEstimate, IsWhatTheAllocatorSees) {
  const auto& one = GetParam();
  auto& allocator = CountingAllocator::instance();
  const auto memory = estimate_inference_memory(one.model, one.shape);
  const int64_t empty = allocator.live();
  T5 model(one.model);
  const auto ids = torch::randint(3, one.model.vocab_size,
                                  {one.shape.batch, one.shape.input_length}, torch::kInt64);
  allocator.forget();
  generate(model, ids, {}, {.max_new_tokens = one.shape.target_length, .stop_at_eos = false});
  const auto most = static_cast<double>(allocator.most() - empty);
  EXPECT_NEAR(most, memory.peak - kProgramBytes, 0.1 * most);
}

/// Twice the micro-batch does not fit where the estimate says that this one just does.
TEST(LargestMicroBatch, IsTheLargestThatFits) {
  const auto model = sized(Variant::kNone, 1);
  StepShape shape{.batch = 8, .micro_batches = 4, .input_length = kInput, .target_length = kTarget};
  const double needed = estimate_training_memory(model, {}, shape).peak;
  EXPECT_EQ(largest_micro_batch(model, {}, shape, 32, needed), 8);
  EXPECT_EQ(largest_micro_batch(model, {}, shape, 32, needed - 1), 4);
  EXPECT_EQ(largest_micro_batch(model, {}, shape, 32, 1e6), 0);
  shape.batch = 32;
  shape.micro_batches = 1;
  const double whole = estimate_training_memory(model, {}, shape).peak;
  EXPECT_EQ(largest_micro_batch(model, {}, shape, 32, whole), 32);
}

}  // namespace
}  // namespace altup
