// The exported file, loaded with nothing but torch::jit, is the model.
#include "altup/models/torchscript.h"

#include <gmock/gmock.h>
#include <torch/script.h>

#include <limits>

#include "altup/models/generation.h"
#include "altup/util/error.h"
#include "tests/models/model_testing.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;
using testing::small_config;
using testing::TempDir;

class Export : public ::testing::TestWithParam<std::tuple<NamedConfig, ScriptOperators>> {
 protected:
  const T5Config& config() const { return std::get<0>(GetParam()).config; }
  ScriptOperators operators() const { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Models, Export,
                         ::testing::Combine(::testing::ValuesIn(testing::every_kind()),
                                            ::testing::Values(ScriptOperators::kAten,
                                                              ScriptOperators::kFused)),
                         [](const auto& info) {
                           const bool fused = std::get<1>(info.param) == ScriptOperators::kFused;
                           return std::get<0>(info.param).name + (fused ? "Fused" : "");
                         });

torch::Tensor generate(torch::jit::Module& script, const torch::Tensor& inputs,
                       const torch::Tensor& mask, int64_t limit) {
  return script.get_method("generate")({inputs, mask, limit}).toTensor();
}

TEST_P(Export, HasTheLogitsAndTheMemoryOfTheModelAtAnySize) {
  const auto& config = this->config();
  auto model = make_model(config);
  const TempDir directory;
  export_torchscript(model, directory / "model.pt", 0, operators());
  auto script = torch::jit::load((directory / "model.pt").string());
  struct Sizes {
    std::vector<int64_t> lengths;
    int64_t target_length;
  };
  for (const auto& sizes : {Sizes{{5}, 1}, Sizes{{9, 2, 1}, 7}, Sizes{{70, 33}, 50}}) {
    const auto batch = static_cast<int64_t>(sizes.lengths.size());
    const auto inputs = random_ids(batch, sizes.lengths[0], config);
    const auto targets = random_ids(batch, sizes.target_length, config);
    const auto mask = mask_of(sizes.lengths, sizes.lengths[0]);
    EXPECT_LT(largest_difference(script.forward({inputs, mask, targets}).toTensor(),
                                 model->forward(inputs, mask, targets)),
              2e-5);
    EXPECT_LT(largest_difference(script.get_method("encode")({inputs, mask}).toTensor(),
                                 model->encode(inputs, mask)),
              2e-5);
  }
}

// Ids of rows that end at different times, padded behind eos. A small vocabulary makes eos likely;
// the seed is looked for, since random numbers may differ between machines.
TEST_P(Export, GeneratesTheIdsOfTheModel) {
  auto config = this->config();
  config.vocab_size = 7;
  const int64_t limit = 40;  // the cache grows twice
  const auto mask = mask_of({12, 5, 1, 8}, 12);
  for (uint64_t seed = 1;; ++seed) {
    ASSERT_LT(seed, 500U) << "no model gives a short and a long row";
    auto model = make_model(config, seed);
    const auto inputs = random_ids(4, 12, config);
    const auto expected =
        altup::generate(model, inputs, mask, {.max_new_tokens = limit, .valid_vocab = 6});
    if (expected.truncated == 0 || expected.truncated == 4) continue;

    const TempDir directory;
    export_torchscript(model, directory / "model.pt", 6, operators());
    auto script = torch::jit::load((directory / "model.pt").string());
    const auto ids = generate(script, inputs, mask.to(torch::kInt64), limit);
    ASSERT_EQ(ids.sizes(), (std::vector<int64_t>{4, limit}));
    for (int64_t b = 0; b < 4; ++b) {
      auto row = expected.outputs[static_cast<size_t>(b)].front().ids;
      row.resize(limit, 0);
      EXPECT_TRUE(torch::equal(ids[b], torch::tensor(row))) << "row " << b;
    }
    return;
  }
}

TEST(TorchScript, StopsWhenAllRowsHaveEnded) {
  auto config = small_config();
  config.vocab_size = 4;
  auto model = make_model(config);
  torch::NoGradGuard no_grad;
  model->lm_head->weight.zero_();  // all scores equal: id 0, pad, for ever
  const TempDir directory;
  export_torchscript(model, directory / "pads.pt", 0);
  auto script = torch::jit::load((directory / "pads.pt").string());
  const auto inputs = random_ids(2, 3, config);
  const auto mask = torch::ones({2, 3}, torch::kBool);
  EXPECT_EQ(generate(script, inputs, mask, 9).size(1), 9);

  model->shared->weight.fill_(1.0);  // every state is the same vector; eos likes it
  const auto state = model->decode(torch::zeros({1, 1}, torch::kInt64),
                                   model->encode(inputs, mask).narrow(0, 0, 1), {});
  model->lm_head->weight[1].copy_(state[0][0]);
  export_torchscript(model, directory / "ends.pt", 0);
  script = torch::jit::load((directory / "ends.pt").string());
  EXPECT_TRUE(torch::equal(generate(script, inputs, mask, 9), torch::ones({2, 1}, torch::kInt64)));
  EXPECT_ANY_THROW(generate(script, inputs, mask, 0));
}

TEST(TorchScript, KeepsTheNamesOfTheParametersAndTheConfig) {
  auto model = make_model(small_config(Variant::kAltUp, 2));
  const TempDir directory;
  export_torchscript(model, directory / "model.pt", 39);
  torch::jit::ExtraFilesMap extra = {{"config.json", ""}, {"valid_vocab", ""}};
  auto script = torch::jit::load((directory / "model.pt").string(), std::nullopt, extra);
  EXPECT_EQ(extra["config.json"], to_json(model->config()));
  EXPECT_EQ(extra["valid_vocab"], "39");

  std::map<std::string, torch::Tensor> written;
  for (const auto& item : script.named_parameters()) written.emplace(item.name, item.value);
  const auto parameters = model->named_parameters();
  EXPECT_EQ(written.size(), parameters.size());
  for (const auto& item : parameters) {
    auto name = item.key();
    for (size_t at = 0; (at = name.find('.', at)) != std::string::npos; ++at) {
      if (std::isdigit(static_cast<unsigned char>(name[at + 1])) != 0)
        name.insert(at + 1, "layer_");
    }
    ASSERT_TRUE(written.contains(name)) << name;
    EXPECT_TRUE(torch::equal(written[name], item.value())) << name;
    EXPECT_FALSE(written[name].requires_grad());
  }
}

TEST(TorchScript, LeavesWhatWasThereWhereTheCheckFails) {
  auto model = make_model(small_config());
  torch::NoGradGuard no_grad;
  model->encoder->final_norm->weight.fill_(std::numeric_limits<float>::quiet_NaN());
  const TempDir directory;
  const auto path = directory.write("model.pt", "an older file");
  EXPECT_THROW(export_torchscript(model, path, 0), std::runtime_error);
  std::stringstream left;
  left << std::ifstream(path).rdbuf();
  EXPECT_EQ(left.str(), "an older file");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(TorchScript, RefusesAPathThatCannotBeWritten) {
  auto model = make_model(small_config());
  const TempDir directory;
  EXPECT_THROW(export_torchscript(model, directory / "missing/model.pt", 0), UserError);
  EXPECT_THROW(export_torchscript(model, directory.path(), 0), UserError);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(TorchScript, ChangesNeitherModeNorRandomNumbers) {
  auto config = small_config();
  config.dropout = 0.5;
  auto model = make_model(config);
  model->train();
  const TempDir directory;
  const auto before = at::globalContext().defaultGenerator(torch::kCPU).get_state();
  export_torchscript(model, directory / "model.pt", 0);
  EXPECT_TRUE(torch::equal(before, at::globalContext().defaultGenerator(torch::kCPU).get_state()));
  EXPECT_TRUE(model->is_training());
}

}  // namespace
}  // namespace altup
