// There and back: an export read by import_hugging_face() is the model, bit for bit. That
// transformers reads it too: tests/python/test_huggingface_export.py.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "altup/checkpoint/safetensors.h"
#include "altup/checkpoint/safetensors_index.h"
#include "altup/models/hugging_face.h"
#include "altup/models/hugging_face_config.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/models/model_testing.h"
#include "tests/models/sentencepiece_testing.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::make_model;
using testing::refusal;
using testing::small_config;
using testing::TempDir;
using Json = nlohmann::json;

HuggingFaceVocabulary vocabulary() {
  return {testing::some_pieces() + testing::some_settings(), 10};
}

std::vector<std::string> names(const fs::path& directory) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

class HuggingFaceExportOf : public ::testing::TestWithParam<testing::NamedConfig> {};

TEST_P(HuggingFaceExportOf, ReadsBackBitForBit) {
  auto model = make_model(GetParam().config);
  const TempDir dir;
  EXPECT_EQ(export_hugging_face(model, vocabulary(), dir / "out"), 1);
  const auto imported = import_hugging_face(dir / "out");
  EXPECT_EQ(imported.config, GetParam().config);
  T5 back(imported.config);
  load_parameters(*back, imported.tensors, "imported");
  const auto parameters = back->named_parameters();
  ASSERT_EQ(parameters.size(), model->named_parameters().size());
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(torch::equal(parameters[item.key()], item.value())) << item.key();
  }
  EXPECT_EQ(names(dir.path()), std::vector<std::string>{"out"});  // no leftovers

  // A variant does not pass for a T5, by its type or by what T5Config in transformers checks.
  const bool is_dense = GetParam().config.altup.variant == Variant::kNone;
  const auto config = Json::parse(read_file(dir / "out/config.json"));
  EXPECT_EQ(config.at("model_type"), is_dense ? "t5" : "altup_t5");
  EXPECT_EQ(config.contains("altup"), !is_dense);
  EXPECT_EQ(config.at("feed_forward_proj").get<std::string>().ends_with("-altup"), !is_dense);
}

INSTANTIATE_TEST_SUITE_P(EveryKind, HuggingFaceExportOf,
                         ::testing::ValuesIn(testing::kinds_without_mixtures()),
                         [](const auto& info) { return info.param.name; });

TEST(HuggingFaceExport, FilesSayWhatTheyAre) {
  auto model = make_model(small_config());
  const TempDir dir;
  export_hugging_face(model, vocabulary(), dir / "out");
  EXPECT_EQ(names(dir / "out"),
            (std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors",
                                      "spiece.model", "tokenizer.json", "tokenizer_config.json"}));
  std::map<std::string, std::string> metadata;
  const auto tensors = read_safetensors(dir / "out/model.safetensors", &metadata);
  EXPECT_EQ(metadata.at("format"), "pt");  // transformers refuses a file without it
  const auto config = Json::parse(read_file(dir / "out/config.json"));
  EXPECT_EQ(config.at("architectures"), Json({"T5ForConditionalGeneration"}));
  EXPECT_EQ(config.at("tie_word_embeddings"), false);
  EXPECT_EQ(config.at("scale_decoder_outputs"), false);
  EXPECT_EQ(config.at("dtype"), "float32");
  const auto generation = Json::parse(read_file(dir / "out/generation_config.json"));
  EXPECT_EQ(generation.at("decoder_start_token_id"), 0);
  // 7 pieces and 10 sentinels of 40 rows: the rest only pads the embedding.
  EXPECT_EQ(generation.at("suppress_tokens").front(), 17);
  EXPECT_EQ(generation.at("suppress_tokens").size(), 23U);
}

TEST(HuggingFaceExport, Bf16RoundsTheWeightsButNotTheCoefficients) {
  auto model = make_model(small_config(Variant::kAltUp, 2));
  const TempDir dir;
  export_hugging_face(model, vocabulary(), dir / "out", {.dtype = torch::kBFloat16});
  EXPECT_EQ(Json::parse(read_file(dir / "out/config.json")).at("dtype"), "bfloat16");
  int coefficients = 0;
  for (const auto& [name, tensor] : read_safetensors(dir / "out/model.safetensors")) {
    const bool is_coefficient = name.ends_with("_coefs");
    coefficients += is_coefficient ? 1 : 0;
    EXPECT_EQ(tensor.scalar_type(), is_coefficient ? torch::kFloat : torch::kBFloat16) << name;
  }
  EXPECT_EQ(coefficients, 2 * (3 + 2));  // p and g of each layer
  T5 back(model->config());
  load_parameters(*back, import_hugging_face(dir / "out").tensors, "imported");
  EXPECT_TRUE(torch::equal(back->shared->weight,
                           model->shared->weight.to(torch::kBFloat16).to(torch::kFloat)));
}

TEST(HuggingFaceExport, LargeWeightsGoIntoSeveralFilesAndBack) {
  auto model = make_model(small_config(Variant::kRecycled, 2));
  const TempDir dir;
  const auto files =
      export_hugging_face(model, vocabulary(), dir / "out", {.max_shard_bytes = 4000});
  EXPECT_GT(files, 3);
  EXPECT_FALSE(fs::exists(dir / "out/model.safetensors"));
  T5 back(model->config());
  load_parameters(*back, import_hugging_face(dir / "out").tensors, "imported");
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(torch::equal(back->named_parameters()[item.key()], item.value())) << item.key();
  }
  // A whole new export takes the place of the old one with all its parts.
  EXPECT_EQ(export_hugging_face(model, vocabulary(), dir / "out"), 1);
  EXPECT_FALSE(fs::exists(dir / "out/model.safetensors.index.json"));
}

// --- config.json
// -----------------------------------------------------------------------------------------------

T5Config written_and_read(const T5Config& config) {
  const TempDir dir;
  dir.write("config.json", hugging_face::write_config(config, "float32"));
  auto read = hugging_face::read_config(dir.path());
  read.config.tie_embeddings = read.scales_output;
  return read.config;
}

// A key that somebody adds to [model] or [altup] has to come back, or to be refused.
TEST(HuggingFaceExportConfig, EveryKeyComesBackChanged) {
  const auto change = [](const Field& field, auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, bool>) {
      value = !value;
    } else if constexpr (std::is_enum_v<T>) {
      value = EnumNames<T>::kNames.back().second;
    } else {
      value = field.name == "dropout" || field.name == "norm_epsilon" ? T(0.0625) : value * 2;
    }
  };
  size_t keys = 0;
  T5Config every;
  T5Config::fields(every, [&](const Field& wanted, auto&) {
    if (wanted.name == "size") return;
    auto config = small_config();
    T5Config::fields(config, [&](const Field& field, auto& value) {
      if (field.name == wanted.name) change(field, value);
    });
    ASSERT_NE(config, small_config()) << wanted.name;
    EXPECT_EQ(written_and_read(config), config) << "model." << wanted.name;
    ++keys;
  });
  AltUpConfig::fields(every.altup, [&](const Field& wanted, auto&) {
    auto config = small_config(Variant::kAltUp, 2);
    AltUpConfig::fields(config.altup, [&](const Field& field, auto& value) {
      if (field.name == wanted.name) change(field, value);
    });
    EXPECT_EQ(written_and_read(config), config) << "altup." << wanted.name;
    ++keys;
  });
  EXPECT_GE(keys, 13U + 7U);
}

TEST(HuggingFaceExportConfig, WhatTheFileCannotSayIsRefusedByName) {
  auto config = small_config();
  config.moe.experts = 4;
  EXPECT_EQ(refusal([&] { hugging_face::write_config(config, "float32"); }),
            "moe.experts is 4, which Hugging Face's config.json cannot say; expected 0");
}

TEST(HuggingFaceExportConfig, AVariantsKeysAreReadStrictly) {
  const auto refused = [](const std::function<void(Json&)>& change) {
    const auto text = hugging_face::write_config(small_config(Variant::kAltUp, 2), "float32");
    auto json = Json::parse(text);
    change(json);
    const TempDir dir;
    dir.write("config.json", json.dump());
    return refusal([&] { hugging_face::read_config(dir.path()); });
  };
  EXPECT_EQ(refused([](Json&) {}), "");
  EXPECT_THAT(refused([](Json& json) { json.erase("altup"); }),
              HasSubstr("has no object \"altup\""));
  EXPECT_THAT(refused([](Json& json) { json["altup"].erase("init"); }),
              HasSubstr("config.json: has no \"altup.init\""));
  EXPECT_THAT(refused([](Json& json) { json["altup"]["depth"] = 2; }),
              HasSubstr("config.json: has the unknown key \"altup.depth\""));
  EXPECT_THAT(refused([](Json& json) { json["altup"]["blocks"] = 0; }),
              HasSubstr("config.json: altup.blocks is 0; expected an integer between 1 and 64"));
  EXPECT_THAT(refused([](Json& json) { json["altup"]["variant"] = "wider"; }),
              HasSubstr("config.json: altup.variant is \"wider\"; expected one of"));
  EXPECT_THAT(refused([](Json& json) { json["feed_forward_proj"] = "gated-gelu"; }),
              HasSubstr("expected \"gated-gelu-altup\" (T5 1.1) or \"relu-altup\" (T5 1.0)"));
}

// --- The directory
// ---------------------------------------------------------------------------------------------

TEST(HuggingFaceExportTarget, TakesThePlaceOfACheckpointAndOfNothingElse) {
  const auto refused = [](const fs::path& path) {
    return refusal([&] { require_hugging_face_target(path); });
  };
  const TempDir dir;
  EXPECT_EQ(refused(dir / "new/below"), "");
  EXPECT_EQ(refused(dir.path()), "");  // empty
  dir.write("config.json", "{}");
  EXPECT_THAT(refused(dir.path()), HasSubstr("is there and holds no whole checkpoint; expected"));
  dir.write("model-00001-of-00002.safetensors", "");
  dir.write("model.safetensors.index.json", "{}");
  EXPECT_EQ(refused(dir.path()), "");
  dir.write("notes.txt", "mine");
  EXPECT_THAT(refused(dir.path()), HasSubstr("holds \"notes.txt\"; expected a new or empty"));
  EXPECT_THAT(refused(dir / "notes.txt"), HasSubstr("is no directory; expected"));
  EXPECT_THAT(refused(dir / "notes.txt" / "below"), HasSubstr("cannot be made, since"));
  fs::remove(dir / "notes.txt");
  fs::create_directories(dir / "spiece.model");  // a name of ours, but a directory
  EXPECT_THAT(refused(dir.path()), HasSubstr("holds \"spiece.model\""));
}

TEST(HuggingFaceExportTarget, AFailureLeavesWhatWasThere) {
  auto model = make_model(small_config());
  const TempDir dir;
  export_hugging_face(model, vocabulary(), dir / "out");
  const auto before = read_file(dir / "out/model.safetensors");
  auto other = make_model(small_config(), /*seed=*/2);
  const HuggingFaceVocabulary bpe{
      testing::some_pieces() + testing::bytes_field(2, testing::integer_field(3, 2)), 10};
  EXPECT_THAT(refusal([&] { export_hugging_face(other, bpe, dir / "out"); }),
              HasSubstr("is no unigram model"));
  EXPECT_EQ(read_file(dir / "out/model.safetensors"), before);
  EXPECT_EQ(names(dir.path()), std::vector<std::string>{"out"});
}

}  // namespace
}  // namespace altup
