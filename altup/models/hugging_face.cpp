// Every tensor that the config asks for has one name there and one here, listed in name_pairs();
// what is in the file and not in the list is an error, except for a second copy of the embedding
// and one tensor that early checkpoints hold and nothing reads.
//
// The head is the embedding where the file has no lm_head.weight. Whether the decoder's output is
// scaled by d_model^-1/2 in front of it is a setting of its own there; here it belongs to the tied
// head, so the two mixed cases become an untied head that holds the factor.
#include "altup/models/hugging_face.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "altup/checkpoint/safetensors.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using NamePairs = std::vector<std::pair<std::string, std::string>>;  // theirs, ours

constexpr const char* kEmbedding = "shared.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr std::array<const char*, 2> kEmbeddingAliases = {"encoder.embed_tokens.weight",
                                                          "decoder.embed_tokens.weight"};
constexpr const char* kNeverRead =
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

// config.json with errors that name file and key.
class Settings {
 public:
  explicit Settings(const fs::path& path) : path_(path.string()) {
    const auto text = read_file(path);
    try {
      json_ = Json::parse(text);
    } catch (const Json::parse_error& error) {
      // nlohmann counts bytes from 1.
      throw UserError(path_, line_of(text, error.byte > 0 ? error.byte - 1 : 0),
                      "broken JSON; expected one object");
    }
    if (!json_.is_object()) throw UserError(path_, "is not a JSON object");
  }

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }

  /// A missing key is an error without a `fallback`.
  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    return get(key, fallback, &Json::is_number_integer, "a whole number");
  }
  double real(const char* key, double fallback) const {
    return get<double>(key, fallback, &Json::is_number, "a number");
  }
  bool boolean(const char* key, bool fallback) const {
    return get<bool>(key, fallback, &Json::is_boolean, "true or false");
  }
  std::string word(const char* key, const std::string& fallback) const {
    return get<std::string>(key, fallback, &Json::is_string, "a string");
  }

  [[noreturn]] void refuse(const char* key, const std::string& expected) const {
    throw UserError(path_, str("\"", key, "\" is ", json_[key].dump(), "; expected ", expected));
  }

 private:
  template <class T>
  T get(const char* key, const std::optional<T>& fallback, bool (Json::*is_right)() const noexcept,
        const char* expected) const {
    if (!has(key)) {
      if (fallback) return *fallback;
      throw UserError(path_, str("has no \"", key, "\"; expected the config of a T5"));
    }
    if (!(json_[key].*is_right)()) refuse(key, expected);
    return json_[key].get<T>();
  }

  std::string path_;
  Json json_;
};

// Where older checkpoints leave a key out, transformers' default holds.
T5Config read_config(const Settings& settings, const std::string& path) {
  const auto type = settings.word("model_type", "t5");
  if (type != "t5" && type != "mt5") settings.refuse("model_type", "\"t5\" or \"mt5\"");
  T5Config config;
  config.size = ModelSize::kCustom;
  config.d_model = settings.integer("d_model");
  config.d_ff = settings.integer("d_ff");
  config.d_kv = settings.integer("d_kv");
  config.num_heads = settings.integer("num_heads");
  config.num_encoder_layers = settings.integer("num_layers");
  config.num_decoder_layers = settings.integer("num_decoder_layers", config.num_encoder_layers);
  config.vocab_size = settings.integer("vocab_size");
  config.relative_buckets = settings.integer("relative_attention_num_buckets", 32);
  config.relative_max_distance = settings.integer("relative_attention_max_distance", 128);
  config.norm_epsilon = settings.real("layer_norm_epsilon", 1e-6);
  config.dropout = settings.real("dropout_rate", 0.1);
  const auto feed_forward = settings.word("feed_forward_proj", "relu");
  if (feed_forward == "gated-gelu") {
    config.feed_forward = FeedForwardKind::kGatedGelu;
  } else if (feed_forward == "relu") {
    config.feed_forward = FeedForwardKind::kRelu;
  } else {
    settings.refuse("feed_forward_proj", "\"gated-gelu\" (T5 1.1) or \"relu\" (T5 1.0)");
  }
  // Ids that are fixed here.
  for (const auto& [key, id] : {std::pair{"pad_token_id", 0}, std::pair{"eos_token_id", 1},
                                std::pair{"decoder_start_token_id", 0}}) {
    if (settings.integer(key, id) != id) settings.refuse(key, str(id));
  }
  try {
    config.validate();
  } catch (const UserError& error) {
    throw UserError(path, error.what());
  }
  return config;
}

void add_attention(const std::string& theirs, const std::string& ours, NamePairs& pairs) {
  for (const char* projection : {"q", "k", "v", "o"}) {
    pairs.emplace_back(str(theirs, ".", projection, ".weight"),
                       str(ours, ".", projection, ".weight"));
  }
}

// One stack; the decoder has a cross-attention between the other two sub-layers.
void add_stack(const std::string& stack, bool is_decoder, int64_t num_layers,
               FeedForwardKind feed_forward, NamePairs& pairs) {
  pairs.emplace_back(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                     stack + ".relative_bias.weight");
  for (int64_t i = 0; i < num_layers; ++i) {
    const auto theirs = str(stack, ".block.", i, ".layer.");
    const auto ours = str(stack, ".layers.", i, ".");
    add_attention(theirs + "0.SelfAttention", ours + "self_attention", pairs);
    pairs.emplace_back(theirs + "0.layer_norm.weight", ours + "self_attention_norm.weight");
    if (is_decoder) {
      add_attention(theirs + "1.EncDecAttention", ours + "cross_attention", pairs);
      pairs.emplace_back(theirs + "1.layer_norm.weight", ours + "cross_attention_norm.weight");
    }
    const auto last = theirs + (is_decoder ? "2." : "1.");
    const auto names = feed_forward == FeedForwardKind::kGatedGelu
                           ? std::vector<std::string>{"wi_0", "wi_1", "wo"}
                           : std::vector<std::string>{"wi", "wo"};
    for (const auto& name : names) {
      pairs.emplace_back(str(last, "DenseReluDense.", name, ".weight"),
                         str(ours, "feed_forward.", name, ".weight"));
    }
    pairs.emplace_back(last + "layer_norm.weight", ours + "feed_forward_norm.weight");
  }
  pairs.emplace_back(stack + ".final_layer_norm.weight", stack + ".final_norm.weight");
}

NamePairs name_pairs(const T5Config& config) {
  NamePairs pairs = {{kEmbedding, "shared.weight"}};
  add_stack("encoder", false, config.num_encoder_layers, config.feed_forward, pairs);
  add_stack("decoder", true, config.num_decoder_layers, config.feed_forward, pairs);
  return pairs;
}

fs::path weights_file(const fs::path& directory) {
  const auto path = directory / "model.safetensors";
  if (fs::exists(path)) return path;
  if (fs::exists(directory / "model.safetensors.index.json")) {
    throw UserError((directory / "model.safetensors.index.json").string(),
                    "the weights are in several files; expected one model.safetensors");
  }
  if (fs::exists(directory / "pytorch_model.bin")) {
    throw UserError((directory / "pytorch_model.bin").string(),
                    "pickled weights are not read; expected model.safetensors beside it (in "
                    "Python: save_pretrained(DIR, safe_serialization=True))");
  }
  throw UserError(path.string(), "is missing; expected the weights of the model");
}

using TensorMap = std::map<std::string, torch::Tensor>;

// Takes the tensor out of `given`, so that what remains in the end is what nobody asked for.
torch::Tensor take(TensorMap& given, const std::string& name, const std::string& path) {
  const auto node = given.extract(name);
  if (node.empty()) {
    throw UserError(path, str("has no tensor \"", name, "\", which config.json asks for"));
  }
  return node.mapped();
}

// One file may hold the embedding under any of its names, or several times.
torch::Tensor take_embedding(TensorMap& given, const std::string& path) {
  for (const char* alias : kEmbeddingAliases) {
    const auto node = given.extract(alias);
    if (node.empty()) continue;
    const auto [at, is_new] = given.emplace(kEmbedding, node.mapped());
    if (!is_new && !torch::equal(at->second, node.mapped())) {
      throw UserError(path, str("\"", alias, "\" differs from \"", kEmbedding,
                                "\"; expected one embedding for both stacks"));
    }
  }
  return take(given, kEmbedding, path);
}

}  // namespace

ImportedT5 import_hugging_face(const fs::path& directory) {
  const auto config_path = directory / "config.json";
  const Settings settings(config_path);
  ImportedT5 imported{.config = read_config(settings, config_path.string()), .tensors = {}};

  const auto path = weights_file(directory);
  TensorMap given;
  for (auto& [name, tensor] : read_safetensors(path)) given.emplace(name, tensor);
  given.erase(kNeverRead);
  const auto embedding = take_embedding(given, path.string());
  given.emplace(kEmbedding, embedding);
  for (const auto& [theirs, ours] : name_pairs(imported.config)) {
    imported.tensors.emplace_back(ours, take(given, theirs, path.string()));
  }

  const bool is_scaled =
      settings.boolean("scale_decoder_outputs", settings.boolean("tie_word_embeddings", true));
  auto head = given.contains(kHead) ? take(given, kHead, path.string()) : embedding;
  imported.config.tie_embeddings = is_scaled && torch::equal(head, embedding);
  if (!imported.config.tie_embeddings) {
    if (is_scaled) {
      head = head.to(torch::kFloat) / std::sqrt(static_cast<double>(imported.config.d_model));
    }
    imported.tensors.emplace_back("lm_head.weight", head);
  }
  if (!given.empty()) {
    throw UserError(path.string(), str("holds \"", given.begin()->first,
                                       "\", which a T5 of this config does not "
                                       "have (",
                                       given.size(), " such tensors)"));
  }
  return imported;
}

}  // namespace altup
