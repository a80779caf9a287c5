// From the model's text to SuperGLUE's scores and submission files, and back.
#include <gmock/gmock.h>

#include <stdexcept>

#include "altup/tasks/task.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using testing::user_error;
using Texts = std::vector<std::string>;

const Task& superglue(const std::string& name) {
  return find_task("superglue/" + name);
}

std::vector<TaskExample> labelled(const Texts& references, const Texts& groups = {}) {
  std::vector<TaskExample> examples;
  for (size_t i = 0; i < references.size(); ++i) {
    examples.push_back({std::to_string(i), "input", references[i], {references[i]}});
    if (!groups.empty()) examples.back().group = groups[i];
  }
  return examples;
}

TEST(SuperGluePostprocess, KnowsTheLabelWordsOnly) {
  EXPECT_EQ(superglue("boolq").postprocess(" True\n", {}), "True");
  EXPECT_EQ(superglue("copa").postprocess("choice2", {}), "choice2");
  EXPECT_EQ(superglue("multirc").postprocess("False", {}), "False");
  for (const auto* text : {"true", "yes", "1", "True False", ""})
    EXPECT_EQ(superglue("boolq").postprocess(text, {}), "");
}

TEST(SuperGluePostprocess, TakesWscsAnswerForTheCandidate) {
  TaskExample example;
  example.context = "the worm";
  EXPECT_EQ(superglue("wsc").postprocess("worm", example), "True");
  EXPECT_EQ(superglue("wsc").postprocess("the fish", example), "False");
  EXPECT_EQ(superglue("wsc").postprocess("", example), "");
}

TEST(SuperGluePostprocess, TakesReCoRDsAnswerAsItStands) {
  EXPECT_EQ(superglue("record").postprocess(" The Hague ", {}), "The Hague");
}

TEST(SuperGlueScore, ReportsTheMetricsOfEachTask) {
  for (const std::string name : {"boolq", "wic", "wsc"}) {
    EXPECT_THAT(superglue(name).score({"True", ""}, labelled({"True", "False"})),
                UnorderedElementsAre(Pair("accuracy", 50.0)));
  }
  EXPECT_THAT(superglue("copa").score({"choice1"}, labelled({"choice1"})),
              UnorderedElementsAre(Pair("accuracy", 100.0)));
  EXPECT_THAT(superglue("rte").score({"entailment"}, labelled({"entailment"})),
              UnorderedElementsAre(Pair("accuracy", 100.0)));
  EXPECT_THAT(superglue("axb").score({"entailment", "not_entailment"},
                                     labelled({"not_entailment", "entailment"})),
              UnorderedElementsAre(Pair("matthews_correlation", DoubleNear(-100.0, 1e-9))));
  // entailment: TP 1, FP 1; contradiction: FN 1; neutral: TP 1: (2/3 + 0 + 1) / 3
  EXPECT_THAT(superglue("cb").score({"entailment", "entailment", "neutral"},
                                    labelled({"entailment", "contradiction", "neutral"})),
              UnorderedElementsAre(Pair("accuracy", DoubleNear(200.0 / 3, 1e-9)),
                                   Pair("f1_macro", DoubleNear(500.0 / 9, 1e-9))));
  // question a: right and wrong; question b: right. TP 1, FP 1
  EXPECT_THAT(
      superglue("multirc").score({"True", "True", "False"},
                                 labelled({"True", "False", "False"}, {"0-1", "0-1", "0-2"})),
      UnorderedElementsAre(Pair("exact_match", 50.0), Pair("f1a", DoubleNear(200.0 / 3, 1e-9))));
  // both pairs are right once; the second says the same of both
  EXPECT_THAT(
      superglue("axg").score({"entailment", "not_entailment", "entailment", "entailment"},
                             labelled({"entailment", "entailment", "entailment", "not_entailment"},
                                      {"0", "0", "2", "2"})),
      UnorderedElementsAre(Pair("accuracy", 50.0), Pair("gender_parity", 50.0)));
}

TEST(SuperGlueScore, TakesTheBestOfReCoRDsAnswers) {
  std::vector<TaskExample> examples = {{"0", "input", "Al", {"Al", "Bob Lee"}},
                                       {"1", "input", "Al", {"Al"}}};
  // exact after normalising, and half of the words of "Bob Lee": 2·1 / (1 + 2)
  EXPECT_THAT(superglue("record").score({"Bob", "the AL."}, examples),
              UnorderedElementsAre(Pair("exact_match", 50.0),
                                   Pair("f1", DoubleNear(100.0 * (2.0 / 3 + 1) / 2, 1e-9))));
}

TEST(SuperGlueScore, RefusesASplitWithoutLabels) {
  for (const std::string name : {"boolq", "multirc", "record", "wsc"}) {
    EXPECT_EQ(user_error([&] {
                superglue(name).score({""}, {{"0", "input", "", {}}});
              }),
              "superglue/" + name +
                  ": example \"0\" has no label, so there is nothing to score; expected a labelled "
                  "split such as dev");
  }
}

class SuperGluePredictionsTest : public ::testing::Test {
 protected:
  SuperGluePredictionsTest() { set_log_level(LogLevel::kError); }
  ~SuperGluePredictionsTest() override { set_log_level(LogLevel::kInfo); }

  // The error of reading, without the path.
  std::string error(const std::string& task, const std::string& bytes,
                    const std::vector<TaskExample>& examples) {
    const auto path = dir_.write("p.jsonl", bytes);
    const std::string text = user_error([&] { superglue(task).read_predictions(path, examples); });
    EXPECT_EQ(text.substr(0, path.string().size()), path.string());
    return text.substr(path.string().size());
  }
  testing::TempDir dir_;
};

TEST_F(SuperGluePredictionsTest, AreTheOfficialLabelsAndComeBackAsWords) {
  struct Case {
    std::string task;
    Texts words, json;
  };
  const std::vector<Case> cases = {
      {"boolq", {"False", "True"}, {"\"false\"", "\"true\""}},
      {"cb", {"contradiction", "neutral"}, {"\"contradiction\"", "\"neutral\""}},
      {"copa", {"choice1", "choice2"}, {"0", "1"}},
      {"rte", {"entailment", "not_entailment"}, {"\"entailment\"", "\"not_entailment\""}},
      {"wic", {"False", "True"}, {"\"false\"", "\"true\""}},
      {"wsc", {"False", "True"}, {"\"False\"", "\"True\""}},
      {"axb", {"entailment", "not_entailment"}, {"\"entailment\"", "\"not_entailment\""}},
      {"axg", {"entailment", "not_entailment"}, {"\"entailment\"", "\"not_entailment\""}},
      {"record", {"Bob \"Al\" Lee", "Zoë"}, {"\"Bob \\\"Al\\\" Lee\"", "\"Zoë\""}},
  };
  for (const auto& [name, words, json] : cases) {
    SCOPED_TRACE(name);
    const auto examples = labelled({words[0], words[1], words[0]});
    const Texts predictions = {words[0], words[1], ""};
    superglue(name).write_predictions(dir_ / "p.jsonl", predictions, examples);
    EXPECT_EQ(read_file(dir_ / "p.jsonl"), "{\"idx\": 0, \"label\": " + json[0] +
                                               "}\n{\"idx\": 1, \"label\": " + json[1] +
                                               "}\n{\"idx\": 2, \"label\": \"\"}\n");
    EXPECT_THAT(superglue(name).read_predictions(dir_ / "p.jsonl", examples),
                ElementsAreArray(predictions));
  }
}

TEST_F(SuperGluePredictionsTest, HoldAReCoRDQueryOfTrainingOnce) {
  auto examples = labelled({"Bob", "Al", "Zoë"});
  examples[0].id = "-3";
  examples[1].id = "-3-1";  // another answer of the first query
  superglue("record").write_predictions(dir_ / "p.jsonl", {"Bob", "Bob", "Zoë"}, examples);
  EXPECT_EQ(read_file(dir_ / "p.jsonl"),
            "{\"idx\": -3, \"label\": \"Bob\"}\n{\"idx\": 2, \"label\": \"Zoë\"}\n");
  EXPECT_THAT(superglue("record").read_predictions(dir_ / "p.jsonl", examples),
              ElementsAre("Bob", "Bob", "Zoë"));
}

TEST_F(SuperGluePredictionsTest, TakeBooleansHoweverTheyAreWritten) {
  const auto path = dir_.write("p.jsonl",
                               "{\"idx\": 0, \"label\": true}\n{\"idx\": 3, \"label\": \"False\"}\n"
                               "{\"idx\": 2, \"label\": \"true\"}\n{\"idx\": 1, \"label\": false}");
  for (const std::string name : {"boolq", "wic", "wsc"}) {
    EXPECT_THAT(superglue(name).read_predictions(path, labelled({"True", "True", "True", "True"})),
                ElementsAre("True", "False", "True", "False"));
  }
}

std::vector<TaskExample> multirc_examples() {
  std::vector<TaskExample> examples;
  for (const std::string id : {"0-4-0", "0-4-1", "0-5-2", "3-6-3"}) {
    examples.push_back({id, "input", "True", {"True"}});
    examples.back().group = id.substr(0, 3);
  }
  return examples;
}

TEST_F(SuperGluePredictionsTest, NestForMultiRc) {
  const auto examples = multirc_examples();
  const Texts predictions = {"True", "False", "", "True"};
  superglue("multirc").write_predictions(dir_ / "p.jsonl", predictions, examples);
  EXPECT_EQ(
      read_file(dir_ / "p.jsonl"),
      R"({"idx": 0, "passage": {"questions": [{"idx": 4, "answers": [{"idx": 0, "label": 1}, )"
      R"({"idx": 1, "label": 0}]}, {"idx": 5, "answers": [{"idx": 2, "label": ""}]}]}})"
      "\n"
      R"({"idx": 3, "passage": {"questions": [{"idx": 6, "answers": [{"idx": 3, "label": 1}]}]}})"
      "\n");
  EXPECT_THAT(superglue("multirc").read_predictions(dir_ / "p.jsonl", examples),
              ElementsAreArray(predictions));
}

TEST_F(SuperGluePredictionsTest, OfARealFileComeBackAndScoreFully) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "superglue");
  const std::vector<std::pair<std::string, std::string>> files = {
      {"boolq", "BoolQ/dev32_fewglue.jsonl"},
      {"cb", "CB/val.jsonl"},
      {"copa", "COPA/train.jsonl"},
      {"multirc", "MultiRC/dev32_fewglue.jsonl"},
      {"record", "ReCoRD/train32_fewglue.jsonl"},
      {"rte", "RTE/val.jsonl"},
      {"wic", "WiC/dev32_fewglue.jsonl"},
      {"wsc", "WSC/train.jsonl"}};
  for (const auto& [name, file] : files) {
    SCOPED_TRACE(name);
    const Task& task = superglue(name);
    const auto examples = task.load(root / file, "dev");
    Texts predictions;
    for (const auto& example : examples) predictions.push_back(example.references.front());
    task.write_predictions(dir_ / "p.jsonl", predictions, examples);
    const auto back = task.read_predictions(dir_ / "p.jsonl", examples);
    EXPECT_EQ(back, predictions);
    for (const auto& [metric, value] : task.score(back, examples))
      EXPECT_EQ(value, 100.0) << metric;
  }
}

TEST_F(SuperGluePredictionsTest, RefuseMissingUnknownAndDoubledIds) {
  const auto examples = labelled({"True", "False"});
  EXPECT_EQ(error("boolq", "{\"idx\": 0, \"label\": true}\n", examples),
            ": no prediction for id \"1\"; expected one for each of the 2 examples");
  EXPECT_EQ(
      error("boolq", "{\"idx\": 0, \"label\": true}\n{\"idx\": 2, \"label\": true}\n", examples),
      ":2: id \"2\" is not in the data; expected the ids of its 2 examples");
  EXPECT_EQ(
      error("boolq", "{\"idx\": 0, \"label\": true}\n{\"idx\": 0, \"label\": true}\n", examples),
      ":2: id \"0\" is there twice; expected one prediction for each example");
  EXPECT_EQ(error("multirc",
                  R"({"idx": 0, "passage": {"questions": [{"idx": 9, "answers": [)"
                  R"({"idx": 0, "label": 1}]}]}})",
                  multirc_examples()),
            ":1: id \"0-9-0\" is not in the data; expected the ids of its 4 examples");
}

TEST_F(SuperGluePredictionsTest, RefuseWhatIsNotTheOfficialLayout) {
  const auto examples = labelled({"True"});
  EXPECT_EQ(error("boolq", "{\"idx\": 0, \"label\": 1}\n", examples),
            ":1: \"label\" is the number 1; expected false or true");
  EXPECT_EQ(error("boolq", "{\"idx\": 0}\n", examples),
            ":1: \"label\" is missing; expected false or true");
  EXPECT_EQ(error("copa", "{\"idx\": 0, \"label\": \"choice1\"}\n", examples),
            ":1: \"label\" is the text \"choice1\"; expected 0 or 1");
  EXPECT_EQ(error("record", "{\"idx\": 0, \"label\": 3}\n", examples),
            ":1: \"label\" is the number 3; expected a text");
  EXPECT_EQ(error("multirc", "{\"idx\": 0, \"label\": 3}\n", examples),
            ":1: \"passage.questions\" is missing; expected an array");
}

TEST_F(SuperGluePredictionsTest, AreWrittenAfterPostprocessingOnly) {
  EXPECT_THROW(superglue("boolq").write_predictions(dir_ / "p", {"yes"}, labelled({"True"})),
               std::invalid_argument);
  EXPECT_THROW(superglue("multirc").write_predictions(dir_ / "p", {"yes"}, {multirc_examples()[0]}),
               std::invalid_argument);
  EXPECT_THROW(superglue("multirc").write_predictions(dir_ / "p", {}, multirc_examples()),
               std::invalid_argument);
}

}  // namespace
}  // namespace altup
