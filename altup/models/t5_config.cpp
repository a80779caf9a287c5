// The sizes of T5 1.1 (and a tiny one), what a model's settings must agree on, and config.json of a
// checkpoint.
#include "altup/models/t5_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/field_value.h"
#include "altup/util/text.h"

namespace altup {
namespace {

using Json = nlohmann::ordered_json;

/// A checkpoint that leaves these out could only be guessed at; any other key has a default that
/// the first checkpoints were written with, so that keys can be added later.
constexpr std::array<std::string_view, 7> kRequiredKeys = {
    "d_model",   "d_ff", "d_kv", "num_heads", "num_encoder_layers", "num_decoder_layers",
    "vocab_size"};

template <class T>
Json field_to_json(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::string(enum_name(value));
  } else {
    return value;
  }
}

FieldValue field_from_json(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return OtherValue{value.dump()};
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return OtherValue{str("a JSON ", value.type_name())};
}

/// Sets the fields of `section` from the members of `object`; members of no field, but for
/// `nested`, are errors.
template <class Section>
void read_section(const Json& object, const std::string& prefix, const std::string& nested,
                  Section& section) {
  if (!object.is_object()) {
    throw UserError(str(prefix.empty() ? "the file" : prefix, " is a JSON ", object.type_name(),
                        "; expected an object"));
  }
  std::vector<std::string> known;
  Section::fields(section, [&](const Field& field, auto& target) {
    known.emplace_back(field.name);
    if (const auto at = object.find(known.back()); at != object.end()) {
      assign_field(prefix + known.back(), field, field_from_json(*at), target);
    }
  });
  if (!nested.empty()) known.push_back(nested);
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const auto like = nearest(key, known);
    throw UserError(str("unknown key \"", prefix, key, "\"; ",
                        like.empty() ? "expected one of " + join(known, ", ")
                                     : "did you mean \"" + prefix + like + "\"?"));
  }
}

}  // namespace

void T5Config::apply_size(ModelSize new_size) {
  size = new_size;
  const auto set = [this](int64_t model, int64_t ff, int64_t heads, int64_t layers) {
    d_model = model;
    d_ff = ff;
    d_kv = 64;
    num_heads = heads;
    num_encoder_layers = layers;
    num_decoder_layers = layers;
  };
  switch (new_size) {
    case ModelSize::kCustom:
      return;
    case ModelSize::kTiny:
      return set(256, 512, 4, 4);
    case ModelSize::kSmall:
      return set(512, 1024, 6, 8);
    case ModelSize::kBase:
      return set(768, 2048, 12, 12);
    case ModelSize::kLarge:
      return set(1024, 2816, 16, 24);
    case ModelSize::kXl:
      return set(2048, 5120, 32, 24);
  }
}

void T5Config::validate() const {
  fields(*this, [](const Field& field, const auto& value) {
    check_field(str("model.", field.name), field, value);
  });
  AltUpConfig::fields(altup, [](const Field& field, const auto& value) {
    check_field(str("altup.", field.name), field, value);
  });
  // The encoder halves its buckets between the two directions.
  if (relative_buckets % 2 != 0) {
    throw UserError(
        str("model.relative_buckets is ", relative_buckets, "; expected an even number"));
  }
  // Half of the decoder's buckets hold one distance each; the others are spaced by logarithm from
  // there on.
  if (relative_max_distance <= relative_buckets / 2) {
    throw UserError(str("model.relative_max_distance is ", relative_max_distance,
                        "; expected more than half of model.relative_buckets, ",
                        relative_buckets / 2));
  }
  if (norm_epsilon == 0.0) {
    throw UserError("model.norm_epsilon is 0; expected a number above 0");
  }
  if (tie_embeddings && embedding_width() != output_width()) {
    throw UserError(str("model.tie_embeddings is true with altup.variant \"",
                        enum_name(altup.variant), "\", whose embedding is ", embedding_width(),
                        " wide and whose head is ", output_width(),
                        "; expected false, or another variant"));
  }
}

std::string to_json(const T5Config& config) {
  Json object;
  T5Config::fields(config, [&](const Field& field, const auto& value) {
    object[std::string(field.name)] = field_to_json(value);
  });
  Json& altup = object["altup"] = Json::object();
  AltUpConfig::fields(config.altup, [&](const Field& field, const auto& value) {
    altup[std::string(field.name)] = field_to_json(value);
  });
  return object.dump(2) + "\n";
}

T5Config t5_config_from_json(const std::string& json, const std::string& path) {
  Json object;
  try {
    object = Json::parse(json);
  } catch (const Json::parse_error& error) {
    const auto end = json.begin() + static_cast<int64_t>(std::min(error.byte, json.size()));
    throw UserError(path, 1 + std::count(json.begin(), end, '\n'),
                    "broken JSON; expected one object");
  }
  T5Config config;
  try {
    read_section(object, "", "altup", config);
    if (const auto at = object.find("altup"); at != object.end()) {
      read_section(*at, "altup.", "", config.altup);
    }
    for (const auto key : kRequiredKeys) {
      if (!object.contains(key)) throw UserError(str("\"", key, "\" is missing"));
    }
    config.validate();
  } catch (const UserError& error) {
    throw UserError(path, error.what());
  }
  return config;
}

}  // namespace altup
