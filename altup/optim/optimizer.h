// Optimisers over named parameters. Parameters and moments are fp32 whatever the activations' type
// is.
#pragma once

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
  /// One update with this rate; the step count goes up by one. A gradient of another type (bf16) is
  /// read as the parameter's; gradients are never written.
  virtual void step(double learning_rate) = 0;
  /// The step count as "step" (int64, no dimensions), then the moments by "<parameter>.<moment>".
  /// The moments are the optimiser's own memory, not copies: write them out, or clone them, before
  /// the next step.
  virtual NamedTensors state() const = 0;
  /// Copies a state in. Strict: every tensor must be there with its shape and dtype, and no other.
  /// Throws UserError otherwise, and has then changed nothing.
  virtual void load_state(const NamedTensors& state) = 0;
};

/// Weight decay and factoring leave alone the AltUp coefficients and everything with fewer than two
/// dimensions. `parameters` are distinct tensors under distinct names: a tied weight is listed
/// once.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, NamedTensors parameters);

}  // namespace altup
