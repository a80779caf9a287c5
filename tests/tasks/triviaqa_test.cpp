#include <gmock/gmock.h>

#include "altup/tasks/task.h"
#include "altup/util/files.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::user_error;
using Texts = std::vector<std::string>;

const char* const kUnfiltered = R"({"Data": [
{"Question": "Who  wrote \"Emma\"?", "QuestionId": "tc_1", "EntityPages": [], "SearchResults": [],
 "Answer": {"Value": "Jane Austen", "Aliases": ["Jane Austen", "J. Austen"],
            "NormalizedAliases": ["jane austen", "j austen"]}},
{"Question": "How many?", "QuestionId": "tc_2",
 "SearchResults": [{"Description": "…", "Filename": "1/1_1.txt"}],
 "Answer": {"Value": "Two", "NormalizedAliases": ["2", "two"], "HumanAnswers": ["a pair"]}}],
"Domain": "unfiltered", "VerifiedEval": false, "Version": 1.0})";

// The domain Web is scored by document: two of the first question, one of which is listed twice,
// one of the second, none of the third.
const char* const kWeb = R"({"Data": [
{"Question": "Q1?", "QuestionId": "q1", "QuestionPartOfVerifiedEval": true,
 "Answer": {"Value": "Yes", "NormalizedAliases": ["yes"]},
 "EntityPages": [{"Filename": "A.txt", "DocPartOfVerifiedEval": false}],
 "SearchResults": [{"Filename": "1/2.txt", "DocPartOfVerifiedEval": true}, {"Filename": "A.txt"}]},
{"Question": "Q2?", "QuestionId": "q2", "QuestionPartOfVerifiedEval": false,
 "Answer": {"Value": "No", "NormalizedAliases": ["no"]}, "EntityPages": [{"Filename": "A.txt"}]},
{"Question": "Q3?", "QuestionId": "q3", "Answer": {"Value": "No", "NormalizedAliases": ["no"]}}],
"Domain": "Web", "VerifiedEval": false, "Version": 1.0})";

Texts ids_of(const std::vector<TaskExample>& examples) {
  Texts ids;
  for (const auto& example : examples) ids.push_back(example.id);
  return ids;
}

class TriviaqaTest : public ::testing::Test {
 protected:
  std::vector<TaskExample> load(const std::string& bytes, std::string_view split = "dev") {
    return task_.load(dir_.write("data.json", bytes), split);
  }
  std::string load_error(const std::string& bytes) {
    const std::string path = (dir_ / "data.json").string();
    const std::string text = user_error([&] { load(bytes); });
    EXPECT_EQ(text.substr(0, path.size()), path);
    return text.substr(path.size());
  }
  Metrics score_file(const std::string& predictions, const std::vector<TaskExample>& examples) {
    Metrics metrics;
    ::testing::internal::CaptureStderr();
    EXPECT_NO_THROW(
        metrics = task_.score(task_.read_predictions(dir_.write("p.json", predictions), examples),
                              examples));
    log_ = ::testing::internal::GetCapturedStderr();
    return metrics;
  }
  const Task& task_ = find_task("triviaqa");
  testing::TempDir dir_;
  std::string log_;
};

TEST_F(TriviaqaTest, GivesT5sClosedBookPromptAndTheValue) {
  const auto examples = load(kUnfiltered);
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].id, "tc_1");
  EXPECT_EQ(examples[0].input, "trivia_qa question: Who  wrote \"Emma\"?");
  EXPECT_EQ(examples[0].target, "Jane Austen");
  EXPECT_THAT(examples[0].references, ElementsAre("jane austen", "j austen"));
  EXPECT_EQ(examples[1].target, "Two");
  EXPECT_THAT(examples[1].references, ElementsAre("2", "two", "a pair"));
}

TEST_F(TriviaqaTest, TakesAFileOrTheDirectoryOfTheOfficialOnes) {
  dir_.write("a/triviaqa-unfiltered/unfiltered-web-train.json", kUnfiltered);
  dir_.write("a/triviaqa-unfiltered/unfiltered-web-test-without-answers.json", kUnfiltered);
  dir_.write("b/unfiltered-web-dev.json", kUnfiltered);
  dir_.write("c/triviaqa/triviaqa-unfiltered/unfiltered-web-dev.json", kUnfiltered);
  EXPECT_EQ(task_.load(dir_ / "c", "dev").size(), 2U);  // as scripts/download_data.sh lays it out
  EXPECT_EQ(task_.load(dir_ / "a", "train").size(), 2U);
  EXPECT_EQ(task_.load(dir_ / "a", "test").size(), 2U);
  EXPECT_EQ(task_.load(dir_ / "b", "dev").size(), 2U);
  const std::string b = (dir_ / "b").string();
  EXPECT_EQ(
      user_error([&] { task_.load(b, "train"); }),
      b +
          "/triviaqa-unfiltered/unfiltered-web-train.json: is not there; expected the official "
          "file here or at " +
          b + "/unfiltered-web-train.json or " + b + "/unfiltered-train.json, or so below " + b +
          "/triviaqa");
}

TEST_F(TriviaqaTest, TakesATestFileWithoutAnswers) {
  const auto examples = load(R"({"Data": [{"Question": "Q?", "QuestionId": "q"}]})", "test");
  ASSERT_EQ(examples.size(), 1U);
  EXPECT_EQ(examples[0].input, "trivia_qa question: Q?");
  EXPECT_EQ(examples[0].target, "");
  EXPECT_THAT(examples[0].references, IsEmpty());
  EXPECT_THAT(user_error([&] { task_.score({"c"}, examples); }), HasSubstr("nothing to score"));
}

TEST_F(TriviaqaTest, TakesTheAliasesWhereTheNormalisedOnesAreMissing) {
  const auto examples = load(
      R"({"Data": [{"Question": "Q?", "QuestionId": "q", "Answer": {"Value": "A", "Aliases": ["A", "The B"]}}]})");
  EXPECT_THAT(examples[0].references, ElementsAre("A", "The B"));
  EXPECT_EQ(task_.score({"b!"}, examples).at("exact_match"), 100.0);
}

TEST_F(TriviaqaTest, CountsTheWebFilesByDocumentAsTheOfficialScorerDoes) {
  EXPECT_THAT(ids_of(load(kWeb)), ElementsAre("q1--A.txt", "q1--1/2.txt", "q2--A.txt"));
  EXPECT_EQ(load(kWeb)[1].input, "trivia_qa question: Q1?");
  EXPECT_THAT(ids_of(load(kWeb, "train")), ElementsAre("q1", "q2", "q3"));
  // the closed-book set is counted by question, whatever it calls its domain
  EXPECT_THAT(ids_of(task_.load(dir_.write("unfiltered-web-dev.json", kWeb), "dev")),
              ElementsAre("q1", "q2", "q3"));
}

TEST_F(TriviaqaTest, SaysWhichOfTheTwoItCounts) {
  ::testing::internal::CaptureStderr();
  load(kWeb);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("triviaqa: scored by question and document: 3\n"));
  ::testing::internal::CaptureStderr();
  load(kUnfiltered);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("triviaqa: scored by question: 2\n"));
}

TEST_F(TriviaqaTest, TakesOfAVerifiedFileWhatIsVerified) {
  std::string bytes = kWeb;
  bytes.replace(bytes.find("\"VerifiedEval\": false"), 21, "\"VerifiedEval\": true");
  EXPECT_THAT(ids_of(load(bytes)), ElementsAre("q1--1/2.txt"));
}

TEST_F(TriviaqaTest, SaysWhatTheLayoutLacks) {
  EXPECT_EQ(load_error(R"({"data": []})"),
            ":1: the file has no \"Data\"; expected the layout of TriviaQA");
  EXPECT_EQ(load_error("{\"Data\": [\n{\"Question\": \"Q?\",\n\"QuestionId\": 5}]}"),
            ":3: Data[0].QuestionId is not a string; expected the layout of TriviaQA");
  EXPECT_EQ(load_error("{\"Data\": [\n{\"Question\": \"Q?\", \"QuestionId\": \"q\"}]}"),
            ":2: Data[0] has no \"Answer\"; expected the layout of TriviaQA");
  EXPECT_EQ(load_error("{\"Data\": [{\"Question\": \"Q?\", \"QuestionId\": \"q\",\n\"Answer\": "
                       "{\"Value\": \"a\", \"NormalizedAliases\": []}}]}"),
            ":2: question \"q\" has no answers; expected at least one in a dev file (only the test "
            "split may have none)");
  EXPECT_EQ(load_error(R"({"Data": []})"), ": has no questions; expected at least one");
  const std::string question =
      "{\"Question\": \"Q?\",\n\"QuestionId\": \"q\", \"Answer\": {\"Value\": \"a\", "
      "\"NormalizedAliases\": [\"a\"]}}";
  EXPECT_EQ(load_error("{\"Data\": [" + question + "," + question + "]}"),
            ":3: question id \"q\" is there twice; expected each id once");
  EXPECT_THAT(load_error("{\"Data\": [\n"), HasSubstr(":2: the JSON is cut off"));
}

TEST_F(TriviaqaTest, ScoresByItsOwnNormaliserAndTheBestAlias) {
  const auto examples = load(kUnfiltered);
  EXPECT_EQ(task_.score({"J.Austen", "A_pair!"}, examples),
            (Metrics{{"exact_match", 100.0}, {"f1", 100.0}}));
  // {"jane"} and {"jane", "austen"}: precision 1, recall 1/2, F1 2/3; "2 3" and "2": the same
  const auto metrics = task_.score({"Jane", "2 3"}, examples);
  EXPECT_EQ(metrics.at("exact_match"), 0.0);
  EXPECT_NEAR(metrics.at("f1"), 100.0 * 2 / 3, 1e-12);
}

TEST_F(TriviaqaTest, CountsMissingAnswersAsWrongAndWarnsOnce) {
  EXPECT_EQ(score_file(R"({"tc_2": "two", "tc_9": "x"})", load(kUnfiltered)),
            (Metrics{{"exact_match", 50.0}, {"f1", 50.0}}));
  EXPECT_THAT(log_, HasSubstr("no prediction for 1 of 2 examples; each counts as wrong"));
  EXPECT_THAT(log_, HasSubstr("left out 1 prediction whose id is not in the data"));
}

TEST_F(TriviaqaTest, PredictionsGoToTheOfficialLayoutAndBack) {
  const auto examples = load(kUnfiltered);
  const Texts predictions = {"Jane \"A\"\n", "zwölf"};
  task_.write_predictions(dir_ / "p.json", predictions, examples);
  EXPECT_EQ(read_file(dir_ / "p.json"),
            "{\n  \"tc_1\": \"Jane \\\"A\\\"\\n\",\n  \"tc_2\": \"zwölf\"\n}\n");
  EXPECT_EQ(task_.read_predictions(dir_ / "p.json", examples), predictions);
}

TEST_F(TriviaqaTest, PostprocessOnlyTrims) {
  EXPECT_EQ(task_.postprocess("  The Beatles \n", {}), "The Beatles");
}

TEST(TriviaqaRealFiles, LoadWithTheirCounts) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "triviaqa");
  const Task& task = find_task("triviaqa");
  const auto count = [&](const std::string& file, std::string_view split) {
    return task.load(root / file, split).size();
  };
  EXPECT_EQ(count("", "train"), 800U);
  EXPECT_EQ(count("", "dev"), 200U);
  EXPECT_EQ(count("official_layout/qa/web-train.json", "train"), 3U);
  EXPECT_EQ(count("official_layout/qa/wikipedia-train.json", "train"), 4U);
  EXPECT_EQ(count("official_layout/qa/wikipedia-dev.json", "dev"), 2U);
  EXPECT_EQ(count("official_layout/qa/web-dev.json", "dev"), 5U);
  for (const auto& example : task.load(root, "dev")) {
    ASSERT_EQ(task.score({example.target}, {example}).at("exact_match"), 100.0) << example.id;
  }
}

TEST(TriviaqaRealFiles, TheOfficialSampleHasItsOfficialFigures) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "triviaqa");
  // One question with two documents, one of them answered, rightly.
  const Task& task = find_task("triviaqa");
  const auto examples = task.load(root / "triviaqa_sample.json", "dev");
  EXPECT_EQ(examples.size(), 2U);
  ::testing::internal::CaptureStderr();
  const auto predictions = task.read_predictions(root / "sample_predictions.json", examples);
  ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(task.score(predictions, examples), (Metrics{{"exact_match", 50.0}, {"f1", 50.0}}));
}

}  // namespace
}  // namespace altup
