// The safetensors format: 8 bytes of header length, a JSON header {name: {dtype, shape,
// data_offsets}}, raw bytes. Written and read here without a library, bit for bit as Python's
// safetensors does for tensors in the same order.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "altup/util/named_tensors.h"

namespace altup {

/// Any strided tensors on any device, in the order given; dtypes F64, F32, F16, BF16, I64, I32,
/// I16, I8, U8, BOOL. (Python sorts by dtype, widest first, then by name; its readers take any
/// order.) The file replaces another of that name only when it is whole, so tensors that were read
/// from `path` may be written back to it.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Tensors in the file's order, on the CPU, mapped from the file (private pages: writing to them
/// does not change the file). UserError where the file is cut, overlaps or is no safetensors file.
NamedTensors read_safetensors(const std::filesystem::path& path,
                              std::map<std::string, std::string>* metadata = nullptr);

}  // namespace altup
