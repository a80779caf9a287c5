// Fine-tuning on one task or several at once: their examples as a mixture, and their evaluation
// with the value that picks the best checkpoint.
#pragma once

#include <memory>

#include "altup/data/pipeline.h"
#include "altup/data/tokenizer.h"
#include "trainers/run_config.h"
#include "trainers/training.h"

namespace altup {

/// Batches of the mixture: each task's share is that of its number of examples, which counts up to
/// task.mixing_cap (Raffel et al. 2020, section 3.5.2). Tasks that are there to be evaluated only
/// are left out, unless they are the only ones.
std::unique_ptr<BatchSource> open_task_mixture(const RunConfig& config, const Tokenizer& tokenizer);

/// Sets run.evaluate, run.best_split and run.best_metric for the tasks of run.config.task. The
/// answers of the last evaluation are kept in the run directory. `run` must outlive its evaluate.
/// UserError where task.best_metric is none that the tasks report.
void prepare_task_evaluation(TrainingRun& run);

}  // namespace altup
