#include "altup/checkpoint/safetensors_index.h"

#include <iomanip>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "altup/checkpoint/safetensors.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string shard_name(size_t index, size_t count) {
  std::ostringstream name;
  name << std::setfill('0') << "model-" << std::setw(5) << index + 1 << "-of-" << std::setw(5)
       << count << ".safetensors";
  return name.str();
}

std::vector<NamedTensors> fill_shards(const NamedTensors& tensors, uint64_t max_bytes) {
  std::vector<NamedTensors> shards(1);
  uint64_t bytes = 0;
  for (const auto& item : tensors) {
    if (!shards.back().empty() && bytes + item.second.nbytes() > max_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += item.second.nbytes();
    shards.back().push_back(item);
  }
  return shards;
}

/// {tensor: file}. A file is a plain name, so that an index reads nothing outside its directory.
std::map<std::string, std::string> read_weight_map(const fs::path& path) {
  const auto text = read_file(path);
  Json index;
  try {
    index = Json::parse(text);
  } catch (const Json::parse_error& error) {
    // nlohmann counts bytes from 1.
    throw UserError(path.string(), line_of(text, error.byte > 0 ? error.byte - 1 : 0),
                    "broken JSON; expected one object");
  }
  std::map<std::string, std::string> files;
  try {
    files = index.at("weight_map").get<std::map<std::string, std::string>>();
  } catch (const Json::exception&) {
    throw UserError(path.string(),
                    "has no \"weight_map\" of tensors to files; expected the index of a sharded "
                    "checkpoint");
  }
  for (const auto& [tensor, file] : files) {
    if (file.empty() || file == ".." || fs::path(file).filename() != file) {
      throw UserError(path.string(), str("puts \"", tensor, "\" into \"", file,
                                         "\"; expected the name of a file beside the index"));
    }
  }
  return files;
}

/// Every tensor of `shard` is one that the index puts there.
void check_shard(const fs::path& shard, const NamedTensors& tensors,
                 const std::map<std::string, std::string>& weight_map) {
  for (const auto& [name, tensor] : tensors) {
    const auto entry = weight_map.find(name);
    if (entry == weight_map.end()) {
      throw UserError(shard.string(),
                      str("holds \"", name, "\"; expected only tensors that ", kIndex, " names"));
    }
    if (entry->second != shard.filename()) {
      throw UserError(shard.string(), str("holds \"", name, "\"; expected it in ", entry->second,
                                          ", where ", kIndex, " puts it"));
    }
  }
}

NamedTensors read_shards(const fs::path& index) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> files;
  for (const auto& [name, file] : weight_map) files.insert(file);
  NamedTensors all;
  std::set<std::string> found;
  for (const auto& file : files) {
    const auto shard = index.parent_path() / file;
    if (!fs::exists(shard)) {
      throw UserError(shard.string(), str("is missing; expected it, since ", kIndex, " names it"));
    }
    const auto tensors = read_safetensors(shard);
    check_shard(shard, tensors, weight_map);
    for (const auto& item : tensors) {
      found.insert(item.first);
      all.push_back(item);
    }
  }
  for (const auto& [name, file] : weight_map) {
    if (!found.contains(name)) {
      throw UserError(index.string(), str("puts \"", name, "\" into ", file,
                                          ", which has no such tensor; expected the two to agree"));
    }
  }
  return all;
}

}  // namespace

int64_t write_safetensors_shards(const fs::path& directory, const NamedTensors& tensors,
                                 uint64_t max_bytes,
                                 const std::map<std::string, std::string>& metadata) {
  const auto shards = fill_shards(tensors, max_bytes);
  if (shards.size() == 1) {
    write_safetensors(directory / kWhole, tensors, metadata);
    return 1;
  }
  uint64_t total = 0;
  Json weight_map = Json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto file = shard_name(i, shards.size());
    write_safetensors(directory / file, shards[i], metadata);
    for (const auto& [name, tensor] : shards[i]) {
      weight_map[name] = file;
      total += tensor.nbytes();
    }
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_file_atomic(directory / kIndex, index.dump(2) + "\n");
  return static_cast<int64_t>(shards.size());
}

fs::path find_weights(const fs::path& directory) {
  for (const char* name : {kWhole, kIndex}) {
    if (fs::exists(directory / name)) return directory / name;
  }
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!fs::exists(directory / name)) continue;
    throw UserError(
        (directory / name).string(),
        str("pickled weights are not read, since reading a pickle runs what it holds; expected ",
            kWhole, " beside it, which this command writes: python -c \"d = '", directory.string(),
            "'; import transformers as t; t.AutoModelForSeq2SeqLM.from_pretrained(d)"
            ".save_pretrained(d)\""));
  }
  throw UserError((directory / kWhole).string(),
                  str("is missing; expected the weights of the model, there or in files that ",
                      kIndex, " names"));
}

NamedTensors read_weights(const fs::path& path) {
  return path.extension() == ".json" ? read_shards(path) : read_safetensors(path);
}

}  // namespace altup
