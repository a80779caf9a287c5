// How long a training step takes, by arithmetic: its products and its attention over their rates,
// what else it moves over the memory's bandwidth, its exponentials over their rate. The rates are
// given, for hardware that is not here, or measured on this machine in a few seconds: every product
// and every kind of attention of the step alone, on its own shape, a sum of two long tensors, and
// exponentials. No layer is run.
#pragma once

#include "trainers/step_work.h"

namespace altup {

/// Seconds of a step.
struct StepTime {
  double linears = 0;       ///< projections, feed-forward, head
  double attention = 0;     ///< with its softmax
  double traffic = 0;       ///< what else is read and written
  double exponentials = 0;  ///< of all else
  double total() const { return linears + attention + traffic + exponentials; }
};

struct MachineRates {
  double linear_flops = 0;  ///< a second, likewise the others
  double attention_flops = 0;
  double bytes = 0;         ///< 0: not known, traffic is left out
  double exponentials = 0;  ///< 0: likewise
};

StepTime predict_step(const StepWork& work, const MachineRates& rates);

/// Measures the rates that `work` runs at, on as many threads as LibTorch is set to; those of
/// products are means over the step's. Products of many rows are timed with fewer, at the same rate,
/// attention with fewer examples.
MachineRates measure_rates(const StepWork& work);

}  // namespace altup
