// The curves of an experiment's report.
#include <algorithm>
#include <cctype>
#include <functional>

#include "altup/util/text.h"
#include "trainers/experiment_report.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

constexpr std::string_view kLoss = "validation loss (nats per target token)";

struct Member {
  const VariantResult* variant;
  int64_t style;
  bool is_baseline;  // of this group, whatever it is compared with elsewhere
};

/// The variants of a group, behind those that they are compared with, which are drawn in dark grey.
std::vector<Member> members_of(const ExperimentResults& results, const std::string& group) {
  std::vector<const VariantResult*> baselines;
  std::vector<const VariantResult*> others;
  const auto add = [](std::vector<const VariantResult*>& to, const VariantResult* variant) {
    if (std::find(to.begin(), to.end(), variant) == to.end()) to.push_back(variant);
  };
  for (const auto& variant : results.variants) {
    if (variant.plan.group == group) add(baselines, &results.variant(variant.plan.baseline));
  }
  for (const auto& variant : results.variants) {
    const bool is_baseline =
        std::find(baselines.begin(), baselines.end(), &variant) != baselines.end();
    if (variant.plan.group == group && !is_baseline) add(others, &variant);
  }
  std::vector<Member> members;
  constexpr int64_t kStyles = kBaselineStyle + 1;  // of one kind of dashes
  for (const auto* baseline : baselines) {
    members.push_back({baseline, kBaselineStyle + kStyles * static_cast<int64_t>(members.size()),
                       /*is_baseline=*/true});
  }
  int64_t style = 0;
  for (const auto* other : others) {
    members.push_back({other, style, /*is_baseline=*/false});
    ++style;
    if (style % kStyles == kBaselineStyle) ++style;
  }
  return members;
}

/// Where a point lies on the x axis.
using Position = std::function<double(const CurvePoint&)>;

Series series_of(const Member& member, const std::vector<CurvePoint>& curve,
                 const Position& position) {
  Series series{.name = member.variant->plan.label, .style = member.style};
  for (const auto& point : curve) {
    series.points.emplace_back(position(point), point.mean);
    series.band.emplace_back(point.low, point.high);
  }
  return series;
}

double furthest(const std::vector<Series>& all) {
  double x = 0;
  for (const auto& series : all) {
    for (const auto& point : series.points) x = std::max(x, point.first);
  }
  return x;
}

double by_tokens(const CurvePoint& point) {
  return point.tokens;
}

ExperimentFigure draw(std::string name, std::string title, std::string caption,
                      std::vector<Series> series, Axis x, std::string_view y) {
  const Chart chart{.x = std::move(x),
                    .y = {std::string(y), 1},
                    .series = std::move(series),
                    .skip_start = true,
                    .label_curves = true};
  return {std::move(name), std::move(title), std::move(caption), svg_chart(chart)};
}

}  // namespace

std::vector<ExperimentFigure> experiment_figures(const ExperimentResults& results) {
  std::vector<std::string> groups;
  for (const auto& variant : results.variants) {
    if (std::find(groups.begin(), groups.end(), variant.plan.group) == groups.end()) {
      groups.push_back(variant.plan.group);
    }
  }
  std::vector<ExperimentFigure> figures;
  for (const auto& group : groups) {
    std::string prefix = group.empty() ? "" : group + "_";
    std::replace_if(
        prefix.begin(), prefix.end(),
        [](unsigned char c) { return c < 0x80 && std::isalnum(c) == 0 && c != '_' && c != '-'; },
        '_');
    const std::string of_group = group.empty() ? "" : ", " + group;
    std::vector<Series> tokens;
    std::vector<Series> time;
    std::vector<Series> difference;
    bool compares = false;  // of baselines alone it would be a line at zero
    for (const auto& member : members_of(results, group)) {
      const auto& variant = *member.variant;
      const auto curve = loss_curve(variant);
      if (curve.empty()) continue;
      tokens.push_back(series_of(member, curve, by_tokens));
      if (variant.seconds_per_step) {
        time.push_back(series_of(member, curve, [&](const CurvePoint& point) {
          return static_cast<double>(point.step) * *variant.seconds_per_step;
        }));
      }
      const auto& baseline = member.is_baseline ? variant : results.variant(variant.plan.baseline);
      const auto paired = difference_curve(variant, baseline);
      if (paired.empty()) continue;
      difference.push_back(series_of(member, paired, by_tokens));
      compares = compares || !member.is_baseline;
    }
    const std::string band =
        "Line: mean over the seeds; band: from the least to the greatest of them. The axes' steep "
        "start is left out.";
    if (!tokens.empty()) {
      const auto axis = count_axis("training tokens", furthest(tokens));
      figures.push_back(draw(prefix + "tokens", "Validation loss by tokens" + of_group, band,
                             std::move(tokens), axis, kLoss));
    }
    if (time.size() > 1) {
      const auto axis = time_axis("training time", furthest(time));
      figures.push_back(draw(prefix + "time", "Validation loss by time" + of_group,
                             "Time: steps times the time of a step, measured apart. " + band,
                             std::move(time), axis, kLoss));
    }
    if (compares) {
      const auto axis = count_axis("training tokens", furthest(difference));
      figures.push_back(draw(prefix + "difference", "Difference to the baseline" + of_group,
                             "Validation loss minus the baseline's of the same seed; below zero is "
                             "better. " +
                                 band,
                             std::move(difference), axis,
                             "difference in loss (nats per target token)"));
    }
  }
  return figures;
}

}  // namespace altup
