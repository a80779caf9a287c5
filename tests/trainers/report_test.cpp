#include "trainers/report.h"
#include "tests/support/user_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <regex>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::refusal;
using testing::TempDir;

/// The tags of `html` open and close in pairs, and no text or attribute holds a stray < or &.
void expect_well_formed(const std::string& html) {
  static const std::regex kTag(
      R"re(^<(/?)([a-zA-Z0-9]+)((?:\s+[a-zA-Z0-9:-]+="[^"<]*")*)\s*(/?)>)re");
  static const std::regex kEntity(R"(^&(amp|lt|gt|quot|#39);)");
  std::vector<std::string> open;
  std::string body = html.substr(html.find("<html"));
  const size_t style = body.find("<style>") + 7;  // CSS is not markup
  body.erase(style, body.find("</style>") - style);
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '<' && body[i] != '&') continue;
    const auto rest = body.substr(i, 40000);
    std::smatch match;
    if (body[i] == '&') {
      ASSERT_TRUE(std::regex_search(rest, match, kEntity)) << rest.substr(0, 60);
      continue;
    }
    ASSERT_TRUE(std::regex_search(rest, match, kTag)) << rest.substr(0, 120);
    const std::string name = match[2];
    if (match[1] == "/") {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name);
      open.pop_back();
    } else if (match[4] != "/") {
      open.push_back(name);
    }
    i += static_cast<size_t>(match.length()) - 1;
  }
  EXPECT_TRUE(open.empty()) << join(open, " ");
}

size_t count_of(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

/// A run of four evaluations, whose validation loss ends at `final_loss`.
RunSummary example_run(const std::string& name, double final_loss) {
  RunSummary run;
  run.name = name;
  for (int64_t step = 100; step <= 400; step += 100) {
    const auto at = static_cast<double>(step);
    const double loss = final_loss + (400 - at) / 100;
    run.records.push_back({step,
                           "train",
                           {{"loss", loss},
                            {"tokens", at * 5000},
                            {"tokens_per_second", 900 + at},
                            {"seconds", at / 2},
                            {"peak_memory_mib", 512}}});
    run.records.push_back(
        {step,
         "validation",
         {{"loss", loss}, {"accuracy", at / 10}, {"tokens", at * 5000}, {"seconds", at / 2}}});
  }
  return run;
}

TEST(Report, ShowsRunsSideBySide) {
  auto dense = example_run("dense", 2.5);
  dense.config = RunConfig{};
  dense.parameters = 1234567;
  auto wide = example_run("wide", 2.25);
  wide.config = RunConfig{};
  wide.config->model.altup.variant = Variant::kAltUp;
  wide.results = {{"glue/sst2", {{"accuracy", 87.5}}, 872}};
  const auto html = html_report({dense, wide});
  expect_well_formed(html);
  EXPECT_THAT(html, HasSubstr("small, dense</td>"));
  EXPECT_THAT(html, HasSubstr("small, altup, K = 2</td>"));
  dense.config->model.moe.experts = wide.config->model.moe.experts = 8;
  const auto of_mixtures = html_report({dense, wide});
  EXPECT_THAT(of_mixtures, HasSubstr("small, 8 experts, switch</td>"));
  EXPECT_THAT(of_mixtures, HasSubstr("small, altup, K = 2, 8 experts, switch</td>"));
  EXPECT_THAT(html, HasSubstr("<td>1,234,567</td>"));
  EXPECT_THAT(html, HasSubstr("<td>2.5000</td>"));
  EXPECT_THAT(html, HasSubstr("<td><b>2.2500</b></td>"));  // the lower loss
  EXPECT_EQ(count_of(html, "<td>512</td>"), 2U);           // equal memory: neither is best
  EXPECT_THAT(html, HasSubstr("<td>2,000,000</td>"));      // tokens
  EXPECT_THAT(html, HasSubstr("<td>3:20</td>"));           // 200 s
  EXPECT_THAT(html, HasSubstr("87.50</td><td>872</td>"));
  EXPECT_THAT(html, HasSubstr("<td>altup.variant</td><td class=\"text\">&quot;none&quot;</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<td>altup.blocks</td>")));  // is the same in both
  for (const auto* title : {"Validation loss", "Span accuracy", "Training loss", "Speed"}) {
    EXPECT_THAT(html, HasSubstr(std::string("<b>") + title + ".</b>"));
  }
  // Each figure by steps, tokens and time, with units, and in each panel both curves.
  EXPECT_EQ(count_of(html, ">training step</text>"), 4U);
  EXPECT_EQ(count_of(html, ">training tokens (millions)</text>"), 4U);
  EXPECT_EQ(count_of(html, ">training time (minutes)</text>"), 4U);
  EXPECT_EQ(count_of(html, "<g class=\"curve\"><title>dense</title>"), 12U);
  EXPECT_EQ(count_of(html, "<g class=\"curve\"><title>wide</title>"), 12U);
}

TEST(Report, NeedsNothingFromElsewhere) {
  // A name, nothing that is fetched.
  const std::string name_space = "xmlns=\"http://www.w3.org/2000/svg\"";
  auto html = html_report({example_run("a", 2)});
  for (size_t at = html.find(name_space); at != std::string::npos; at = html.find(name_space)) {
    html.erase(at, name_space.size());
  }
  for (const auto* outside :
       {"<script", "http://", "https://", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(Report, EscapesAllText) {
  const std::string evil = "<script>\"&'x";
  auto run = example_run(evil, 2);
  run.records.push_back({400, evil, {{evil, 1.0}}});
  run.results = {{evil, {{evil, 50}}, 0}};
  run.config = RunConfig{};
  run.config->tokenizer.model = evil;
  auto other = example_run("other", 3);
  other.config = RunConfig{};
  const auto html = html_report({run, other});
  expect_well_formed(html);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;&quot;&amp;&#39;x"));
}

TEST(Report, DrawsWhatLittleThereIs) {
  RunSummary one{"one", {{10, "validation", {{"loss", 3.0}}}}, std::nullopt, std::nullopt, {}};
  const auto html = html_report({one});
  expect_well_formed(html);
  EXPECT_THAT(html, HasSubstr("<td>3.0000</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<figure")));  // one point is no curve
  EXPECT_THAT(html, Not(HasSubstr("nan")));

  RunSummary diverged = example_run("diverged", 2);
  diverged.records[5].values["loss"] = std::nan("");
  expect_well_formed(html_report({diverged}));
  EXPECT_THAT(html_report({diverged}), Not(HasSubstr("nan")));
  EXPECT_THAT(refusal([] { html_report({}); }), HasSubstr("no runs"));
}

TEST(Report, TaskMetricsOfTrainingGetAFigureWithItsOwnRuns) {
  RunSummary run{"tuned", {}, {}, {}, {}};
  for (const int64_t step : {10, 20}) {
    run.records.push_back({step, "glue/cola", {{"matthews_correlation", 40.0}, {"seconds", 5}}});
  }
  const auto html = html_report({run, example_run("other", 2)});
  const auto figure = html.find("<b>glue/cola: matthews_correlation.</b>");
  ASSERT_NE(figure, std::string::npos);
  const auto legend = html.substr(figure, html.find("panels", figure) - figure);
  EXPECT_THAT(legend, HasSubstr("tuned"));
  EXPECT_THAT(legend, Not(HasSubstr("other")));
  EXPECT_THAT(html, Not(HasSubstr("glue/cola: seconds")));
}

TEST(Report, ReadsRunDirectories) {
  const TempDir dir;
  const std::string metrics =
      "{\"step\": 1, \"split\": \"train\", \"loss\": 2.0, \"tokens\": 10}\n";
  dir.write("x/run/metrics.jsonl", metrics);
  dir.write("x/run/config.toml", "[model]\nsize = \"tiny\"\n");
  dir.write("x/run/results.json",
            R"([{"task": "squad", "metrics": {"f1": 71.5}, "examples": 10}])");
  dir.write("x/run/results-rte.json",
            R"({"task": "glue/rte", "metrics": {"accuracy": 61}, "examples": 277})");
  dir.write("y/run/metrics.jsonl", metrics);
  // In training: an evaluation on a task that no file has, and on one that a file has.
  dir.write(
      "x/run/metrics.jsonl",
      metrics + R"({"step": 1, "split": "glue/cola", "matthews_correlation": 7.0, "tokens": 1})" +
          "\n" + R"({"step": 2, "split": "glue/cola", "matthews_correlation": 9.0, "tokens": 2})" +
          "\n" + R"({"step": 2, "split": "squad", "f1": 1.0})" + "\n");
  const auto run = read_run_summary(dir / "x/run/");
  EXPECT_EQ(run.name, "run");
  EXPECT_GT(run.parameters.value_or(0), 8'000'000);  // the embedding alone
  ASSERT_EQ(run.results.size(), 3U);
  EXPECT_EQ(run.results[0].task, "glue/rte");
  EXPECT_EQ(run.results[1].metrics.at("f1"), 71.5);
  EXPECT_EQ(run.results[2].metrics, (std::map<std::string, double>{{"matthews_correlation", 9.0}}));

  write_report({dir / "x/run", dir / "y/run"}, dir / "out/report.html");
  const auto html = read_file(dir / "out/report.html");
  EXPECT_THAT(html, HasSubstr("x/run</td>"));  // two runs of one name go by their paths
  EXPECT_THAT(html, HasSubstr("y/run</td>"));
}

TEST(Report, RefusesWhatIsNoRun) {
  const TempDir dir;
  EXPECT_THAT(refusal([&] { read_run_summary(dir.path()); }), HasSubstr("holds no metrics.jsonl"));
  dir.write("metrics.jsonl", "");
  EXPECT_THAT(refusal([&] { read_run_summary(dir.path()); }), HasSubstr("holds no record"));
  dir.write("metrics.jsonl", "{\"step\": 1, \"split\": \"train\"}\n");
  dir.write("results.json", "{\"task\": 1}");
  EXPECT_THAT(refusal([&] { read_run_summary(dir.path()); }),
              HasSubstr("results.json: not a result"));
  dir.write("results.json", "{");
  EXPECT_THAT(refusal([&] { read_run_summary(dir.path()); }),
              HasSubstr("results.json: broken JSON"));
}

TEST(SvgChart, AxesAreRoundAndHoldTheCurve) {
  Chart chart{{"step", 1}, {"loss", 1}, {{"run", 0, {{0, 2.0}, {50, 3.0}, {100, 2.5}}}}, false};
  const auto svg = svg_chart(chart);
  for (const auto* tick : {">2.0<", ">2.2<", ">3.0<", ">0<", ">20<", ">100<"})
    EXPECT_THAT(svg, HasSubstr(tick));
  // From the lower left corner to the top in the middle, and half-way down at the right edge.
  EXPECT_THAT(svg, HasSubstr("M56.0 192.0 L201.0 10.0 L346.0 101.0"));
}

TEST(SvgChart, SkipsTheSteepStartAndThinsLongCurves) {
  Chart chart{{"step", 1}, {"loss", 1}, {{"run", 0, {{9, 100.0}, {50, 3.0}, {100, 2.0}}}}, true};
  EXPECT_THAT(svg_chart(chart), Not(HasSubstr(">100.0<")));
  chart.skip_start = false;
  EXPECT_THAT(svg_chart(chart), HasSubstr(">100<"));
  chart.series[0].points.clear();
  for (int i = 0; i < 9000; ++i) chart.series[0].points.emplace_back(i, 1.0 + i % 2);
  const auto svg = svg_chart(chart);
  const auto curve = svg.substr(svg.find("<g class"));
  EXPECT_LT(count_of(curve, " L"), 300U);
  EXPECT_THAT(curve, Not(HasSubstr("192.0 L")));  // means of 30 neighbours, none at either extreme
}

TEST(SvgChart, UnitsFollowTheSize) {
  EXPECT_EQ(count_axis("tokens", 5e6).label, "tokens (millions)");
  EXPECT_EQ(count_axis("step", 5000).label, "step");
  EXPECT_EQ(time_axis("time", 9000).label, "time (hours)");
  EXPECT_EQ(time_axis("time", 9000).scale, 3600);
}

}  // namespace
}  // namespace altup
