// Reading. Every tensor that the config asks for has one name there and one here
// (hugging_face_names.h); what is in the files and not in that list is an error, except for a second
// copy of the embedding and one tensor that early checkpoints hold and nothing reads.
//
// The head is the embedding where the file has no lm_head.weight. Whether the decoder's output is
// scaled by d_model^-1/2 in front of it is a setting of its own there; here it belongs to the tied
// head, so the two mixed cases become an untied head that holds the factor.
#include "altup/models/hugging_face.h"

#include <torch/types.h>

#include <array>
#include <cmath>
#include <map>

#include "altup/checkpoint/safetensors_index.h"
#include "altup/models/hugging_face_config.h"
#include "altup/models/hugging_face_names.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using hugging_face::kEmbedding;
using hugging_face::kHead;
using TensorMap = std::map<std::string, torch::Tensor>;

constexpr std::array<const char*, 2> kEmbeddingAliases = {"encoder.embed_tokens.weight",
                                                          "decoder.embed_tokens.weight"};
constexpr const char* kNeverRead =
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

// Each of these types becomes fp32 exactly.
TensorMap read_tensors(const fs::path& path) {
  TensorMap given;
  for (auto& [name, tensor] : read_weights(path)) {
    const auto type = tensor.scalar_type();
    if (type != torch::kFloat && type != torch::kBFloat16 && type != torch::kHalf) {
      throw UserError(path.string(), altup::str("tensor \"", name, "\" is ", type,
                                                "; expected float, bfloat16 or half weights"));
    }
    given.emplace(name, tensor);
  }
  given.erase(kNeverRead);
  return given;
}

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
  const auto read = hugging_face::read_config(directory);
  ImportedT5 imported{.config = read.config, .tensors = {}};

  const auto weights = find_weights(directory);
  const auto path = weights.string();
  auto given = read_tensors(weights);
  const auto embedding = take_embedding(given, path);
  given.emplace(kEmbedding, embedding);
  for (const auto& [theirs, ours] : hugging_face::name_pairs(imported.config)) {
    imported.tensors.emplace_back(ours, take(given, theirs, path));
  }

  auto head = given.contains(kHead) ? take(given, kHead, path) : embedding;
  imported.config.tie_embeddings = read.scales_output && torch::equal(head, embedding);
  if (!imported.config.tie_embeddings) {
    if (read.scales_output) {
      head = head.to(torch::kFloat) / std::sqrt(static_cast<double>(imported.config.d_model));
    }
    imported.tensors.emplace_back("lm_head.weight", head);
  }
  if (imported.config.altup.variant != Variant::kNone) {
    for (auto item = given.begin(); item != given.end();) {
      if (!hugging_face::is_our_name(item->first)) {
        ++item;
        continue;
      }
      imported.tensors.emplace_back(item->first, item->second);
      item = given.erase(item);
    }
  }
  if (!given.empty()) {
    throw UserError(
        path, str("holds \"", given.begin()->first, "\", which a T5 of this config does not have (",
                  given.size(), " such tensors)"));
  }
  return imported;
}

}  // namespace altup
