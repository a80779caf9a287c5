// The sizes of T5 1.1 (and a tiny one), what a model's settings must agree on, and how an export
// describes them.
#include "altup/models/t5_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/field_value.h"
#include "altup/util/text.h"

namespace altup {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json field_to_json(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::string(enum_name(value));
  } else {
    return value;
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
  MoeConfig::fields(moe, [](const Field& field, const auto& value) {
    check_field(str("moe.", field.name), field, value);
  });
  const bool strides = shortens_layers() && !pools_memory();
  const int64_t fewest_layers = strides ? 3 : pools_memory() ? 2 : 1;
  if (num_encoder_layers < fewest_layers) {
    throw UserError(str("altup.variant is \"", enum_name(altup.variant), "\", which ",
                        strides ? "strides all layers of the encoder but the first and the last"
                                : "pools behind the encoder's first layer",
                        "; expected model.num_encoder_layers of at least ", fewest_layers, ", got ",
                        num_encoder_layers));
  }
  if (moe.experts > 0 && moe.capacity_factor == 0.0) {
    throw UserError("moe.capacity_factor is 0, with which no expert sees a token; expected more");
  }
  if (moe.experts > 0 && moe.every > std::max(num_encoder_layers, num_decoder_layers)) {
    throw UserError(str("moe.every is ", moe.every, "; expected at most the layers of a stack, ",
                        std::max(num_encoder_layers, num_decoder_layers),
                        ", or no layer has a mixture"));
  }
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
  Json& moe = object["moe"] = Json::object();
  MoeConfig::fields(config.moe, [&](const Field& field, const auto& value) {
    moe[std::string(field.name)] = field_to_json(value);
  });
  return object.dump(2) + "\n";
}

}  // namespace altup
