// Reading T5 checkpoints of Hugging Face: a directory with config.json and model.safetensors. Which
// name becomes which: docs/export.md.
#pragma once

#include <filesystem>

#include "altup/models/t5_config.h"
#include "altup/util/named_tensors.h"

namespace altup {

struct ImportedT5 {
  T5Config config;
  NamedTensors tensors;  ///< by our names, of the file's types; for load_parameters()
};

/// Takes T5 1.1 (gated GELU, a head of its own) and T5 1.0 (ReLU, the embedding as the head), in
/// any size. Strict: throws UserError, with the file, for a key that is missing, a setting that T5
/// here does not have, a tensor that is missing or unknown, and for sharded or pickled weights.
ImportedT5 import_hugging_face(const std::filesystem::path& directory);

}  // namespace altup
