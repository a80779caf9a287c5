// Tensors with the names they have in a checkpoint, in the order of registration.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace altup {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

}  // namespace altup
