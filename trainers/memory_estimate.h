// How much memory a training step and decoding need, by arithmetic alone: the weights, the
// optimiser's moments, the peak along the operations of a step (trainers/step_operations.h), and the
// program itself. All sizes are bytes. What malloc loses between its blocks is not counted.
#pragma once

#include <string>
#include <vector>

#include "altup/models/t5_config.h"
#include "altup/optim/optimizer_config.h"
#include "trainers/step_shape.h"

namespace altup {

/// Resident memory of the program without a model, LibTorch's libraries and tables above all: the
/// 123 MiB that `altup bench step` took at its peak with one layer of width 8 (LibTorch 2.13 for
/// CPUs, x86-64); `benchmarks/check_prediction.py --program-only` measures it.
constexpr double kProgramBytes = 123.0 * 1024 * 1024;

struct MemoryPart {
  std::string name;
  double bytes = 0;
};

struct TrainingMemory {
  double weights = 0;    ///< fp32
  double optimizer = 0;  ///< moments, fp32
  double gradients = 0;  ///< of all weights, fp32
  /// Kept from the forward pass for the backward pass; and by the parts of step_operations().
  double activations = 0;
  std::vector<MemoryPart> activations_by_part;
  double peak = 0;          ///< with the program
  double temporaries = 0;   ///< of the peak, what is neither of the above nor the program
  std::string peak_during;  ///< "loss", or the part whose backward pass it is
};

TrainingMemory estimate_training_memory(const T5Config& model, const OptimizerConfig& optimizer,
                                        const StepShape& shape);

struct InferenceMemory {
  double weights = 0;
  double lowered_weights = 0;  ///< bf16 copies, which autocast keeps as long as it is on
  double caches = 0;           ///< keys and values of all decoder layers, at the last token
  double working = 0;          ///< the most that encoding or a token holds beside
  double peak = 0;             ///< with the program
};

/// Greedy decoding of `shape.batch` inputs of input_length to target_length tokens.
InferenceMemory estimate_inference_memory(const T5Config& model, const StepShape& shape);

/// The largest micro-batch that divides `batch` and whose step needs at most `bytes`; 0 where not
/// even one example fits. `shape` says the rest.
int64_t largest_micro_batch(const T5Config& model, const OptimizerConfig& optimizer,
                            StepShape shape, int64_t batch, double bytes);

}  // namespace altup
