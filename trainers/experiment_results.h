// What came out of an experiment: each variant's runs, and their statistics over the seeds. A standard
// deviation is that of a sample (n - 1); a difference is taken seed by seed, so that what the seeds
// share, order of the data and start of the weights, cancels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainers/experiment_plan.h"

namespace altup {

struct Evaluation {
  int64_t step = 0;
  double tokens = 0;    ///< of training so far, inputs and targets
  double loss = 0;      ///< nats per target token of the validation text; NaN where a run diverged
  double accuracy = 0;  ///< percent of its masked tokens
};

struct SeedRun {
  int64_t seed = 0;
  std::vector<Evaluation> evaluations = {};  ///< by rising step; none where it was not begun
  bool finished = false;                     ///< evaluated at the last step
  int64_t step = 0;                          ///< of the last line of its metrics
};

struct VariantResult {
  PlannedVariant plan;
  std::vector<SeedRun> runs;  ///< one a seed, in the plan's order
  std::optional<double> seconds_per_step;
};

struct ExperimentResults {
  ExperimentPlan plan;
  StepTimes times;
  std::vector<VariantResult> variants;  ///< in the plan's order

  const VariantResult& variant(const std::string& name) const;
};

/// Reads an experiment's directory. UserError with the path where a file is broken; runs that were not
/// begun are no error.
ExperimentResults read_experiment_results(const std::filesystem::path& directory);

/// Mean and sample standard deviation, which is NaN for fewer than two values.
struct Spread {
  double mean = 0;
  double deviation = 0;
  int64_t count = 0;
};
/// None of no values.
std::optional<Spread> spread_of(const std::vector<double>& values);

/// Time of a step over that of the plan's baseline: the median of the rounds' ratios, since what slowed
/// the machine in a round slowed both. None where either was not timed.
std::optional<double> step_time_ratio(const ExperimentResults& results,
                                      const VariantResult& variant);

/// Over the finished runs, at the last step.
std::optional<Spread> final_loss(const VariantResult& variant);
std::optional<Spread> final_accuracy(const VariantResult& variant);

/// Final losses minus the baseline's of the same seed, where both are finished.
struct PairedDifference {
  Spread spread;
  int64_t same_sign = 0;  ///< seeds whose difference has the sign of the mean
};
/// None of a variant that is its own baseline, or where no pair is finished.
std::optional<PairedDifference> final_difference(const ExperimentResults& results,
                                                 const VariantResult& variant);

/// A point of a curve over seeds: their mean, least and greatest.
struct CurvePoint {
  int64_t step = 0;
  double tokens = 0;
  double mean = 0;
  double low = 0;
  double high = 0;
};

/// The loss over the finished runs, or, where none is, over those that were begun; at the steps that all
/// of them have.
std::vector<CurvePoint> loss_curve(const VariantResult& variant);
/// The loss minus the baseline's, seed by seed, likewise.
std::vector<CurvePoint> difference_curve(const VariantResult& variant,
                                         const VariantResult& baseline);

}  // namespace altup
