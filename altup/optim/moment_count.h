// How much an optimiser keeps, without making one: for predictions of memory.
#pragma once

#include <cstdint>

#include "altup/optim/optimizer_config.h"
#include "altup/util/named_tensors.h"

namespace altup {

/// Elements of the moments that make_optimizer's optimiser keeps of `parameters`, of which only names
/// and shapes are read.
int64_t count_moments(const OptimizerConfig& config, const NamedTensors& parameters);

}  // namespace altup
