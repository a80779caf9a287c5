#include "trainers/experiment_results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "altup/util/text.h"
#include "trainers/metrics.h"
#include "trainers/statistics.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

double value_of(const MetricRecord& record, const std::string& name) {
  const auto at = record.values.find(name);
  return at == record.values.end() ? std::numeric_limits<double>::quiet_NaN() : at->second;
}

SeedRun read_run(const fs::path& directory, int64_t seed, int64_t steps) {
  SeedRun run{.seed = seed, .evaluations = {}};
  const auto file = directory / "metrics.jsonl";
  if (!fs::is_regular_file(file)) return run;
  for (const auto& record : read_metrics(file)) {
    run.step = std::max(run.step, record.step);
    if (record.split != "validation") continue;
    run.evaluations.push_back({record.step, value_of(record, "tokens"), value_of(record, "loss"),
                               value_of(record, "accuracy")});
  }
  run.finished = !run.evaluations.empty() && run.evaluations.back().step == steps;
  return run;
}

/// The runs that a curve is drawn of.
std::vector<const SeedRun*> shown_runs(const VariantResult& variant) {
  std::vector<const SeedRun*> finished;
  std::vector<const SeedRun*> begun;
  for (const auto& run : variant.runs) {
    if (run.finished) finished.push_back(&run);
    if (!run.evaluations.empty()) begun.push_back(&run);
  }
  return finished.empty() ? begun : finished;
}

const Evaluation* evaluation_at(const SeedRun& run, int64_t step) {
  for (const auto& evaluation : run.evaluations) {
    if (evaluation.step == step) return &evaluation;
  }
  return nullptr;
}

CurvePoint point_of(int64_t step, double tokens, const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  // The order of a NaN is undefined; the sum tells of it.
  if (std::isnan(sum)) return {step, tokens, sum, sum, sum};
  return {step, tokens, sum / static_cast<double>(values.size()), *low, *high};
}

template <class Value>
std::optional<Spread> final_spread(const VariantResult& variant, Value&& value) {
  std::vector<double> values;
  for (const auto& run : variant.runs) {
    if (run.finished) values.push_back(value(run.evaluations.back()));
  }
  return spread_of(values);
}

}  // namespace

const VariantResult& ExperimentResults::variant(const std::string& name) const {
  for (const auto& found : variants) {
    if (found.plan.name == name) return found;
  }
  throw std::logic_error("no variant " + name);
}

ExperimentResults read_experiment_results(const fs::path& directory) {
  ExperimentResults results{
      .plan = read_plan(directory), .times = read_step_times(directory), .variants = {}};
  for (const auto& planned : results.plan.variants) {
    VariantResult variant{.plan = planned, .runs = {}, .seconds_per_step = {}};
    for (const auto seed : results.plan.seeds) {
      variant.runs.push_back(
          read_run(directory / planned.name / str("seed-", seed), seed, planned.steps));
    }
    if (const auto time = results.times.variants.find(planned.name);
        time != results.times.variants.end()) {
      variant.seconds_per_step = time->second.seconds;
    }
    results.variants.push_back(std::move(variant));
  }
  return results;
}

std::optional<double> step_time_ratio(const ExperimentResults& results,
                                      const VariantResult& variant) {
  const auto& variants = results.times.variants;
  const auto own = variants.find(variant.plan.name);
  const auto baseline = variants.find(results.plan.baseline);
  if (own == variants.end() || baseline == variants.end()) return {};
  const auto count = std::min(own->second.rounds.size(), baseline->second.rounds.size());
  std::vector<double> ratios;
  for (size_t i = 0; i < count; ++i) {
    ratios.push_back(own->second.rounds[i] / baseline->second.rounds[i]);
  }
  if (ratios.empty()) return {};
  return median(std::move(ratios));
}

std::optional<Spread> spread_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation =
      values.size() > 1 ? std::sqrt(squares / (n - 1)) : std::numeric_limits<double>::quiet_NaN();
  return Spread{mean, deviation, static_cast<int64_t>(values.size())};
}

std::optional<Spread> final_loss(const VariantResult& variant) {
  return final_spread(variant, [](const Evaluation& last) { return last.loss; });
}

std::optional<Spread> final_accuracy(const VariantResult& variant) {
  return final_spread(variant, [](const Evaluation& last) { return last.accuracy; });
}

std::optional<PairedDifference> final_difference(const ExperimentResults& results,
                                                 const VariantResult& variant) {
  if (variant.plan.baseline == variant.plan.name) return {};
  const auto& baseline = results.variant(variant.plan.baseline);
  std::vector<double> differences;
  for (size_t i = 0; i < variant.runs.size(); ++i) {
    if (!variant.runs[i].finished || !baseline.runs[i].finished) continue;
    differences.push_back(variant.runs[i].evaluations.back().loss -
                          baseline.runs[i].evaluations.back().loss);
  }
  const auto spread = spread_of(differences);
  if (!spread) return {};
  const auto same = std::count_if(differences.begin(), differences.end(), [&](double difference) {
    return difference * spread->mean > 0 || (difference == 0 && spread->mean == 0);
  });
  return PairedDifference{*spread, static_cast<int64_t>(same)};
}

std::vector<CurvePoint> loss_curve(const VariantResult& variant) {
  const auto runs = shown_runs(variant);
  std::vector<CurvePoint> curve;
  if (runs.empty()) return curve;
  for (const auto& first : runs.front()->evaluations) {
    std::vector<double> losses;
    for (const auto* run : runs) {
      if (const auto* at = evaluation_at(*run, first.step)) losses.push_back(at->loss);
    }
    if (losses.size() == runs.size()) {
      curve.push_back(point_of(first.step, first.tokens, losses));
    }
  }
  return curve;
}

std::vector<CurvePoint> difference_curve(const VariantResult& variant,
                                         const VariantResult& baseline) {
  std::vector<std::pair<const SeedRun*, const SeedRun*>> pairs;
  for (const auto* run : shown_runs(variant)) {
    for (const auto* other : shown_runs(baseline)) {
      if (run->seed == other->seed) pairs.emplace_back(run, other);
    }
  }
  std::vector<CurvePoint> curve;
  if (pairs.empty()) return curve;
  for (const auto& first : pairs.front().first->evaluations) {
    std::vector<double> differences;
    for (const auto& [run, other] : pairs) {
      const auto* a = evaluation_at(*run, first.step);
      const auto* b = evaluation_at(*other, first.step);
      if (a != nullptr && b != nullptr) differences.push_back(a->loss - b->loss);
    }
    if (differences.size() == pairs.size()) {
      curve.push_back(point_of(first.step, first.tokens, differences));
    }
  }
  return curve;
}

}  // namespace altup
