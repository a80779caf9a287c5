// T5 checkpoints of Hugging Face, in and out: a directory with config.json, safetensors in one file
// or several, and the tokenizer (hugging_face_tokenizer.h). Which name becomes which, and what each
// side cannot say: docs/checkpoints.md.
#pragma once

#include <cstdint>
#include <filesystem>

#include "altup/models/hugging_face_tokenizer.h"
#include "altup/models/t5.h"
#include "altup/models/t5_config.h"
#include "altup/util/named_tensors.h"

namespace altup {

struct ImportedT5 {
  T5Config config;
  NamedTensors tensors;  ///< by our names, of the file's types; for load_parameters()
};

/// Takes T5 1.1, Flan-T5 and mT5 (gated GELU, a head of its own), T5 1.0 (ReLU, the embedding as the
/// head) and what export_hugging_face() wrote, in any size; weights in fp32, bf16 or fp16. Strict:
/// throws UserError, with the file, for a key that is missing, a setting that T5 here does not have,
/// a tensor that is missing or unknown, and for pickled weights.
ImportedT5 import_hugging_face(const std::filesystem::path& directory);

struct HuggingFaceExport {
  torch::Dtype dtype = torch::kFloat;  ///< of the weights, kFloat or kBFloat16
  /// Of the data of a file; what is more goes into several.
  uint64_t max_shard_bytes = 5'000'000'000;
};

/// UserError where `directory` is there and is neither empty nor a Hugging Face checkpoint without
/// other files: an export takes the place of such a one, never of anything else.
void require_hugging_face_target(const std::filesystem::path& directory);

/// Writes `model` to `directory`. A dense model opens in transformers (T5ForConditionalGeneration,
/// AutoTokenizer). transformers has no AltUp, so that a variant is written under a model type of our
/// own, "altup_t5", which transformers refuses and import_hugging_face() reads.
///
/// What was written is read back before the directory takes its name: every setting and weight, the
/// logits of a padded batch and greedy ids. Throws std::runtime_error where they differ, UserError
/// for a setting or a tokenizer that the files cannot hold; `directory` is then as it was. Returns
/// the count of files with weights.
int64_t export_hugging_face(T5& model, const HuggingFaceVocabulary& vocabulary,
                            const std::filesystem::path& directory,
                            const HuggingFaceExport& options = {});

}  // namespace altup
