// Weights in several files, as Hugging Face writes them: model-00001-of-00003.safetensors … and
// model.safetensors.index.json, whose "weight_map" says which tensor lies in which file. Weights
// that fit one file are model.safetensors, without an index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "altup/util/named_tensors.h"

namespace altup {

/// Writes into `directory`, which holds no such files yet. A file takes tensors, in the order given,
/// up to `max_bytes` of data; one that is larger has a file to itself. Returns the count of files.
int64_t write_safetensors_shards(const std::filesystem::path& directory,
                                 const NamedTensors& tensors, uint64_t max_bytes,
                                 const std::map<std::string, std::string>& metadata = {});

/// What holds the weights in `directory`: model.safetensors, or else the index. UserError where there
/// is neither, with a word of its own where there are pickled weights instead.
std::filesystem::path find_weights(const std::filesystem::path& directory);

/// The tensors of a safetensors file, or of all files that an index names, which lie beside it.
/// Index and files must agree tensor by tensor: UserError where a file is missing, where a tensor is
/// not in the file that the index names, and where a file holds one that the index does not know.
NamedTensors read_weights(const std::filesystem::path& path);

}  // namespace altup
