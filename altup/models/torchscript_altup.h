// What AltUp and its relatives along the sequence add to the TorchScript of a dense model: the updates,
// and an encoder whose layers compute fewer positions. Placeholders as in torchscript_source.cpp.
#pragma once

#include <string>

#include "altup/models/t5_config.h"

namespace altup {

extern const char* const kAltUpUpdate;
extern const char* const kTokenAltUpUpdate;
extern const char* const kSequenceUpdate;
/// In place of the Encoder where config.shortens_layers().
extern const char* const kShortEncoder;

/// A line for each of its layers.
std::string short_encoder_layers(const T5Config& config);

}  // namespace altup
