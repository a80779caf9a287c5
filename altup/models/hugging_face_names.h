// Which tensor of a Hugging Face T5 is which of ours. What transformers has no name for (the
// coefficients of AltUp) keeps our name. The table: docs/checkpoints.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "altup/models/t5_config.h"

namespace altup::hugging_face {

inline constexpr const char* kEmbedding = "shared.weight";
inline constexpr const char* kHead = "lm_head.weight";

/// (theirs, ours) of all that a dense T5 of this config has, but for the head.
std::vector<std::pair<std::string, std::string>> name_pairs(const T5Config& config);

/// Whether a tensor has our name in their files too.
bool is_our_name(const std::string& name);

}  // namespace altup::hugging_face
