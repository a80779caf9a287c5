// One update: forward and backward over the micro-batches of a global batch, clipping, the
// optimiser.
#pragma once

#include <map>
#include <string>

#include "altup/data/batch.h"
#include "altup/models/t5.h"
#include "altup/optim/optimizer.h"
#include "trainers/run_config.h"

namespace altup {

struct StepResult {
  /// Nats per target token, with z-loss, label smoothing and routing losses as trained on.
  double loss = 0.0;
  double correct = 0.0;        ///< span tokens predicted right, teacher-forced
  double span_tokens = 0.0;    ///< targets that are no sentinel and no eos
  double gradient_norm = 0.0;  ///< global, before clipping
  double learning_rate = 0.0;
  int64_t target_tokens = 0;
  int64_t tokens = 0;  ///< input and target, without padding
  /// With mixtures of experts: kRoutingStatistics by name, means over the mixtures.
  std::map<std::string, double> routing;
};

/// `step` counts from 1; targets from `pieces` on are sentinels, which do not count for accuracy.
/// The loss of every micro-batch is divided by the target tokens of the whole batch, so that
/// accumulation gives the gradients of one large batch. Throws std::runtime_error that names the
/// first bad parameter where the loss or the gradient is not finite.
StepResult train_step(T5& model, int64_t pieces, Optimizer& optimizer, const Batch& batch,
                      int64_t step, const RunConfig& config, Precision precision);

}  // namespace altup
