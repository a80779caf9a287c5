// What came out of an experiment: the statistics by numbers worked out by hand, and the report.
#include "trainers/experiment_report.h"
#include "tests/support/user_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"
#include "trainers/experiment_results.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::refusal;
using testing::TempDir;

// --- statistics
// ------------------------------------------------------------------------------------------------

PlannedVariant planned(const std::string& name, int64_t parameters) {
  return {.name = name,
          .label = name,
          .group = "",
          .baseline = "dense",
          .steps = 200,
          .parameters = parameters,
          .embedding_parameters = 1000,
          .flops_per_token = 2.5e6};
}

/// Two evaluations of a run of 200 steps; the first is one nat above the last.
void write_run(const TempDir& dir, const std::string& variant, int64_t seed, double loss,
               double accuracy, bool finished = true) {
  std::string lines;
  for (const int64_t step : {100, 200}) {
    if (step == 200 && !finished) break;
    lines +=
        str("{\"step\": ", step, ", \"split\": \"train\", \"loss\": 9.0}\n{\"step\": ", step,
            ", \"split\": \"validation\", \"loss\": ", step == 100 ? loss + 1 : loss,
            ", \"accuracy\": ", accuracy, ", \"tokens\": ", step * 50, ", \"seconds\": 77.0}\n");
  }
  dir.write(str(variant, "/seed-", seed, "/metrics.jsonl"), lines);
}

/// Three variants of three seeds; of "same", seed 3 is not finished.
void write_grid(const TempDir& dir) {
  write_plan({.name = "novels",
              .command = "altup experiment --config <novels>.toml",
              .baseline = "dense",
              .seeds = {1, 2, 3},
              .variants = {planned("dense", 5000), planned("wide", 9000), planned("same", 9000)}},
             dir.path());
  write_step_times(
      {.steps = 10,
       .threads = 2,
       .precision = "fp32",
       .variants = {{"dense", {.seconds = 0.5, .rounds = {0.5, 0.4, 1}, .tokens = 50}},
                    {"wide", {.seconds = 0.625, .rounds = {0.6, 0.625, 1.2}, .tokens = 50}}}},
      dir.path());
  const double dense[] = {3.0, 3.2, 3.1};
  const double wide[] = {2.8, 3.1, 3.0};
  const double same[] = {3.1, 3.1, 0.0};
  for (int64_t seed = 1; seed <= 3; ++seed) {
    write_run(dir, "dense", seed, dense[seed - 1], 9.0 + static_cast<double>(seed % 3));
    write_run(dir, "wide", seed, wide[seed - 1], 12.5);
    write_run(dir, "same", seed, same[seed - 1], 10.0, /*finished=*/seed < 3);
  }
}

TEST(ExperimentResults, AreTheMeansAndDeviationsOfTheSeeds) {
  const TempDir dir;
  write_grid(dir);
  const auto results = read_experiment_results(dir.path());
  const auto dense = final_loss(results.variant("dense"));
  EXPECT_NEAR(dense->mean, 3.1, 1e-12);
  EXPECT_NEAR(dense->deviation, 0.1, 1e-12);  // sqrt((0.01 + 0.01) / 2)
  const auto wide = final_loss(results.variant("wide"));
  EXPECT_NEAR(wide->mean, 8.9 / 3, 1e-12);
  EXPECT_NEAR(wide->deviation, std::sqrt(0.07 / 3), 1e-12);  // sqrt((25 + 16 + 1) / 1800)
  EXPECT_NEAR(final_accuracy(results.variant("dense"))->mean, 10.0, 1e-12);
  EXPECT_NEAR(final_accuracy(results.variant("dense"))->deviation, 1.0, 1e-12);
  EXPECT_EQ(final_loss(results.variant("same"))->count, 2);
  EXPECT_NEAR(final_loss(results.variant("same"))->mean, 3.1, 1e-12);
  EXPECT_EQ(results.variant("wide").seconds_per_step, 0.625);
  EXPECT_FALSE(results.variant("same").seconds_per_step.has_value());
  EXPECT_FALSE(step_time_ratio(results, results.variant("same")).has_value());

  EXPECT_FALSE(spread_of({}).has_value());
  EXPECT_EQ(spread_of({2.0})->mean, 2.0);
  EXPECT_TRUE(std::isnan(spread_of({2.0})->deviation));
}

TEST(ExperimentResults, AreComparedSeedBySeed) {
  const TempDir dir;
  write_grid(dir);
  const auto results = read_experiment_results(dir.path());
  // -0.2, -0.1 and -0.1: a spread far below that of either variant.
  const auto wide = final_difference(results, results.variant("wide"));
  EXPECT_NEAR(wide->spread.mean, -0.4 / 3, 1e-12);
  EXPECT_NEAR(wide->spread.deviation, std::sqrt(0.01 / 3), 1e-12);
  EXPECT_EQ(wide->spread.count, 3);
  EXPECT_EQ(wide->same_sign, 3);
  // +0.1 and -0.1; the third pair is not finished.
  const auto same = final_difference(results, results.variant("same"));
  EXPECT_NEAR(same->spread.mean, 0.0, 1e-12);
  EXPECT_NEAR(same->spread.deviation, std::sqrt(0.02), 1e-12);
  EXPECT_EQ(same->spread.count, 2);
  EXPECT_LT(same->same_sign, 2);
  EXPECT_FALSE(final_difference(results, results.variant("dense")).has_value());
}

TEST(ExperimentResults, CurvesAreOverTheFinishedRuns) {
  const TempDir dir;
  write_grid(dir);
  auto results = read_experiment_results(dir.path());
  const auto curve = loss_curve(results.variant("wide"));
  ASSERT_EQ(curve.size(), 2U);
  EXPECT_EQ(curve[1].step, 200);
  EXPECT_EQ(curve[1].tokens, 10000);
  EXPECT_NEAR(curve[0].mean, 8.9 / 3 + 1, 1e-12);
  EXPECT_EQ(curve[1].low, 2.8);
  EXPECT_EQ(curve[1].high, 3.1);
  ASSERT_EQ(loss_curve(results.variant("same")).size(), 2U);  // without the seed that stopped
  const auto difference = difference_curve(results.variant("wide"), results.variant("dense"));
  ASSERT_EQ(difference.size(), 2U);
  EXPECT_NEAR(difference[0].mean, -0.4 / 3, 1e-12);
  EXPECT_NEAR(difference[0].low, -0.2, 1e-12);
  EXPECT_NEAR(difference[0].high, -0.1, 1e-12);

  // Where none is finished, as far as all that were begun are.
  for (auto& run : results.variants[2].runs) run.finished = false;
  const auto begun = loss_curve(results.variant("same"));
  ASSERT_EQ(begun.size(), 1U);
  EXPECT_NEAR(begun[0].mean, (4.1 + 4.1 + 1.0) / 3, 1e-12);
}

TEST(ExperimentResults, ARunThatDivergedIsNotLeftOut) {
  const TempDir dir;
  write_grid(dir);
  dir.write("wide/seed-2/metrics.jsonl",
            "{\"step\": 200, \"split\": \"validation\", \"loss\": null, \"tokens\": 10000}\n");
  const auto results = read_experiment_results(dir.path());
  EXPECT_TRUE(std::isnan(final_loss(results.variant("wide"))->mean));
  EXPECT_THAT(experiment_markdown(results, "x"), HasSubstr("| diverged |"));
  EXPECT_THAT(experiment_html(results), Not(HasSubstr("nan")));
}

TEST(ExperimentResults, BrokenFilesAreToldWithTheirPath) {
  const TempDir dir;
  EXPECT_THAT(refusal([&] { read_experiment_results(dir.path()); }), HasSubstr("experiment.json"));
  dir.write("experiment.json", "{");
  EXPECT_THAT(refusal([&] { read_experiment_results(dir.path()); }),
              HasSubstr("experiment.json: broken JSON"));
  dir.write("experiment.json", "{\"name\": 1}");
  EXPECT_THAT(refusal([&] { read_experiment_results(dir.path()); }),
              HasSubstr("experiment.json: not as `altup experiment` writes it"));
  write_grid(dir);
  dir.write("step_times.json", "{}");
  EXPECT_THAT(refusal([&] { read_experiment_results(dir.path()); }),
              HasSubstr("step_times.json: not as"));
}

// --- the report
// ------------------------------------------------------------------------------------------------

TEST(ExperimentReport, HasTheTableAsMarkdown) {
  const TempDir dir;
  write_grid(dir);
  const auto text = experiment_markdown(read_experiment_results(dir.path()), "novels");
  EXPECT_THAT(text, HasSubstr("# novels: 3 variants, 3 seeds\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "\n| variant | embedding parameters | other parameters | FLOPs per token, millions | "
          "steps | step time, ms | step time over dense | seeds | validation loss, nats/token | "
          "span accuracy, % | loss minus the baseline's, paired | seeds of that sign |\n"));
  EXPECT_THAT(text, HasSubstr("\n| dense | 1,000 | 4,000 | 2.5 | 200 | 500.0 | 1.00 | 3 | 3.1000 ± "
                              "0.1000 | 10.00 ± 1.00 | – | – |\n"));
  EXPECT_THAT(text, HasSubstr("\n| wide | 1,000 | 8,000 | 2.5 | 200 | 625.0 | 1.20 | 3 | 2.9667 ± "
                              "0.1528 | 12.50 ± 0.00 | −0.1333 ± 0.0577 | 3 of 3 |\n"));
  EXPECT_THAT(text,
              HasSubstr("\n| same | 1,000 | 8,000 | 2.5 | 200 | – | – | 2 | 3.1000 ± 0.0000 |"));
  EXPECT_THAT(text, HasSubstr("\n- same: seed 3 at step 100 of 200\n"));
  EXPECT_THAT(text, HasSubstr("median over rounds of 10 steps, and of the rounds' ratios; 2 "
                              "threads, fp32."));
  EXPECT_THAT(text, HasSubstr("![Validation loss by time](novels_time.svg)"));
  EXPECT_THAT(text, HasSubstr("altup experiment --config <novels>.toml --bench\n"));
}

TEST(ExperimentReport, DrawsEachVariantWithItsBandAndItsName) {
  const TempDir dir;
  write_grid(dir);
  const auto figures = experiment_figures(read_experiment_results(dir.path()));
  ASSERT_EQ(figures.size(), 3U);
  EXPECT_EQ(figures[0].name, "tokens");
  EXPECT_EQ(figures[1].name, "time");
  EXPECT_EQ(figures[2].name, "difference");
  for (const auto& figure : figures) {
    const bool timed = figure.name == "time";
    for (const auto* name : {"dense", "wide", "same"}) {
      const bool drawn = !timed || std::string(name) != "same";  // whose step time nobody measured
      const auto label = str(" class=\"label\" fill=\"#1b1b1b\">", name, "</text>");
      EXPECT_EQ(figure.svg.find(label) != std::string::npos, drawn) << figure.name << " " << name;
    }
    EXPECT_THAT(figure.svg, HasSubstr("<path class=\"band\""));
  }
  EXPECT_THAT(figures[0].svg, HasSubstr(">validation loss (nats per target token)</text>"));
  EXPECT_THAT(figures[0].svg, HasSubstr(">training tokens</text>"));
  // 200 steps of 0.625 s, not the 77 s of the log.
  EXPECT_THAT(figures[1].svg, HasSubstr(">training time (minutes)</text>"));
  EXPECT_THAT(figures[1].svg, HasSubstr(">2.0</text>"));
}

TEST(ExperimentReport, AGroupHasFiguresOfItsOwnBesideTheBaseline) {
  const TempDir dir;
  write_grid(dir);
  auto results = read_experiment_results(dir.path());
  results.variants[2].plan.group = "block selection";
  const auto figures = experiment_figures(results);
  ASSERT_EQ(figures.size(), 5U);  // the step time of "same" nobody measured
  EXPECT_EQ(figures[3].name, "block_selection_tokens");
  EXPECT_EQ(figures[4].name, "block_selection_difference");
  EXPECT_THAT(figures[3].svg, HasSubstr("<title>dense</title>"));
  EXPECT_THAT(figures[3].svg, HasSubstr("<title>same</title>"));
  EXPECT_THAT(figures[3].svg, Not(HasSubstr("<title>wide</title>")));
  EXPECT_THAT(figures[0].svg, Not(HasSubstr("<title>same</title>")));
}

TEST(ExperimentReport, IsWrittenInAllItsFormats) {
  const TempDir dir;
  write_grid(dir);
  std::vector<std::string> names;
  for (const auto& file : write_experiment_report(dir.path(), dir / "out/novels.html")) {
    EXPECT_TRUE(std::filesystem::is_regular_file(file)) << file;
    names.push_back(file.filename().string());
  }
  EXPECT_THAT(names, ElementsAre("novels.html", "novels.md", "novels.json", "novels_tokens.svg",
                                 "novels_time.svg", "novels_difference.svg"));
  const auto html = read_file(dir / "out/novels.html");
  EXPECT_THAT(html, HasSubstr("<td>2.9667 ± 0.1528</td>"));
  EXPECT_THAT(html, HasSubstr("--config &lt;novels&gt;.toml"));
  EXPECT_THAT(html, HasSubstr("<li>same: seed 3 at step 100 of 200</li>"));
  const auto json = nlohmann::json::parse(read_file(dir / "out/novels.json"));
  const auto& wide = json["variants"][1];
  EXPECT_NEAR(wide["loss"]["mean"].get<double>(), 8.9 / 3, 1e-12);
  EXPECT_NEAR(wide["difference"]["standard_deviation"].get<double>(), std::sqrt(0.01 / 3), 1e-12);
  EXPECT_EQ(wide["difference"]["same_sign"], 3);
  EXPECT_EQ(wide["parameters"]["other"], 8000);
  EXPECT_EQ(wide["seconds_per_step"], 0.625);
  EXPECT_NEAR(wide["step_time_ratio"].get<double>(), 1.2, 1e-12);  // not 0.625 / 0.5
  EXPECT_TRUE(json["variants"][2]["step_time_ratio"].is_null());
  EXPECT_EQ(wide["runs"][1]["loss"], 3.1);
  EXPECT_EQ(json["variants"][2]["runs"][2]["finished"], false);
  const auto svg = read_file(dir / "out/novels_tokens.svg");
  EXPECT_THAT(svg, HasSubstr("fill=\"#fff\"/>"));  // white, whatever the page behind it
}

TEST(ExperimentReport, ShowsAGridThatIsNotBegun) {
  const TempDir dir;
  write_plan({.name = "new",
              .command = "c",
              .baseline = "dense",
              .seeds = {1},
              .variants = {planned("dense", 5000)}},
             dir.path());
  const auto results = read_experiment_results(dir.path());
  EXPECT_TRUE(experiment_figures(results).empty());
  const auto text = experiment_markdown(results, "new");
  EXPECT_THAT(text, HasSubstr("| dense | 1,000 | 4,000 | 2.5 | 200 | 0 |"));
  EXPECT_THAT(text, HasSubstr("- dense: seed 1 not begun"));
  EXPECT_THAT(text, HasSubstr("Step times are not measured yet"));
}

TEST(SvgChart, NamesOfCurvesThatEndTogetherDoNotOverlap) {
  Chart chart{.x = {"step", 1}, .y = {"loss", 1}, .series = {}, .label_curves = true};
  for (int i = 0; i < 6; ++i) {
    chart.series.push_back({.name = str("run", i), .style = i, .points = {{0, 3.0}, {100, 2.0}}});
  }
  chart.series.push_back({.name = "last", .style = 6, .points = {{0, 4.0}, {100, 2.001}}});
  const auto svg = svg_chart(chart);
  std::vector<double> heights;
  for (size_t at = svg.find("class=\"label\""); at != std::string::npos;
       at = svg.find("class=\"label\"", at + 1)) {
    const size_t y = svg.rfind(" y=\"", at) + 4;
    heights.push_back(std::stod(svg.substr(y)));
  }
  ASSERT_EQ(heights.size(), 7U);
  for (size_t i = 1; i < heights.size(); ++i) EXPECT_GE(heights[i] - heights[i - 1], 11.9);
  EXPECT_LE(heights.back(), 276);  // not below the axis
}

TEST(SvgChart, IsAsWideAsTheLongestNameNeeds) {
  Chart chart{.x = {"step", 1}, .y = {"loss", 1}, .series = {}, .label_curves = true};
  chart.series.push_back({.name = "dense", .style = 0, .points = {{0, 3.0}, {100, 2.0}}});
  EXPECT_THAT(svg_chart(chart), HasSubstr("viewBox=\"0 0 540 316\""));
  chart.series[0].name = "Recycled, coefficients × 0.1 of rate";  // 36 letters, 37 bytes
  EXPECT_THAT(svg_chart(chart), HasSubstr("viewBox=\"0 0 652 316\""));
}

TEST(SvgChart, ABandGoesAlongTheHighestAndBackAlongTheLowest) {
  const Chart chart{.x = {"step", 1},
                    .y = {"loss", 1},
                    .series = {{.name = "run",
                                .style = 0,
                                .points = {{0, 2.0}, {100, 2.0}},
                                .band = {{1.0, 3.0}, {1.0, 2.0}}}}};
  EXPECT_THAT(svg_chart(chart),
              HasSubstr("d=\"M56.0 10.0 L346.0 101.0 L346.0 192.0 L56.0 192.0 Z\""));
}

}  // namespace
}  // namespace altup
