#pragma once

#include "altup/models/model_size.h"
#include "altup/models/t5_config.h"

namespace altup::testing {

/// T5 of a size, with blocks.
inline T5Config sized(ModelSize size, Variant variant = Variant::kNone, int64_t blocks = 2) {
  T5Config config;
  config.apply_size(size);
  config.altup.variant = variant;
  config.altup.blocks = blocks;
  return config;
}

}  // namespace altup::testing
