// From the model's text to GLUE's scores and submission files, and back.
#include <gmock/gmock.h>

#include <cmath>
#include <stdexcept>

#include "altup/tasks/task.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using testing::user_error;
using Texts = std::vector<std::string>;

std::vector<TaskExample> labelled(const Texts& references) {
  std::vector<TaskExample> examples;
  for (size_t i = 0; i < references.size(); ++i) {
    examples.push_back({std::to_string(i), "input", references[i], {references[i]}});
  }
  return examples;
}

TEST(GluePostprocess, TrimsAndKnowsTheLabelWordsOnly) {
  const Task& task = find_task("glue/rte");
  EXPECT_EQ(task.postprocess(" entailment\n", {}), "entailment");
  EXPECT_EQ(task.postprocess("not_entailment", {}), "not_entailment");
  for (const auto* text : {"Entailment", "entailment.", "neutral", "0", ""})
    EXPECT_EQ(task.postprocess(text, {}), "");
}

TEST(GluePostprocess, TakesAnyFiniteNumberForStsb) {
  const Task& task = find_task("glue/stsb");
  EXPECT_EQ(task.postprocess(" 3.8 ", {}), "3.8");
  EXPECT_EQ(task.postprocess("-1", {}), "-1");
  for (const auto* text : {"", "three", "3.8 points", "nan", "inf", "3,8"})
    EXPECT_EQ(task.postprocess(text, {}), "");
}

TEST(GluePostprocess, TakesWnlisAnswerForTheCandidate) {
  const Task& task = find_task("glue/wnli");
  TaskExample example;
  example.context = "The worm";
  EXPECT_EQ(task.postprocess("the worm", example), "entailment");
  EXPECT_EQ(task.postprocess(" a fat worm ", example), "entailment");
  EXPECT_EQ(task.postprocess("the fish", example), "not_entailment");
  EXPECT_EQ(task.postprocess("the", example), "");  // says nothing
}

TEST(GlueScore, ReportsTheMetricsOfEachTask) {
  const auto metrics = [](const std::string& name, const Texts& predictions,
                          const Texts& references) {
    return find_task(name).score(predictions, labelled(references));
  };
  EXPECT_THAT(metrics("glue/sst2", {"positive", ""}, {"positive", "negative"}),
              UnorderedElementsAre(Pair("accuracy", 50.0)));
  // TP 1, FP 1
  EXPECT_THAT(metrics("glue/mrpc", {"equivalent", "equivalent"}, {"equivalent", "not_equivalent"}),
              UnorderedElementsAre(Pair("accuracy", 50.0),
                                   Pair("f1", ::testing::DoubleNear(200.0 / 3, 1e-9))));
  EXPECT_THAT(metrics("glue/qqp", {"duplicate", "not_duplicate"}, {"duplicate", "not_duplicate"}),
              UnorderedElementsAre(Pair("accuracy", 100.0), Pair("f1", 100.0)));
  EXPECT_THAT(
      metrics("glue/cola", {"acceptable", "unacceptable"}, {"unacceptable", "acceptable"}),
      UnorderedElementsAre(Pair("matthews_correlation", ::testing::DoubleNear(-100.0, 1e-9))));
  EXPECT_THAT(metrics("glue/stsb", {"1", "2.0", "5"}, {"0.0", "1.000", "4.0"}),
              UnorderedElementsAre(Pair("pearson", ::testing::DoubleNear(100.0, 1e-9)),
                                   Pair("spearman", ::testing::DoubleNear(100.0, 1e-9))));
  // c 2, s 3; predicted 1, 2, 0; references 1 each: (2·3 − 3) / √((9 − 5)(9 − 3)) = 3 / √24
  EXPECT_THAT(metrics("glue/ax", {"entailment", "neutral", "neutral"},
                      {"entailment", "neutral", "contradiction"}),
              UnorderedElementsAre(Pair("matthews_correlation",
                                        ::testing::DoubleNear(100 * 3 / std::sqrt(24.0), 1e-9))));
  for (const auto* name :
       {"glue/mnli", "glue/mnli_mismatched", "glue/qnli", "glue/rte", "glue/wnli"}) {
    EXPECT_THAT(metrics(name, {"entailment"}, {"entailment"}),
                UnorderedElementsAre(Pair("accuracy", 100.0)));
  }
}

TEST(GlueScore, TakesWhatIsNoNumberAsMinusOne) {
  const Task& task = find_task("glue/stsb");
  const auto examples = labelled({"0.0", "2.0", "4.0"});
  EXPECT_EQ(task.score({"", "1", "5"}, examples), task.score({"-1", "1", "5"}, examples));
}

TEST(GlueScore, HasTheMetricThatPicksTheBest) {
  for (const auto& name : task_names()) {
    const Task& task = find_task(name);
    const std::string reference = !task.labels.empty() ? task.labels[0] : "1";
    EXPECT_TRUE(task.score({reference}, labelled({reference})).contains(task.best_metric)) << name;
  }
}

TEST(GlueScore, RefusesASplitWithoutLabels) {
  EXPECT_EQ(user_error([] {
              find_task("glue/sst2").score({"positive"}, {{"0", "input", "", {}}});
            }),
            "glue/sst2: example \"0\" has no label, so there is nothing to score; expected a "
            "labelled split such as "
            "dev");
  EXPECT_THROW(find_task("glue/sst2").score({}, labelled({"positive"})), std::invalid_argument);
}

class GluePredictionsTest : public ::testing::Test {
 protected:
  GluePredictionsTest() { set_log_level(LogLevel::kError); }  // empty predictions are warned about
  ~GluePredictionsTest() override { set_log_level(LogLevel::kInfo); }

  std::string error(const std::string& task, const std::string& bytes,
                    const std::vector<TaskExample>& examples) {
    dir_.write("p.tsv", bytes);
    const std::string text =
        user_error([&] { find_task(task).read_predictions(dir_ / "p.tsv", examples); });
    const std::string path = (dir_ / "p.tsv").string();
    EXPECT_EQ(text.substr(0, path.size()), path);
    return text.substr(path.size());
  }
  testing::TempDir dir_;
};

TEST_F(GluePredictionsTest, AreTheOfficialStringsAndComeBackAsLabelWords) {
  struct Case {
    std::string task;
    Texts words, official;
  };
  const std::vector<Case> cases = {
      {"glue/cola", {"unacceptable", "acceptable"}, {"0", "1"}},
      {"glue/sst2", {"negative", "positive"}, {"0", "1"}},
      {"glue/mrpc", {"not_equivalent", "equivalent"}, {"0", "1"}},
      {"glue/stsb", {"3.8", "0.25"}, {"3.8", "0.25"}},
      {"glue/qqp", {"not_duplicate", "duplicate"}, {"0", "1"}},
      {"glue/mnli", {"neutral", "contradiction"}, {"neutral", "contradiction"}},
      {"glue/mnli_mismatched", {"entailment", "neutral"}, {"entailment", "neutral"}},
      {"glue/qnli", {"entailment", "not_entailment"}, {"entailment", "not_entailment"}},
      {"glue/rte", {"not_entailment", "entailment"}, {"not_entailment", "entailment"}},
      {"glue/wnli", {"not_entailment", "entailment"}, {"0", "1"}},
      {"glue/ax", {"neutral", "contradiction"}, {"neutral", "contradiction"}},
  };
  for (const auto& [name, words, official] : cases) {
    SCOPED_TRACE(name);
    const Task& task = find_task(name);
    const auto examples = labelled({words[0], words[1], words[0]});
    const Texts predictions = {words[0], words[1], ""};
    const auto path = dir_ / "p.tsv";
    task.write_predictions(path, predictions, examples);
    EXPECT_EQ(read_file(path),
              "index\tprediction\n0\t" + official[0] + "\n1\t" + official[1] + "\n2\t\n");
    EXPECT_THAT(task.read_predictions(path, examples), ElementsAreArray(predictions));
  }
}

TEST_F(GluePredictionsTest, MayStandInAnyOrder) {
  const auto path = dir_.write("p.tsv", "index\tprediction\r\n1\t0\r\n0\t1\r\n");
  EXPECT_THAT(find_task("glue/sst2").read_predictions(path, labelled({"positive", "positive"})),
              ElementsAre("positive", "negative"));
}

TEST_F(GluePredictionsTest, RefuseMissingUnknownAndDoubledIds) {
  const auto examples = labelled({"positive", "negative"});
  EXPECT_EQ(error("glue/sst2", "index\tprediction\n0\t1\n", examples),
            ": no prediction for id \"1\"; expected one for each of the 2 examples");
  EXPECT_EQ(error("glue/sst2", "index\tprediction\n0\t1\n2\t1\n", examples),
            ":3: id \"2\" is not in the data; expected the ids of its 2 examples");
  EXPECT_EQ(error("glue/sst2", "index\tprediction\n0\t1\n0\t1\n", examples),
            ":3: id \"0\" is there twice; expected one prediction for each example");
}

TEST_F(GluePredictionsTest, RefuseWhatIsNotTheOfficialLayout) {
  const auto examples = labelled({"positive"});
  EXPECT_EQ(
      error("glue/sst2", "0\t1\n", examples),
      ":1: expected the header of a GLUE submission, index and prediction separated by a tab");
  EXPECT_EQ(error("glue/sst2", "index\tprediction\n0\tpositive\n", examples),
            ":2: prediction \"positive\"; expected 0 or 1");
  EXPECT_EQ(error("glue/stsb", "index\tprediction\n0\thigh\n", examples),
            ":2: prediction \"high\"; expected a number");
  EXPECT_EQ(error("glue/sst2", "index\tprediction\n0\n", examples),
            ":2: 1 column; expected 2 separated by tabs");
}

TEST_F(GluePredictionsTest, AreWrittenAfterPostprocessingOnly) {
  EXPECT_THROW(find_task("glue/sst2")
                   .write_predictions(dir_ / "p.tsv", {"Positive!"}, labelled({"positive"})),
               std::invalid_argument);
}

}  // namespace
}  // namespace altup
