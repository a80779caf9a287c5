// config.json and generation_config.json of a Hugging Face T5, both ways, key by key. The table:
// docs/checkpoints.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "altup/models/t5_config.h"

namespace altup::hugging_face {

struct ReadConfig {
  /// All but tie_embeddings, which the weights decide.
  T5Config config;
  /// Whether the decoder's output is multiplied by d_model^-1/2 in front of the head.
  bool scales_output = false;
};

/// Reads `directory`/config.json, and the ids of generation_config.json where that is there. Takes
/// the model types t5, mt5 and our altup_t5; UserError with file and key for all that a T5 here
/// does not have.
ReadConfig read_config(const std::filesystem::path& directory);

/// The text of config.json. A dense model is a "t5"; an AltUp variant is an "altup_t5", which
/// transformers refuses by that name, and by its feed_forward_proj where the type is not asked for
/// (T5ForConditionalGeneration would load a Recycled-AltUp model and leave its coefficients out).
/// `dtype` is the type of the weights, "float32" or "bfloat16". UserError with the key of a setting
/// that the file cannot say.
std::string write_config(const T5Config& config, const std::string& dtype);

/// The text of generation_config.json. Ids from `valid_vocab` on are never generated.
std::string write_generation_config(const T5Config& config, int64_t valid_vocab);

}  // namespace altup::hugging_face
