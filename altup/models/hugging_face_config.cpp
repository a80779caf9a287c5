#include "altup/models/hugging_face_config.h"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "altup/models/hugging_face_json.h"
#include "altup/util/error.h"
#include "altup/util/field_value.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup::hugging_face {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kAltUpType = "altup_t5";
constexpr std::string_view kAltUpSuffix = "-altup";  // of feed_forward_proj

struct Activation {
  FeedForwardKind kind;
  const char* name;   // feed_forward_proj
  const char* inner;  // dense_act_fn, which follows from it
};
constexpr std::array<Activation, 2> kActivations = {
    {{FeedForwardKind::kGatedGelu, "gated-gelu", "gelu_new"},
     {FeedForwardKind::kRelu, "relu", "relu"}}};

// Ids that are fixed here.
constexpr std::array<std::pair<const char*, int64_t>, 3> kIds = {
    {{"pad_token_id", 0}, {"eos_token_id", 1}, {"decoder_start_token_id", 0}}};

void check_ids(const JsonFile& file) {
  for (const auto& [key, id] : kIds) {
    if (!file.has(key)) continue;
    const auto& value = file.value(key);
    // A list of one is how transformers 5 may write the same.
    if (value != id && value != Json::array({id})) file.refuse(key, str(id));
  }
}

FeedForwardKind read_feed_forward(const JsonFile& file, const std::string& type) {
  const auto written = file.word("feed_forward_proj", type == "mt5" ? "gated-gelu" : "relu");
  const std::string suffix(type == kAltUpType ? kAltUpSuffix : "");
  for (const auto& [kind, name, inner] : kActivations) {
    if (written != name + suffix) continue;
    if (file.word("dense_act_fn", inner) != inner)
      file.refuse("dense_act_fn", str('"', inner, '"'));
    return kind;
  }
  file.refuse("feed_forward_proj",
              str("\"gated-gelu", suffix, "\" (T5 1.1) or \"relu", suffix, "\" (T5 1.0)"));
}

FieldValue field_value(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return OtherValue{value.dump()};
}

AltUpConfig read_altup(const JsonFile& file) {
  AltUpConfig altup;
  if (!file.has("altup") || !file.value("altup").is_object()) {
    file.fail("has no object \"altup\"; expected one, since \"model_type\" is \"altup_t5\"");
  }
  Json left = file.value("altup");
  AltUpConfig::fields(altup, [&](const Field& field, auto& value) {
    const std::string name(field.name);
    if (!left.contains(name)) file.fail(str("has no \"altup.", name, "\"; expected all its keys"));
    assign_field("altup." + name, field, field_value(left[name]), value);
    left.erase(name);
  });
  if (!left.empty()) {
    file.fail(str("has the unknown key \"altup.", left.begin().key(),
                  "\"; expected those that altup export writes"));
  }
  return altup;
}

// Where older checkpoints leave a key out, transformers' default holds.
ReadConfig read_config(const JsonFile& file) {
  const auto type = file.word("model_type", "t5");
  if (type != "t5" && type != "mt5" && type != kAltUpType) {
    file.refuse("model_type", "\"t5\", \"mt5\" or \"altup_t5\"");
  }
  ReadConfig read;
  T5Config& config = read.config;
  config.size = ModelSize::kCustom;
  config.d_model = file.integer("d_model");
  config.d_ff = file.integer("d_ff");
  config.d_kv = file.integer("d_kv");
  config.num_heads = file.integer("num_heads");
  config.num_encoder_layers = file.integer("num_layers");
  config.num_decoder_layers = file.integer("num_decoder_layers", config.num_encoder_layers);
  config.vocab_size = file.integer("vocab_size");
  config.relative_buckets = file.integer("relative_attention_num_buckets", 32);
  config.relative_max_distance = file.integer("relative_attention_max_distance", 128);
  config.norm_epsilon = file.real("layer_norm_epsilon", 1e-6);
  config.dropout = file.real("dropout_rate", 0.1);
  config.feed_forward = read_feed_forward(file, type);
  check_ids(file);
  // mT5's head is never behind a factor, whatever its config says of ties.
  read.scales_output = type != "mt5" && file.boolean("scale_decoder_outputs",
                                                     file.boolean("tie_word_embeddings", true));
  try {
    if (type == kAltUpType) config.altup = read_altup(file);
    config.validate();
  } catch (const UserError& error) {
    const std::string message = error.what();
    if (message.starts_with(file.path())) throw;
    throw UserError(file.path(), message);
  }
  return read;
}

// Every setting by its key in a run's config, with what is beside the point left out.
std::map<std::string, std::string> settings_of(const T5Config& config) {
  std::map<std::string, std::string> settings;
  const auto add_to = [&](const std::string& section) {
    return [&settings, section](const Field& field, const auto& value) {
      auto& text = settings[str(section, ".", field.name)];
      if constexpr (std::is_enum_v<std::decay_t<decltype(value)>>) {
        text = enum_name(value);
      } else {
        text = Json(value).dump();
      }
    };
  };
  T5Config::fields(config, add_to("model"));
  settings.erase("model.size");  // a name for the keys below it
  if (config.altup.variant != Variant::kNone) AltUpConfig::fields(config.altup, add_to("altup"));
  settings["moe.experts"] = std::to_string(config.moe.experts);  // without any, no other key counts
  return settings;
}

void require_nothing_lost(const T5Config& config, const std::string& text) {
  auto read = read_config(JsonFile("config.json", text));
  read.config.tie_embeddings = read.scales_output;
  const auto read_back = settings_of(read.config);
  for (const auto& [key, value] : settings_of(config)) {
    const auto found = read_back.find(key);
    const auto other = found == read_back.end() ? "nothing" : found->second;
    if (other == value) continue;
    throw UserError(
        str(key, " is ", value, ", which Hugging Face's config.json cannot say; expected ", other));
  }
}

}  // namespace

ReadConfig read_config(const fs::path& directory) {
  const auto generation = directory / "generation_config.json";
  if (fs::exists(generation)) check_ids(JsonFile(generation));
  return read_config(JsonFile(directory / "config.json"));
}

std::string write_config(const T5Config& config, const std::string& dtype) {
  const bool is_dense = config.altup.variant == Variant::kNone;
  const std::string_view suffix = is_dense ? "" : kAltUpSuffix;
  Json json = {{"architectures",
                {is_dense ? "T5ForConditionalGeneration" : "AltUpT5ForConditionalGeneration"}},
               {"model_type", is_dense ? "t5" : kAltUpType},
               {"is_encoder_decoder", true},
               {"d_model", config.d_model},
               {"d_ff", config.d_ff},
               {"d_kv", config.d_kv},
               {"num_heads", config.num_heads},
               {"num_layers", config.num_encoder_layers},
               {"num_decoder_layers", config.num_decoder_layers},
               {"vocab_size", config.vocab_size},
               {"relative_attention_num_buckets", config.relative_buckets},
               {"relative_attention_max_distance", config.relative_max_distance},
               {"layer_norm_epsilon", config.norm_epsilon},
               {"dropout_rate", config.dropout},
               // Versions before 5 go by the first of these two alone, the others by the second.
               {"tie_word_embeddings", config.tie_embeddings},
               {"scale_decoder_outputs", config.tie_embeddings},
               {"dtype", dtype}};
  for (const auto& [kind, name, inner] : kActivations) {
    if (kind == config.feed_forward) json["feed_forward_proj"] = str(name, suffix);
  }
  for (const auto& [key, id] : kIds) json[key] = id;
  if (!is_dense) json["altup"] = Json::parse(to_json(config)).at("altup");
  const auto text = json.dump(2) + "\n";
  require_nothing_lost(config, text);
  return text;
}

std::string write_generation_config(const T5Config& config, int64_t valid_vocab) {
  Json json = Json::object();
  for (const auto& [key, id] : kIds) json[key] = id;
  std::vector<int64_t> padding;
  for (int64_t id = valid_vocab; id < config.vocab_size; ++id) padding.push_back(id);
  if (!padding.empty()) json["suppress_tokens"] = padding;
  return json.dump(2) + "\n";
}

}  // namespace altup::hugging_face
