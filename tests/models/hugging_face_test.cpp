// Against directories written here with the names of transformers. Its arithmetic is compared in
// tests/python/test_import.py.
#include "altup/models/hugging_face.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "altup/checkpoint/safetensors.h"
#include "altup/checkpoint/safetensors_index.h"
#include "altup/util/error.h"
#include "tests/models/model_testing.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TempDir;
using Json = nlohmann::json;

constexpr int64_t kWidth = 8;    // d_model
constexpr int64_t kInner = 6;    // heads · d_kv
constexpr int64_t kFf = 10;      // d_ff
constexpr int64_t kWords = 12;   // vocab_size
constexpr int64_t kBuckets = 6;  // relative buckets

Json hugging_face_config() {
  return {{"model_type", "t5"},
          {"d_model", kWidth},
          {"d_ff", kFf},
          {"d_kv", 3},
          {"num_heads", 2},
          {"num_layers", 2},
          {"num_decoder_layers", 1},
          {"vocab_size", kWords},
          {"relative_attention_num_buckets", kBuckets},
          {"relative_attention_max_distance", 40},
          {"layer_norm_epsilon", 1e-5},
          {"dropout_rate", 0.2},
          {"feed_forward_proj", "gated-gelu"},
          {"tie_word_embeddings", false},
          {"pad_token_id", 0},
          {"eos_token_id", 1},
          {"decoder_start_token_id", 0},
          {"architectures", {"T5ForConditionalGeneration"}}};
}

class Checkpoint {
 public:
  Checkpoint() {
    torch::manual_seed(1);
    add("shared.weight", {kWords, kWidth});
    for (const std::string block : {"encoder.block.0.", "encoder.block.1.", "decoder.block.0."}) {
      const bool is_decoder = block.starts_with("decoder");
      add_attention(block + "layer.0.SelfAttention.");
      add(block + "layer.0.layer_norm.weight", {kWidth});
      if (is_decoder) {
        add_attention(block + "layer.1.EncDecAttention.");
        add(block + "layer.1.layer_norm.weight", {kWidth});
      }
      const auto last = block + (is_decoder ? "layer.2." : "layer.1.");
      add(last + "DenseReluDense.wi_0.weight", {kFf, kWidth});
      add(last + "DenseReluDense.wi_1.weight", {kFf, kWidth});
      add(last + "DenseReluDense.wo.weight", {kWidth, kFf});
      add(last + "layer_norm.weight", {kWidth});
    }
    for (const std::string stack : {"encoder", "decoder"}) {
      add(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", {kBuckets, 2});
      add(stack + ".final_layer_norm.weight", {kWidth});
    }
    add("lm_head.weight", {kWords, kWidth});
  }

  void add(const std::string& name, const std::vector<int64_t>& shape) {
    tensors[name] = torch::randn(shape);
  }

  ImportedT5 import() {
    directory_.write("config.json", config.dump());
    NamedTensors named(tensors.begin(), tensors.end());
    write_safetensors(directory_ / "model.safetensors", named);
    return import_hugging_face(directory_.path());
  }

  std::string error() {
    try {
      import();
    } catch (const UserError& error) {
      return error.what();
    }
    return "none";
  }

  Json config = hugging_face_config();
  std::map<std::string, torch::Tensor> tensors;

 private:
  void add_attention(const std::string& prefix) {
    for (const std::string name : {"q", "k", "v"}) add(prefix + name + ".weight", {kInner, kWidth});
    add(prefix + "o.weight", {kWidth, kInner});
  }

  TempDir directory_;
};

torch::Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  ADD_FAILURE() << name << " is missing";
  return {};
}

TEST(HuggingFace, ConfigIsReadKeyByKey) {
  const auto config = Checkpoint().import().config;
  EXPECT_EQ(config.d_model, kWidth);
  EXPECT_EQ(config.d_ff, kFf);
  EXPECT_EQ(config.d_kv, 3);
  EXPECT_EQ(config.num_heads, 2);
  EXPECT_EQ(config.num_encoder_layers, 2);
  EXPECT_EQ(config.num_decoder_layers, 1);
  EXPECT_EQ(config.vocab_size, kWords);
  EXPECT_EQ(config.relative_buckets, kBuckets);
  EXPECT_EQ(config.relative_max_distance, 40);
  EXPECT_DOUBLE_EQ(config.norm_epsilon, 1e-5);
  EXPECT_DOUBLE_EQ(config.dropout, 0.2);
  EXPECT_EQ(config.feed_forward, FeedForwardKind::kGatedGelu);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_EQ(config.altup.variant, Variant::kNone);
}

TEST(HuggingFace, EveryTensorGoesToItsPlace) {
  Checkpoint checkpoint;
  const auto imported = checkpoint.import();
  EXPECT_EQ(imported.tensors.size(), checkpoint.tensors.size());
  const std::vector<std::pair<std::string, std::string>> places = {
      {"shared.weight", "shared.weight"},
      {"lm_head.weight", "lm_head.weight"},
      {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
       "encoder.relative_bias.weight"},
      {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
       "decoder.relative_bias.weight"},
      {"encoder.block.1.layer.0.SelfAttention.q.weight",
       "encoder.layers.1.self_attention.q.weight"},
      {"encoder.block.1.layer.0.SelfAttention.k.weight",
       "encoder.layers.1.self_attention.k.weight"},
      {"encoder.block.0.layer.0.SelfAttention.v.weight",
       "encoder.layers.0.self_attention.v.weight"},
      {"encoder.block.0.layer.0.SelfAttention.o.weight",
       "encoder.layers.0.self_attention.o.weight"},
      {"encoder.block.1.layer.0.layer_norm.weight", "encoder.layers.1.self_attention_norm.weight"},
      {"encoder.block.1.layer.1.DenseReluDense.wi_0.weight",
       "encoder.layers.1.feed_forward.wi_0.weight"},
      {"encoder.block.1.layer.1.DenseReluDense.wi_1.weight",
       "encoder.layers.1.feed_forward.wi_1.weight"},
      {"encoder.block.1.layer.1.DenseReluDense.wo.weight",
       "encoder.layers.1.feed_forward.wo.weight"},
      {"encoder.block.1.layer.1.layer_norm.weight", "encoder.layers.1.feed_forward_norm.weight"},
      {"encoder.final_layer_norm.weight", "encoder.final_norm.weight"},
      {"decoder.block.0.layer.0.SelfAttention.v.weight",
       "decoder.layers.0.self_attention.v.weight"},
      {"decoder.block.0.layer.1.EncDecAttention.k.weight",
       "decoder.layers.0.cross_attention.k.weight"},
      {"decoder.block.0.layer.1.layer_norm.weight", "decoder.layers.0.cross_attention_norm.weight"},
      {"decoder.block.0.layer.2.DenseReluDense.wi_1.weight",
       "decoder.layers.0.feed_forward.wi_1.weight"},
      {"decoder.block.0.layer.2.layer_norm.weight", "decoder.layers.0.feed_forward_norm.weight"},
      {"decoder.final_layer_norm.weight", "decoder.final_norm.weight"}};
  for (const auto& [theirs, ours] : places) {
    EXPECT_TRUE(torch::equal(find(imported.tensors, ours), checkpoint.tensors.at(theirs))) << ours;
  }
  T5 model(imported.config);
  load_parameters(*model, imported.tensors, "imported");  // throws where a name or shape is wrong
}

TEST(HuggingFace, HeadIsTheEmbeddingWhereTheFileHasNone) {
  Checkpoint checkpoint;
  checkpoint.tensors.erase("lm_head.weight");
  checkpoint.config["tie_word_embeddings"] = true;
  auto imported = checkpoint.import();
  EXPECT_TRUE(imported.config.tie_embeddings);
  EXPECT_EQ(imported.tensors.size(), checkpoint.tensors.size());

  // Tied, but not scaled: only an untied head can say that here.
  checkpoint.config["scale_decoder_outputs"] = false;
  imported = checkpoint.import();
  EXPECT_FALSE(imported.config.tie_embeddings);
  EXPECT_TRUE(torch::equal(find(imported.tensors, "lm_head.weight"),
                           checkpoint.tensors.at("shared.weight")));
}

TEST(HuggingFace, ScaledHeadOfItsOwnTakesTheFactorIn) {
  Checkpoint checkpoint;
  checkpoint.config["scale_decoder_outputs"] = true;
  auto imported = checkpoint.import();
  EXPECT_FALSE(imported.config.tie_embeddings);
  EXPECT_TRUE(torch::allclose(find(imported.tensors, "lm_head.weight"),
                              checkpoint.tensors.at("lm_head.weight") / std::sqrt(8.0)));

  // Without both keys, as in T5 1.0: scaled. A head that is the embedding again is no head.
  checkpoint.config.erase("scale_decoder_outputs");
  checkpoint.config.erase("tie_word_embeddings");
  checkpoint.tensors["lm_head.weight"] = checkpoint.tensors["shared.weight"];
  EXPECT_TRUE(checkpoint.import().config.tie_embeddings);
}

TEST(HuggingFace, OlderCheckpointsLeaveKeysOutAndRepeatTheEmbedding) {
  Checkpoint checkpoint;
  for (const char* key : {"num_decoder_layers", "relative_attention_max_distance",
                          "layer_norm_epsilon", "model_type", "decoder_start_token_id"}) {
    checkpoint.config.erase(key);
  }
  checkpoint.config["num_layers"] = 1;
  std::erase_if(checkpoint.tensors,
                [](const auto& item) { return item.first.starts_with("encoder.block.1."); });
  const auto shared = checkpoint.tensors["shared.weight"];
  checkpoint.tensors["encoder.embed_tokens.weight"] = shared.clone();
  checkpoint.tensors["decoder.embed_tokens.weight"] = shared.clone();
  checkpoint.add("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
                 {kBuckets, 2});
  const auto config = checkpoint.import().config;
  EXPECT_EQ(config.num_decoder_layers, 1);
  EXPECT_EQ(config.relative_max_distance, 128);
  EXPECT_DOUBLE_EQ(config.norm_epsilon, 1e-6);

  checkpoint.tensors.erase("shared.weight");
  EXPECT_TRUE(torch::equal(find(checkpoint.import().tensors, "shared.weight"), shared));

  checkpoint.tensors["decoder.embed_tokens.weight"].add_(1);
  EXPECT_THAT(checkpoint.error(), HasSubstr("\"decoder.embed_tokens.weight\" differs"));
}

TEST(HuggingFace, ReluOfT5Version10Works) {
  Checkpoint checkpoint;
  checkpoint.config["feed_forward_proj"] = "relu";
  for (const std::string part :
       {"encoder.block.0.layer.1.", "encoder.block.1.layer.1.", "decoder.block.0.layer.2."}) {
    const auto name = part + "DenseReluDense.wi";
    checkpoint.tensors[name + ".weight"] = checkpoint.tensors[name + "_0.weight"];
    checkpoint.tensors.erase(name + "_0.weight");
    checkpoint.tensors.erase(name + "_1.weight");
  }
  const auto imported = checkpoint.import();
  EXPECT_EQ(imported.config.feed_forward, FeedForwardKind::kRelu);
  T5 model(imported.config);
  load_parameters(*model, imported.tensors, "imported");
}

TEST(HuggingFace, WhatDoesNotFitIsAnErrorThatNamesFileAndKey) {
  const auto error_after = [](const std::function<void(Checkpoint&)>& change) {
    Checkpoint checkpoint;
    change(checkpoint);
    return checkpoint.error();
  };
  const auto with = [&](const std::string& key, const Json& value) {
    return error_after([&](Checkpoint& checkpoint) { checkpoint.config[key] = value; });
  };
  EXPECT_THAT(error_after([](Checkpoint& checkpoint) { checkpoint.config.erase("d_kv"); }),
              HasSubstr("config.json: has no \"d_kv\""));
  EXPECT_THAT(with("d_ff", "wide"), HasSubstr("\"d_ff\" is \"wide\"; expected a whole number"));
  EXPECT_THAT(with("d_ff", 0), HasSubstr("config.json: model.d_ff is 0"));
  EXPECT_THAT(with("model_type", "bert"), HasSubstr("\"model_type\" is \"bert\""));
  EXPECT_THAT(with("dense_act_fn", "silu"), HasSubstr("\"dense_act_fn\" is \"silu\"; expected"));
  EXPECT_THAT(with("feed_forward_proj", "gated-silu"), HasSubstr("\"gated-silu\"; expected"));
  EXPECT_THAT(with("eos_token_id", 2), HasSubstr("\"eos_token_id\" is 2; expected 1"));
  EXPECT_THAT(error_after([](Checkpoint& checkpoint) {
                checkpoint.add("encoder.block.2.layer.0.layer_norm.weight", {kWidth});
              }),
              HasSubstr("model.safetensors: holds \"encoder.block.2.layer.0.layer_norm.weight\""));
  EXPECT_THAT(error_after([](Checkpoint& checkpoint) {
                checkpoint.tensors.erase("encoder.final_layer_norm.weight");
              }),
              HasSubstr("model.safetensors: has no tensor \"encoder.final_layer_norm.weight\""));
}

TEST(HuggingFace, Mt5NeverScalesWhateverItsConfigSays) {
  Checkpoint checkpoint;
  checkpoint.config["model_type"] = "mt5";
  checkpoint.config.erase("feed_forward_proj");  // gated GELU is mT5's default
  for (const bool tie : {true, false}) {
    checkpoint.config["tie_word_embeddings"] = tie;
    const auto imported = checkpoint.import();
    EXPECT_EQ(imported.config.feed_forward, FeedForwardKind::kGatedGelu);
    EXPECT_FALSE(imported.config.tie_embeddings);
    EXPECT_TRUE(torch::equal(find(imported.tensors, "lm_head.weight"),
                             checkpoint.tensors.at("lm_head.weight")));
  }
}

TEST(HuggingFace, HalfTypesBecomeFp32Exactly) {
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    Checkpoint checkpoint;
    for (auto& [name, tensor] : checkpoint.tensors) tensor = tensor.to(type);
    const auto imported = checkpoint.import();
    T5 model(imported.config);
    load_parameters(*model, imported.tensors, "imported");
    EXPECT_EQ(model->shared->weight.scalar_type(), torch::kFloat);
    EXPECT_TRUE(torch::equal(model->shared->weight,
                             checkpoint.tensors.at("shared.weight").to(torch::kFloat)));
  }
  for (const auto type : {torch::kDouble, torch::kChar}) {
    Checkpoint checkpoint;
    auto& tensor = checkpoint.tensors.at("encoder.final_layer_norm.weight");
    tensor = tensor.to(type);
    EXPECT_THAT(checkpoint.error(),
                AllOf(HasSubstr("tensor \"encoder.final_layer_norm.weight\" is "),
                      HasSubstr("; expected float, bfloat16 or half weights")));
  }
}

TEST(HuggingFace, WeightsInSeveralFilesAreTheSame) {
  const Checkpoint checkpoint;
  const TempDir directory;
  directory.write("config.json", checkpoint.config.dump());
  const NamedTensors named(checkpoint.tensors.begin(), checkpoint.tensors.end());
  EXPECT_GT(write_safetensors_shards(directory.path(), named, 600), 4);
  const auto imported = import_hugging_face(directory.path());
  EXPECT_TRUE(
      torch::equal(find(imported.tensors, "encoder.layers.1.feed_forward.wo.weight"),
                   checkpoint.tensors.at("encoder.block.1.layer.1.DenseReluDense.wo.weight")));
}

TEST(HuggingFace, OtherIdsAreRefusedWhereverTheyStand) {
  Checkpoint checkpoint;
  checkpoint.config["eos_token_id"] = {1};  // a list, as transformers 5 may write it
  EXPECT_EQ(checkpoint.error(), "none");
  checkpoint.config["eos_token_id"] = {1, 2};
  EXPECT_THAT(checkpoint.error(), HasSubstr("\"eos_token_id\" is [1,2]; expected 1"));
  const TempDir directory;
  directory.write("config.json", hugging_face_config().dump());
  directory.write("generation_config.json", R"({"decoder_start_token_id": 5})");
  try {
    import_hugging_face(directory.path());
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("generation_config.json: \"decoder_start_token_id\" is 5; "
                                        "expected 0"));
  }
}

TEST(HuggingFace, OtherWaysToKeepWeightsAreNamed) {
  const auto error_in = [](const TempDir& directory) {
    directory.write("config.json", hugging_face_config().dump());
    try {
      import_hugging_face(directory.path());
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  const TempDir pickled;
  pickled.write("pytorch_model.bin", "");
  EXPECT_THAT(error_in(pickled), HasSubstr("pickled weights are not read"));
  const TempDir empty;
  EXPECT_THAT(error_in(empty), HasSubstr("model.safetensors: is missing"));
  const TempDir broken;
  broken.write("config.json", "{\n\"d_model\": 8,\n]");
  EXPECT_THROW(import_hugging_face(broken.path()), UserError);
}

}  // namespace
}  // namespace altup
