// The page itself: a table that compares the runs, figures, task metrics, and the settings in which
// the runs differ.
#include "trainers/report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "altup/util/error.h"
#include "altup/util/text.h"
#include "trainers/report_page.h"
#include "trainers/statistics.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

constexpr std::string_view kMissing = "–";

/// One value of a record, or NaN.
double value_of(const MetricRecord& record, const std::string& name) {
  const auto at = record.values.find(name);
  return at == record.values.end() ? std::numeric_limits<double>::quiet_NaN() : at->second;
}

struct Sample {
  int64_t step = 0;
  double value = 0;
};

/// The finite values of `name` in `split`, in order.
std::vector<Sample> samples(const RunSummary& run, const std::string& split,
                            const std::string& name) {
  std::vector<Sample> found;
  for (const auto& record : run.records) {
    const double value = value_of(record, name);
    if (record.split == split && std::isfinite(value)) found.push_back({record.step, value});
  }
  return found;
}

std::optional<double> largest(const RunSummary& run, const std::string& name) {
  std::optional<double> found;
  for (const auto& record : run.records) {
    const double value = value_of(record, name);
    if (std::isfinite(value)) found = std::max(found.value_or(value), value);
  }
  return found;
}

std::optional<double> median_of(const std::vector<Sample>& samples) {
  if (samples.empty()) return std::nullopt;
  std::vector<double> values;
  for (const auto& sample : samples) values.push_back(sample.value);
  return median(std::move(values));
}

// --- the table of runs
// ------------------------------------------------------------------------------------------

/// A column: its title, how a run's cell is computed, how it is written, and which end is best (0:
/// neither).
struct Column {
  std::string title;
  std::function<std::optional<double>(const RunSummary&)> value;
  std::function<std::string(double)> format;
  int best = 0;
};

std::string count(double value) {
  return thousands(std::llround(value));
}
std::string loss(double value) {
  return fixed(value, 4);
}
std::string percent(double value) {
  return fixed(value, 2);
}
std::string hours(double seconds) {
  return duration(seconds);
}

std::optional<double> last_value(const std::vector<Sample>& values) {
  return values.empty() ? std::nullopt : std::optional(values.back().value);
}

std::optional<double> extreme(const std::vector<Sample>& values, int sign) {
  std::optional<double> found;
  for (const auto& sample : values) {
    if (!found || sign * sample.value > sign * *found) found = sample.value;
  }
  return found;
}

std::vector<Column> run_columns() {
  const auto of = [](const std::string& name) {
    return [name](const RunSummary& run) { return largest(run, name); };
  };
  const auto final_of = [](const std::string& name) {
    return [name](const RunSummary& run) { return last_value(samples(run, "validation", name)); };
  };
  const auto best_of = [](const std::string& name, int sign) {
    return [=](const RunSummary& run) { return extreme(samples(run, "validation", name), sign); };
  };
  const auto steps = [](const RunSummary& run) {
    int64_t step = 0;
    for (const auto& record : run.records) step = std::max(step, record.step);
    return std::optional(static_cast<double>(step));
  };
  const auto speed = [](const RunSummary& run) {
    return median_of(samples(run, "train", "tokens_per_second"));
  };
  const auto parameters = [](const RunSummary& run) {
    return run.parameters ? std::optional(static_cast<double>(*run.parameters)) : std::nullopt;
  };
  return {{"parameters", parameters, count},
          {"steps", steps, count},
          {"tokens", of("tokens"), count},
          {"training time<br/>h:mm:ss", of("seconds"), hours},
          {"final validation<br/>loss, nats/token", final_of("loss"), loss, -1},
          {"best validation<br/>loss, nats/token", best_of("loss", -1), loss, -1},
          {"final span<br/>accuracy, %", final_of("accuracy"), percent, 1},
          {"best span<br/>accuracy, %", best_of("accuracy", 1), percent, 1},
          {"speed, tokens/s<br/>(median)", speed, count, 1},
          {"peak memory,<br/>MiB", of("peak_memory_mib"), count, -1}};
}

std::string model_name(const RunSummary& run) {
  if (!run.config) return std::string(kMissing);
  const auto& model = run.config->model;
  const auto experts = model.moe.experts > 0
                           ? str(", ", model.moe.experts, " experts, ", enum_name(model.moe.router))
                           : std::string();
  if (model.altup.variant == Variant::kNone)
    return str(enum_name(model.size), experts.empty() ? ", dense" : "", experts);
  return str(enum_name(model.size), ", ", enum_name(model.altup.variant),
             model.shortens_layers() ? str(", stride ", model.altup.stride)
                                     : str(", K = ", model.altup.blocks),
             model.num_blocks() > 1 && model.altup.coefficients == Coefficients::kToken
                 ? ", coefficients of the token"
                 : "",
             experts);
}

std::string comparison(const std::vector<RunSummary>& runs) {
  auto columns = run_columns();
  const auto nobody_has = [&](const Column& column) {
    return std::none_of(runs.begin(), runs.end(),
                        [&](const RunSummary& run) { return column.value(run).has_value(); });
  };
  columns.erase(std::remove_if(columns.begin(), columns.end(), nobody_has), columns.end());
  std::string head = "<tr><th>run</th><th class=\"text\">model</th>";
  std::vector<std::optional<double>> best;
  for (const auto& column : columns) {
    head += "<th>" + column.title + "</th>";
    std::vector<Sample> values;
    for (const auto& run : runs) {
      if (const auto value = column.value(run)) values.push_back({0, *value});
    }
    const bool differ = extreme(values, 1) != extreme(values, -1);
    best.push_back(column.best != 0 && differ ? extreme(values, column.best) : std::nullopt);
  }
  std::string body;
  for (size_t r = 0; r < runs.size(); ++r) {
    body += str("<tr><td>", svg_swatch(static_cast<int64_t>(r)), escape_html(runs[r].name),
                "</td><td class=\"text\">", escape_html(model_name(runs[r])), "</td>");
    for (size_t c = 0; c < columns.size(); ++c) {
      const auto value = columns[c].value(runs[r]);
      const auto text = value ? columns[c].format(*value) : std::string(kMissing);
      body += value && value == best[c] ? "<td><b>" + text + "</b></td>" : "<td>" + text + "</td>";
    }
    body += "</tr>\n";
  }
  return str("<h2>Runs</h2>\n<div class=\"scroll\"><table>\n<thead>", head,
             "</tr></thead>\n<tbody>", body,
             "</tbody></table></div>\n<p class=\"note\">Bold: the best of a column. Training ",
             "time leaves evaluation and saving out.</p>\n");
}

// --- figures
// ----------------------------------------------------------------------------------------------------

enum class Across { kSteps, kTokens, kTime };

struct Figure {
  std::string title;
  std::string caption;
  std::string split;
  std::string name;
  std::string unit;  ///< of the y axis
  bool skip_start = false;
};

std::vector<Series> curves(const std::vector<RunSummary>& runs, const Figure& figure,
                           Across across) {
  std::vector<Series> all;
  for (size_t r = 0; r < runs.size(); ++r) {
    Series series{runs[r].name, static_cast<int64_t>(r), {}};
    for (const auto& record : runs[r].records) {
      if (record.split != figure.split || !record.values.contains(figure.name)) continue;
      const double x = across == Across::kSteps    ? static_cast<double>(record.step)
                       : across == Across::kTokens ? value_of(record, "tokens")
                                                   : value_of(record, "seconds");
      if (std::isfinite(x)) series.points.emplace_back(x, value_of(record, figure.name));
    }
    if (!series.points.empty()) all.push_back(std::move(series));
  }
  return all;
}

std::string panel(const std::vector<RunSummary>& runs, const Figure& figure, Across across) {
  Chart chart;
  chart.series = curves(runs, figure, across);
  if (chart.series.empty()) return "";
  double furthest = 0;
  double highest = 0;
  for (const auto& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      furthest = std::max(furthest, x);
      if (std::isfinite(y)) highest = std::max(highest, y);
    }
  }
  chart.x = across == Across::kSteps    ? count_axis("training step", furthest)
            : across == Across::kTokens ? count_axis("training tokens", furthest)
                                        : time_axis("training time", furthest);
  chart.y =
      figure.name == "tokens_per_second" ? count_axis(figure.unit, highest) : Axis{figure.unit, 1};
  chart.skip_start = figure.skip_start;
  return "<div>" + svg_chart(chart) + "</div>\n";
}

std::string legend(const std::vector<Series>& drawn) {
  std::string out = "<div class=\"legend\">";
  for (const auto& series : drawn) {
    out += str("<span>", svg_swatch(series.style), escape_html(series.name), "</span>");
  }
  return out + "</div>\n";
}

bool has_line(const Series& series) {
  return std::count_if(series.points.begin(), series.points.end(),
                       [](const auto& point) { return std::isfinite(point.second); }) > 1;
}

/// Nothing where no run has two points to draw a line between.
std::string draw(const std::vector<RunSummary>& runs, const Figure& figure) {
  const auto drawn = curves(runs, figure, Across::kSteps);
  if (std::none_of(drawn.begin(), drawn.end(), has_line)) return "";
  std::string panels;
  for (const auto across : {Across::kSteps, Across::kTokens, Across::kTime}) {
    panels += panel(runs, figure, across);
  }
  return str("<figure>\n<figcaption><b>", escape_html(figure.title), ".</b>",
             escape_html(figure.caption), "</figcaption>\n", legend(drawn),
             "<div class=\"panels\">\n", panels, "</div>\n</figure>\n");
}

std::vector<Figure> figures(const std::vector<RunSummary>& runs) {
  std::vector<Figure> all = {
      {"Validation loss", "Cross-entropy on held-out text. The axis leaves out the steep start.",
       "validation", "loss", "loss (nats per target token)", true},
      {"Span accuracy", "Masked tokens of held-out text predicted right, teacher-forced.",
       "validation", "accuracy", "accuracy (%)"},
      {"Training loss", "Means between two lines of the log. The axis leaves out the steep start.",
       "train", "loss", "loss (nats per target token)", true},
      {"Speed", "Encoder and decoder tokens a second of training time.", "train",
       "tokens_per_second", "tokens per second"}};
  const std::set<std::string> positions = {"tokens", "seconds"};
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& run : runs) {
    for (const auto& record : run.records) {
      if (record.split == "train" || record.split == "validation") continue;
      for (const auto& [name, value] : record.values) {
        if (!positions.contains(name) && seen.emplace(record.split, name).second) {
          const bool is_loss = name == "loss";
          all.push_back({str(record.split, ": ", name), "On the validation split, during training.",
                         record.split, name,
                         is_loss ? "loss (nats per target token)" : name + " (%)"});
        }
      }
    }
  }
  return all;
}

// --- tasks and settings
// -----------------------------------------------------------------------------------------

std::string task_metrics(const std::vector<RunSummary>& runs) {
  std::string body;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (const auto& result : runs[r].results) {
      for (const auto& [name, value] : result.metrics) {
        body += str("<tr><td>", svg_swatch(static_cast<int64_t>(r)), escape_html(runs[r].name),
                    "</td><td class=\"text\">", escape_html(result.task),
                    "</td><td class=\"text\">", escape_html(name), "</td><td>",
                    std::isfinite(value) ? percent(value) : std::string(kMissing), "</td><td>",
                    result.examples > 0 ? thousands(result.examples) : std::string(kMissing),
                    "</td></tr>\n");
      }
    }
  }
  if (body.empty()) return "";
  return str(
      "<h2>Task metrics</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>run</th>",
      "<th class=\"text\">task</th><th class=\"text\">metric</th><th>%</th><th>examples</th>",
      "</tr></thead>\n<tbody>", body, "</tbody></table></div>\n<p class=\"note\">Of `altup ",
      "evaluate` where its results are in the run, else of the last evaluation in training.</p>\n");
}

std::string settings(const std::vector<RunSummary>& runs) {
  std::vector<std::map<std::string, std::string>> values;
  std::string head;
  for (const auto& run : runs) {
    if (!run.config) continue;
    values.push_back(resolved_values(*run.config));
    head += "<th class=\"text\">" + escape_html(run.name) + "</th>";
  }
  if (values.size() < 2) return "";
  std::string body;
  for (const auto& key : known_keys()) {
    const auto differs = [&](const auto& run) { return run.at(key) != values.front().at(key); };
    if (std::none_of(values.begin(), values.end(), differs)) continue;
    body += "<tr><td>" + escape_html(key) + "</td>";
    for (const auto& run : values) {
      body += "<td class=\"text\">" + escape_html(run.at(key)) + "</td>";
    }
    body += "</tr>\n";
  }
  if (body.empty()) return "";
  return str(
      "<h2>Settings in which the runs differ</h2>\n<div class=\"scroll\"><table>\n<thead><tr>",
      "<th>key</th>", head, "</tr></thead>\n<tbody>", body, "</tbody></table></div>\n");
}

}  // namespace

std::string html_report(const std::vector<RunSummary>& runs) {
  if (runs.empty()) throw UserError("no runs to report; expected run directories");
  std::vector<std::string> names;
  for (const auto& run : runs) names.push_back(run.name);
  std::string out = comparison(runs);
  out += task_metrics(runs);
  std::string drawn;
  for (const auto& figure : figures(runs)) drawn += draw(runs, figure);
  if (!drawn.empty()) out += "<h2>Curves</h2>\n" + drawn;
  out += settings(runs);
  return html_page("AltUp: " + join(names, ", "), "AltUp training report", out);
}

}  // namespace altup
