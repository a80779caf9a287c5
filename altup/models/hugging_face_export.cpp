// Writing, and reading back what was written.
#include <ATen/CPUGeneratorImpl.h>
#include <unistd.h>

#include <regex>
#include <stdexcept>

#include "altup/checkpoint/directory.h"
#include "altup/checkpoint/safetensors_index.h"
#include "altup/models/evaluation_mode.h"
#include "altup/models/hugging_face.h"
#include "altup/models/hugging_face_config.h"
#include "altup/models/hugging_face_names.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

// Names that a Hugging Face checkpoint of a T5 has, from here or from transformers.
const std::regex& checkpoint_file() {
  static const std::regex names(
      R"((generation_)?config\.json|model\.safetensors(\.index\.json)?)"
      R"(|model-[0-9]{5}-of-[0-9]{5}\.safetensors)"
      R"(|spiece\.model|tokenizer(_config)?\.json|special_tokens_map\.json|added_tokens\.json)");
  return names;
}

// Of the type that it has in the file. AltUp's few coefficients stay in fp32.
torch::Tensor as_written(const torch::Tensor& parameter, const std::string& name,
                         torch::Dtype dtype) {
  const auto type = hugging_face::is_our_name(name) ? torch::kFloat : dtype;
  return parameter.detach().to(torch::kCPU, type);
}

NamedTensors tensors_by_their_names(const T5& model, torch::Dtype dtype) {
  const auto parameters = model->named_parameters();
  NamedTensors tensors;
  for (const auto& [theirs, ours] : hugging_face::name_pairs(model->config())) {
    tensors.emplace_back(theirs, as_written(parameters[ours], ours, dtype));
  }
  if (!model->config().tie_embeddings) {
    tensors.emplace_back(hugging_face::kHead,
                         as_written(model->lm_head->weight, hugging_face::kHead, dtype));
  }
  for (const auto& item : parameters) {
    if (!hugging_face::is_our_name(item.key())) continue;
    tensors.emplace_back(item.key(), as_written(item.value(), item.key(), dtype));
  }
  TORCH_CHECK(tensors.size() == parameters.size(), "export knows ", tensors.size(), " of the ",
              parameters.size(), " parameters");
  return tensors;
}

// The model with its weights rounded to `dtype`, on the CPU: what the files have to be equal to, bit
// for bit.
T5 rounded(const T5& model, torch::Dtype dtype) {
  T5 copy(model->config(), /*initialise=*/false);
  NamedTensors tensors;
  for (const auto& item : model->named_parameters()) {
    tensors.emplace_back(item.key(), as_written(item.value(), item.key(), dtype));
  }
  load_parameters(*copy, tensors, "the rounded model");
  copy->eval();
  return copy;
}

void require_equal_weights(const T5& expected, const T5& written) {
  const auto parameters = written->named_parameters();
  for (const auto& item : expected->named_parameters()) {
    const auto* found = parameters.find(item.key());
    if (found == nullptr || !torch::equal(*found, item.value().cpu())) {
      throw std::runtime_error(
          altup::str("the export reads back another ", item.key(), " than was written"));
    }
  }
}

// Without a cache, so that it depends on nothing but the model. [B, 1 + steps]
torch::Tensor greedy_ids(T5& model, const torch::Tensor& input_ids, const torch::Tensor& mask,
                         int64_t valid_vocab, int64_t steps) {
  const auto memory = model->encode(input_ids, mask);
  auto ids = torch::zeros({input_ids.size(0), 1}, torch::kInt64);
  for (int64_t i = 0; i < steps; ++i) {
    const auto logits = model->logits(model->decode(ids, memory, mask));  // [B, 1 + i, V]
    const auto next = logits.select(1, i).narrow(1, 0, valid_vocab).argmax(-1, /*keepdim=*/true);
    ids = torch::cat({ids, next}, 1);
  }
  return ids;
}

// Logits of rows of unequal length, the first whole, and what each row generates.
void require_equal_outputs(T5& expected, T5& written, int64_t valid_vocab) {
  constexpr double kRelative = 1e-5;
  constexpr int64_t kBatch = 3;
  constexpr int64_t kInputLength = 11;
  constexpr int64_t kTargetLength = 7;
  constexpr uint64_t kSeed = 20;  // its own generator: an export changes no other random number
  auto generator = at::detail::createCPUGenerator(kSeed);
  const auto random_ids = [&](int64_t length) {
    return torch::randint(valid_vocab, {kBatch, length}, generator, torch::kInt64);
  };
  const auto input_ids = random_ids(kInputLength);                             // [B, S]
  const auto lengths = kInputLength - 4 * torch::arange(kBatch).unsqueeze(1);  // [B, 1]
  const auto mask = torch::arange(kInputLength).unsqueeze(0) < lengths;        // [B, S]
  const auto targets = random_ids(kTargetLength);                              // [B, T]
  const auto logits = expected->forward(input_ids, mask, targets);             // [B, T, V]
  const auto difference = (written->forward(input_ids, mask, targets) - logits).abs().max();
  const auto range = logits.abs().max().item<double>();
  if (!(difference.item<double>() <= kRelative * range)) {
    throw std::runtime_error(altup::str("the export's logits differ from the model's by ",
                                        difference.item<double>(), ", where the largest is ",
                                        range));
  }
  const auto ids = [&](T5& model) {
    return greedy_ids(model, input_ids, mask, valid_vocab, kTargetLength);
  };
  if (!torch::equal(ids(expected), ids(written))) {
    throw std::runtime_error("the export generates other ids than the model");
  }
}

void check_written(T5& model, const fs::path& directory, torch::Dtype dtype, int64_t valid_vocab) {
  const auto imported = import_hugging_face(directory);
  T5 written(imported.config, /*initialise=*/false);
  load_parameters(*written, imported.tensors, directory.string());
  written->eval();
  // The config was compared by write_config().
  const bool is_as_written = dtype == torch::kFloat && model->shared->weight.device().is_cpu();
  auto expected = is_as_written ? model : rounded(model, dtype);
  require_equal_weights(expected, written);
  require_equal_outputs(expected, written, valid_vocab);
}

fs::path absolute_target(const fs::path& directory) {
  const auto whole = fs::absolute(directory).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

void require_hugging_face_target(const fs::path& directory) {
  const auto target = absolute_target(directory);
  const std::string expected =
      "expected a new or empty directory, or a Hugging Face checkpoint to replace";
  if (!fs::exists(target)) {
    auto parent = target.parent_path();
    while (!fs::exists(parent)) parent = parent.parent_path();
    if (fs::is_directory(parent) && ::access(parent.c_str(), W_OK) == 0) return;
    throw UserError(directory.string(), str("cannot be made, since ", parent.string(),
                                            " is no directory to write to; ", expected));
  }
  if (!fs::is_directory(target)) {
    throw UserError(directory.string(), "is there and is no directory; " + expected);
  }
  for (const auto& entry : fs::directory_iterator(target)) {
    const auto name = entry.path().filename().string();
    if (entry.is_regular_file() && std::regex_match(name, checkpoint_file())) continue;
    throw UserError(directory.string(), str("holds \"", name, "\"; ", expected));
  }
  const bool has_weights = fs::exists(target / "model.safetensors") ||
                           fs::exists(target / "model.safetensors.index.json");
  if (fs::is_empty(target) || (fs::exists(target / "config.json") && has_weights)) return;
  throw UserError(directory.string(), "is there and holds no whole checkpoint; " + expected);
}

int64_t export_hugging_face(T5& model, const HuggingFaceVocabulary& vocabulary,
                            const fs::path& directory, const HuggingFaceExport& options) {
  const auto dtype = options.dtype;
  TORCH_CHECK(dtype == torch::kFloat || dtype == torch::kBFloat16, "dtype is ", dtype,
              "; expected float or bfloat16");
  torch::NoGradGuard no_grad;
  EvaluationMode evaluation(*model);
  const auto config_json =
      hugging_face::write_config(model->config(), dtype == torch::kFloat ? "float32" : "bfloat16");
  const auto target = absolute_target(directory);
  require_hugging_face_target(target);
  CheckpointWriter writer(target.parent_path(), target.filename().string());
  const auto& temporary = writer.directory();
  const auto valid_vocab = write_hugging_face_vocabulary(temporary, vocabulary);
  TORCH_CHECK(valid_vocab <= model->config().vocab_size, "the tokenizer has ", valid_vocab,
              " ids, the model ", model->config().vocab_size);
  write_file_atomic(temporary / "config.json", config_json);
  write_file_atomic(temporary / "generation_config.json",
                    hugging_face::write_generation_config(model->config(), valid_vocab));
  const auto files = write_safetensors_shards(temporary, tensors_by_their_names(model, dtype),
                                              options.max_shard_bytes, {{"format", "pt"}});
  check_written(model, temporary, dtype, valid_vocab);
  writer.commit_without_manifest();
  return files;
}

}  // namespace altup
