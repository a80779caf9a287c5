// What a mixture of experts is, said slowly.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "altup/modules/mixture_of_experts.h"

namespace altup::testing {

struct SlowMixture {
  torch::Tensor output;  ///< [sequences, positions, d]
  torch::Tensor loss;
  int64_t dropped = 0;
};

/// `mixture` of x [sequences, positions, d], double, of which the first `lengths` of a sequence are
/// tokens; with `limited`, an expert takes no more than its capacity. Token by token: a list of the
/// tokens that each expert takes, then one expert for one token at a time.
SlowMixture slow_mixture(MixtureOfExperts& mixture, const MixtureConfig& config,
                         const torch::Tensor& x, const std::vector<int64_t>& lengths, bool limited);

}  // namespace altup::testing
