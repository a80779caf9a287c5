#include "trainers/experiment_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "altup/util/files.h"
#include "altup/util/text.h"
#include "trainers/report_page.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kMissing = "–";

std::string with_deviation(const std::optional<Spread>& spread, int digits) {
  if (!spread) return std::string(kMissing);
  if (!std::isfinite(spread->mean)) return "diverged";
  const auto mean = fixed(spread->mean, digits);
  return std::isnan(spread->deviation) ? mean : mean + " ± " + fixed(spread->deviation, digits);
}

/// With a sign in front, and a minus as wide as a plus.
std::string signed_difference(const Spread& spread) {
  if (!std::isfinite(spread.mean)) return "diverged";
  auto size = spread;
  size.mean = std::abs(size.mean);
  return (spread.mean < 0 ? "−" : "+") + with_deviation(size, 4);
}

// --- the table
// ------------------------------------------------------------------------------------------------

struct Column {
  std::string title;
  std::function<std::string(const VariantResult&)> cell;
};

std::vector<Column> columns_of(const ExperimentResults& results) {
  const auto& baseline = results.variant(results.plan.baseline);
  std::vector<Column> columns = {
      {"embedding parameters",
       [](const auto& v) { return thousands(v.plan.embedding_parameters); }},
      {"other parameters",
       [](const auto& v) { return thousands(v.plan.parameters - v.plan.embedding_parameters); }},
      {"FLOPs per token, millions",
       [](const auto& v) { return fixed(v.plan.flops_per_token / 1e6, 1); }},
      {"steps", [](const auto& v) { return thousands(v.plan.steps); }},
      {"step time, ms",
       [](const auto& v) {
         return v.seconds_per_step ? fixed(1e3 * *v.seconds_per_step, 1) : std::string(kMissing);
       }},
      {"step time over " + baseline.plan.label,
       [&results](const auto& v) {
         const auto ratio = step_time_ratio(results, v);
         return ratio ? fixed(*ratio, 2) : std::string(kMissing);
       }},
      {"seeds",
       [](const auto& v) {
         const auto finished = std::count_if(v.runs.begin(), v.runs.end(),
                                             [](const SeedRun& run) { return run.finished; });
         return std::to_string(finished);
       }},
      {"validation loss, nats/token",
       [](const auto& v) { return with_deviation(final_loss(v), 4); }},
      {"span accuracy, %", [](const auto& v) { return with_deviation(final_accuracy(v), 2); }},
      {"loss minus the baseline's, paired",
       [&results](const auto& v) {
         const auto difference = final_difference(results, v);
         if (!difference) return std::string(kMissing);
         const bool own = v.plan.baseline != results.plan.baseline;
         return signed_difference(difference->spread) +
                (own ? " (" + results.variant(v.plan.baseline).plan.label + ")" : "");
       }},
      {"seeds of that sign", [&results](const auto& v) {
         const auto difference = final_difference(results, v);
         if (!difference) return std::string(kMissing);
         return str(difference->same_sign, " of ", difference->spread.count);
       }}};
  const auto nobody_has = [&](const Column& column) {
    return std::all_of(results.variants.begin(), results.variants.end(),
                       [&](const auto& variant) { return column.cell(variant) == kMissing; });
  };
  columns.erase(std::remove_if(columns.begin(), columns.end(), nobody_has), columns.end());
  return columns;
}

std::string table_html(const ExperimentResults& results) {
  const auto columns = columns_of(results);
  std::string head = "<th>variant</th>";
  for (const auto& column : columns) head += "<th>" + escape_html(column.title) + "</th>";
  std::string body;
  for (const auto& variant : results.variants) {
    body += "<tr><td>" + escape_html(variant.plan.label) + "</td>";
    for (const auto& column : columns) {
      body += "<td>" + escape_html(column.cell(variant)) + "</td>";
    }
    body += "</tr>\n";
  }
  return str("<div class=\"scroll\"><table class=\"wrap\">\n<thead><tr>", head,
             "</tr></thead>\n<tbody>", body, "</tbody></table></div>\n");
}

std::string cell_of(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string table_markdown(const ExperimentResults& results) {
  const auto columns = columns_of(results);
  std::string out = "| variant |";
  std::string rule = "|---|";
  for (const auto& column : columns) {
    out += str(" ", cell_of(column.title), " |");
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const auto& variant : results.variants) {
    out += str("| ", cell_of(variant.plan.label), " |");
    for (const auto& column : columns) out += str(" ", cell_of(column.cell(variant)), " |");
    out += "\n";
  }
  return out;
}

// --- what is said around it
// ------------------------------------------------------------------------------------------------

std::string heading(const ExperimentResults& results) {
  return str(results.plan.name, ": ", results.variants.size(), " variants, ",
             results.plan.seeds.size(), " seeds");
}

std::string explanation(const ExperimentResults& results) {
  std::string out =
      "Mean ± sample standard deviation over the finished seeds, at the last step. Loss: "
      "teacher-forced cross-entropy per target token of the validation text; accuracy: of its "
      "masked tokens. Differences are taken seed by seed: runs of one seed see the same batches "
      "and "
      "start with the same weights wherever they have the same ones. FLOPs: matrix products, "
      "forward "
      "and backward, over input and target tokens.";
  if (!results.times.variants.empty()) {
    out +=
        str(" Step time: `altup bench step` of all variants in turn, median over rounds of ",
            results.times.steps, " steps, and of the rounds' ratios; ", results.times.threads,
            results.times.threads == 1 ? " thread, " : " threads, ", results.times.precision, ".");
  } else {
    out += " Step times are not measured yet: `altup experiment --bench`.";
  }
  return out;
}

/// One line a variant that is not finished; none where all are.
std::vector<std::string> missing(const ExperimentResults& results) {
  std::vector<std::string> lines;
  for (const auto& variant : results.variants) {
    std::vector<std::string> seeds;
    for (const auto& run : variant.runs) {
      if (run.finished) continue;
      seeds.push_back(run.step > 0 ? str("seed ", run.seed, " at step ", thousands(run.step),
                                         " of ", thousands(variant.plan.steps))
                                   : str("seed ", run.seed, " not begun"));
    }
    if (!seeds.empty()) lines.push_back(variant.plan.label + ": " + join(seeds, "; "));
  }
  return lines;
}

/// What made the runs, the step times and the report.
std::string commands(const ExperimentResults& results) {
  const auto& run = results.plan.command;
  std::string out = run + "\n";
  if (!results.times.variants.empty()) out += run + " --bench\n";
  return out;
}

// --- JSON
// ------------------------------------------------------------------------------------------------

Json to_json(const std::optional<Spread>& spread) {
  if (!spread) return nullptr;
  return {
      {"mean", spread->mean}, {"standard_deviation", spread->deviation}, {"seeds", spread->count}};
}

Json to_json(const std::vector<CurvePoint>& curve) {
  Json points = Json::array();
  for (const auto& point : curve) {
    points.push_back({{"step", point.step},
                      {"tokens", point.tokens},
                      {"mean", point.mean},
                      {"least", point.low},
                      {"greatest", point.high}});
  }
  return points;
}

Json to_json(const VariantResult& variant, const ExperimentResults& results) {
  Json runs = Json::array();
  for (const auto& run : variant.runs) {
    Json entry = {{"seed", run.seed}, {"finished", run.finished}, {"step", run.step}};
    if (run.finished) {
      entry["loss"] = run.evaluations.back().loss;
      entry["accuracy"] = run.evaluations.back().accuracy;
    }
    runs.push_back(entry);
  }
  const auto paired = final_difference(results, variant);
  Json difference = paired ? to_json(std::optional(paired->spread)) : Json(nullptr);
  if (paired) difference["same_sign"] = paired->same_sign;
  const auto& plan = variant.plan;
  const auto ratio = step_time_ratio(results, variant);
  return {{"name", plan.name},
          {"label", plan.label},
          {"group", plan.group},
          {"baseline", plan.baseline},
          {"steps", plan.steps},
          {"parameters",
           {{"embedding", plan.embedding_parameters},
            {"other", plan.parameters - plan.embedding_parameters}}},
          {"flops_per_token", plan.flops_per_token},
          {"seconds_per_step",
           variant.seconds_per_step ? Json(*variant.seconds_per_step) : Json(nullptr)},
          {"step_time_ratio", ratio ? Json(*ratio) : Json(nullptr)},
          {"loss", to_json(final_loss(variant))},
          {"accuracy", to_json(final_accuracy(variant))},
          {"difference", difference},
          {"runs", runs},
          {"loss_curve", to_json(loss_curve(variant))},
          {"difference_curve", to_json(difference_curve(variant, results.variant(plan.baseline)))}};
}

/// A figure as a file of its own: of a size, and on white.
std::string standalone(std::string svg) {
  svg.insert(svg.find('>') + 1, "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
  svg.insert(svg.find("viewBox"), "width=\"720\" ");
  return svg;
}

}  // namespace

std::string experiment_html(const ExperimentResults& results) {
  std::string out = table_html(results);
  out += "<p class=\"note\">" + escape_html(explanation(results)) + "</p>\n";
  if (const auto lines = missing(results); !lines.empty()) {
    out += "<h2>Not finished</h2>\n<ul>\n";
    for (const auto& line : lines) out += "<li>" + escape_html(line) + "</li>\n";
    out += "</ul>\n";
  }
  for (const auto& figure : experiment_figures(results)) {
    out += str("<figure class=\"wide\">\n<figcaption><b>", escape_html(figure.title), ".</b>",
               escape_html(figure.caption), "</figcaption>\n", figure.svg, "</figure>\n");
  }
  out += "<h2>Commands</h2>\n<pre>" + escape_html(commands(results)) + "</pre>\n";
  return html_page("AltUp: " + results.plan.name, heading(results), out);
}

std::string experiment_markdown(const ExperimentResults& results, const std::string& stem) {
  std::string out = "# " + heading(results) + "\n\n" + table_markdown(results) + "\n" +
                    explanation(results) + "\n";
  if (const auto lines = missing(results); !lines.empty()) {
    out += "\n## Not finished\n\n";
    for (const auto& line : lines) out += "- " + line + "\n";
  }
  for (const auto& figure : experiment_figures(results)) {
    out += str("\n![", figure.title, "](", stem, "_", figure.name, ".svg)\n\n", figure.title, ". ",
               figure.caption, "\n");
  }
  return out + "\n## Commands\n\n```bash\n" + commands(results) + "```\n";
}

std::string experiment_json(const ExperimentResults& results) {
  Json variants = Json::array();
  for (const auto& variant : results.variants) variants.push_back(to_json(variant, results));
  const Json json = {{"experiment", results.plan.name},   {"command", results.plan.command},
                     {"baseline", results.plan.baseline}, {"seeds", results.plan.seeds},
                     {"missing", missing(results)},       {"variants", variants}};
  return json.dump(2) + "\n";
}

std::vector<fs::path> write_experiment_report(const fs::path& directory, const fs::path& output) {
  const auto results = read_experiment_results(directory);
  if (output.has_parent_path()) fs::create_directories(output.parent_path());
  std::vector<fs::path> written;
  const auto write = [&](const fs::path& path, const std::string& text) {
    write_file_atomic(path, text);
    written.push_back(path);
  };
  const std::string stem = output.stem().string();
  write(output, experiment_html(results));
  write(fs::path(output).replace_extension(".md"), experiment_markdown(results, stem));
  write(fs::path(output).replace_extension(".json"), experiment_json(results));
  for (const auto& figure : experiment_figures(results)) {
    write(output.parent_path() / str(stem, "_", figure.name, ".svg"), standalone(figure.svg));
  }
  return written;
}

}  // namespace altup
