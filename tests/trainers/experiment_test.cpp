// Experiments: the file, and the process that a run is. Training a grid is tested on the program itself
// (tests/python/test_experiment.py).
#include "trainers/experiment.h"
#include "tests/support/user_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"
#include "trainers/child_process.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::refusal;
using testing::TempDir;

// --- the file
// ------------------------------------------------------------------------------------------------

constexpr const char* kFile = R"([experiment]
output = "runs/grid"
configs = ["base.toml"]
set = ["train.steps=100"]
seeds = [1, 3]
baseline = "plain"

[[variant]]
name = "wide"
label = "twice as wide"
group = "widths"
configs = ["wide.toml"]
set = ["altup.init=active"]
steps = 200

[[variant]]
name = "plain"
)";

class ExperimentFile : public ::testing::Test {
 protected:
  ExperimentFile() {
    dir_.write("configs/base.toml", "[model]\nsize = \"tiny\"\n");
    dir_.write("configs/wide.toml", "[altup]\nvariant = \"altup\"\n");
  }
  Experiment read(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    return read_experiment(dir_.write("configs/grid.toml", text), overrides);
  }
  /// The message where `from` stands as `to`, without the folder.
  std::string error(const std::string& from, const std::string& to) const {
    std::string text = kFile;
    text.replace(text.find(from), from.size(), to);
    const auto message = refusal([&] { read(text); });
    const auto folder = (dir_ / "configs/").string();
    return message.starts_with(folder) ? message.substr(folder.size()) : message;
  }
  TempDir dir_;
};

TEST_F(ExperimentFile, IsReadWithEachVariantsFilesAndOverrides) {
  const auto experiment = read(kFile, {"data.prefetch=0"});
  EXPECT_EQ(experiment.name, "grid");
  EXPECT_EQ(experiment.output, "runs/grid");
  EXPECT_EQ(experiment.baseline, "plain");
  EXPECT_THAT(experiment.seeds, ElementsAre(1, 3));
  ASSERT_EQ(experiment.variants.size(), 2U);
  const auto& wide = experiment.variants[0];
  EXPECT_EQ(wide.label, "twice as wide");
  EXPECT_EQ(wide.group, "widths");
  EXPECT_EQ(wide.baseline, "plain");
  EXPECT_THAT(wide.configs, ElementsAre(dir_ / "configs/base.toml", dir_ / "configs/wide.toml"));
  EXPECT_THAT(wide.overrides, ElementsAre("train.steps=100", "altup.init=active", "train.steps=200",
                                          "data.prefetch=0"));
  const auto& plain = experiment.variants[1];
  EXPECT_EQ(plain.label, "plain");
  EXPECT_THAT(plain.configs, ElementsAre(dir_ / "configs/base.toml"));
  EXPECT_THAT(plain.overrides, ElementsAre("train.steps=100", "data.prefetch=0"));
  EXPECT_EQ(experiment.run_directory(wide, 3), "runs/grid/wide/seed-3");
}

TEST_F(ExperimentFile, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(error("seeds", "sedes"),
            "grid.toml:5: unknown key \"sedes\" in [experiment]; did you mean \"seeds\"?");
  EXPECT_EQ(
      error("label", "colour"),
      "grid.toml:10: unknown key \"colour\" in [[variant]]; expected one of baseline, configs, "
      "group, label, name, set, steps");
  EXPECT_EQ(error("[1, 3]", "[1, 3, 1]"), "grid.toml:5: seeds holds 1 twice");
  EXPECT_EQ(error("[1, 3]", "[-1]"), "grid.toml:5: seeds holds -1; expected 0 or more");
  EXPECT_EQ(error("[1, 3]", "3"), "grid.toml:5: seeds is no list; expected one in brackets");
  EXPECT_EQ(error("[1, 3]", "[]"),
            "grid.toml:5: seeds is missing or empty; expected a list such as [1, 2, 3]");
  EXPECT_EQ(error("baseline = \"plain\"", "baseline = \"dense\""),
            "grid.toml:6: baseline is \"dense\"; expected one of wide, plain");
  EXPECT_EQ(error("name = \"plain\"", "name = \"wide\""),
            "grid.toml:17: name is \"wide\", as another variant's is");
  EXPECT_EQ(
      error("name = \"plain\"", "name = \"../plain\""),
      "grid.toml:17: name is \"../plain\"; expected the name of a folder: letters, digits and _ "
      "- .");
  EXPECT_EQ(error("steps = 200", "steps = 0"),
            "grid.toml:14: steps is no number of steps; expected an integer of at least 1");
  EXPECT_THAT(error("wide.toml", "narrow.toml"),
              HasSubstr("grid.toml:12: configs names \"narrow.toml\", but there is no file "));
  EXPECT_THAT(error("[experiment]", "[experiments]"),
              HasSubstr("grid.toml:1: unknown section \"experiments\""));
  EXPECT_THAT(error("[1, 3]", "[1, 3"), HasSubstr("broken TOML"));
}

TEST_F(ExperimentFile, AVariantsSettingsAreCheckedWithItsName) {
  const auto experiment = read(kFile);
  EXPECT_THAT(refusal([&] { experiment_config(experiment.variants[0], 1); }),
              HasSubstr("variant wide: data.train is not set"));
  EXPECT_EQ(refusal([&] { experiment_progress(experiment, {.variants = {"wild"}, .seeds = {}}); }),
            "the experiment has no variant \"wild\"; did you mean \"wide\"?");
  EXPECT_EQ(refusal([&] { experiment_progress(experiment, {.variants = {}, .seeds = {2}}); }),
            "the experiment has no seed 2; expected one of 1, 3");
}

// --- the process
// ------------------------------------------------------------------------------------------------

TEST(ChildProcess, EndsAsItsProgramDoes) {
  const auto nothing = [] { return 0; };
  EXPECT_EQ(run_child({"/bin/sh", "-c", "exit 7"}, nothing).exit_code, 7);
  const auto killed = run_child({"/bin/sh", "-c", "kill -9 $$"}, nothing);
  EXPECT_EQ(killed.signal, SIGKILL);
  EXPECT_THROW(run_child({"/nowhere/program"}, nothing), std::runtime_error);
}

TEST(ChildProcess, GetsASignalOnce) {
  const TempDir dir;
  const auto ready = dir / "ready";
  const auto count = dir / "signals";
  const std::string script =
      str("trap 'echo x >> ", count.string(), "' TERM; touch ", ready.string(), "; while [ ! -e ",
          count.string(), " ]; do sleep 0.1; done; sleep 0.5; exit 3");
  const auto stop = [&] { return std::filesystem::exists(ready) ? SIGTERM : 0; };
  const auto result = run_child({"/bin/sh", "-c", script}, stop);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(read_file(count), "x\n");
}

}  // namespace
}  // namespace altup
