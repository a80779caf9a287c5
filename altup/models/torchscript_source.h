// Source text, in TorchScript, of the classes that an exported model is made of: what each module's
// forward does, without dropout, and greedy generation with a cache.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "altup/models/t5_config.h"

namespace altup {

/// Source of each class by name: "T5", "Encoder", "EncoderLayer", … Sizes, and a line for each
/// layer of a stack, are written out. `fused`: of the operators of altup_ops where there is one.
std::map<std::string, std::string> torchscript_sources(const T5Config& config, int64_t valid_vocab,
                                                       bool fused);

}  // namespace altup
