// Optimisers over named parameters. Parameters and moments are fp32 whatever the activations' type is.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "altup/optim/optimizer_config.h"
#include "altup/util/named_tensors.h"

namespace altup {

/// Updates parameters in place from their .grad(); a parameter without a gradient is left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update with this rate; the step count goes up by one.
  virtual void step(double learning_rate) = 0;
  /// Moments and the step count, by "<parameter>.<moment>" and "step".
  virtual NamedTensors state() const = 0;
  /// Strict: every tensor must be there with its shape. Throws UserError otherwise.
  virtual void load_state(const NamedTensors& state) = 0;
};

/// Weight decay and factoring leave alone the AltUp coefficients and everything with fewer than two dimensions.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, NamedTensors parameters);

}  // namespace altup
