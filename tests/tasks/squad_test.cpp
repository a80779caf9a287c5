#include <gmock/gmock.h>

#include "altup/tasks/task.h"
#include "altup/util/files.h"
#include "tests/support/paths.h"
#include "tests/tasks/expect_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::user_error;
using Texts = std::vector<std::string>;

const char* const kFile = R"({"version": "1.1", "data": [{"title": "Army", "paragraphs": [
{"context": "In 1990 the U.S. Army, as\n planned, paid $1,000.", "qas": [
  {"id": "q1", "question": "Who  paid?", "answers": [
     {"answer_start": 8, "text": "the U.S. Army"}, {"answer_start": 12, "text": "U.S. Army"}]},
  {"id": "q2", "question": "How much?", "answers": [{"answer_start": 39, "text": "$1,000"}]}]}]}]})";

class SquadTest : public ::testing::Test {
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
  std::string read_error(const std::string& bytes) {
    const auto path = dir_.write("p.json", bytes);
    const std::string text = user_error([&] { task_.read_predictions(path, load(kFile)); });
    EXPECT_EQ(text.substr(0, path.string().size()), path.string());
    return text.substr(path.string().size());
  }
  const Task& task_ = find_task("squad");
  testing::TempDir dir_;
};

TEST_F(SquadTest, GivesT5sPromptAndTheFirstAnswer) {
  const auto examples = load(kFile);
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].id, "q1");
  EXPECT_EQ(
      examples[0].input,
      "question: Who paid ? context: In 1990 the U . S . Army , as planned , paid $ 1 , 000 . ");
  EXPECT_EQ(examples[0].target, "the U . S . Army");
  EXPECT_THAT(examples[0].references, ElementsAre("the U.S. Army", "U.S. Army"));
  EXPECT_EQ(examples[1].target, " $ 1 , 000");
}

TEST_F(SquadTest, TakesAFileOrTheDirectoryOfTheOfficialOnes) {
  dir_.write("dev-v1.1.json", kFile);
  dir_.write("train-v1.1.json", kFile);
  EXPECT_EQ(task_.load(dir_.path(), "train").size(), 2U);
  EXPECT_EQ(task_.load(dir_.path(), "dev").size(), 2U);
  EXPECT_EQ(user_error([&] { task_.load(dir_.path(), "test"); }),
            (dir_ / "test-v1.1.json").string() + ": is not there; expected the official file");
}

TEST_F(SquadTest, TakesATestFileWithoutAnswers) {
  const auto examples = load(
      R"({"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "q", "question": "Q?"}]}]}]})",
      "test");
  ASSERT_EQ(examples.size(), 1U);
  EXPECT_EQ(examples[0].input, "question: Q ? context: c");
  EXPECT_EQ(examples[0].target, "");
  EXPECT_THAT(examples[0].references, IsEmpty());
  EXPECT_THAT(user_error([&] { task_.score({"c"}, examples); }), HasSubstr("nothing to score"));
}

TEST_F(SquadTest, SaysWhereTheJsonIsBroken) {
  EXPECT_EQ(load_error("{\"data\": [\n  {\"title\": \"x\",\n  }\n]}").substr(0, 27),
            ":3: broken JSON at byte 31;");
  EXPECT_EQ(load_error("{\"data\": [\n\n").substr(0, 15), ":3: broken JSON");
}

TEST_F(SquadTest, SaysWhatTheLayoutLacks) {
  EXPECT_EQ(load_error("[]"), ": the file has no \"data\"; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": 5, "qas": []}]}]})"),
            ": data[0].paragraphs[0].context is not a string; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": {}}]})"),
            ": data[0].paragraphs is not a list; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error(R"({"data": []})"), ": has no questions; expected at least one");
}

TEST_F(SquadTest, RefusesDoubledIdsAndMissingAnswers) {
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": "c", "qas": [
      {"id": "q", "question": "Q?", "answers": [{"text": "c"}]},
      {"id": "q", "question": "R?", "answers": [{"text": "c"}]}]}]}]})"),
            ": question id \"q\" is there twice; expected each id once");
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": "c", "qas": [
      {"id": "q", "question": "Q?", "answers": []}]}]}]})"),
            ": question \"q\" has no answers; expected at least one in a dev file (only the test "
            "split may have none)");
}

TEST_F(SquadTest, AnAnswerInT5sSpellingScoresAsThePassages) {
  const auto examples = load(kFile);
  Texts predictions;
  for (const auto& example : examples)
    predictions.push_back(task_.postprocess(example.target, example));
  EXPECT_THAT(predictions, ElementsAre("the U.S. Army", "$1,000"));
  EXPECT_EQ(task_.score(predictions, examples), (Metrics{{"exact_match", 100.0}, {"f1", 100.0}}));
}

TEST_F(SquadTest, ScoresAsTheOfficialScorerWithoutRespelling) {
  // "u s" is not "us": exact match 50; F1 of {"u", "s", "army"} and {"us", "army"} is 2·1/5
  const auto metrics = task_.score({"U . S . Army", "1000"}, load(kFile));
  EXPECT_EQ(metrics.at("exact_match"), 50.0);
  EXPECT_NEAR(metrics.at("f1"), (40.0 + 100.0) / 2, 1e-9);
}

TEST_F(SquadTest, PredictionsGoToTheOfficialLayoutAndBack) {
  const auto examples = load(kFile);
  const Texts predictions = {"say \"é\"\n\\", ""};
  const auto path = dir_ / "p.json";
  task_.write_predictions(path, predictions, examples);
  EXPECT_EQ(read_file(path), "{\n  \"q1\": \"say \\\"é\\\"\\n\\\\\",\n  \"q2\": \"\"\n}\n");
  EXPECT_EQ(task_.read_predictions(path, examples), predictions);
}

TEST_F(SquadTest, RefusesMissingUnknownAndDoubledIds) {
  EXPECT_EQ(read_error("{\"q1\": \"a\"}"),
            ": no prediction for id \"q2\"; expected one for each of the 2 examples");
  EXPECT_EQ(read_error("{\n\"q1\": \"q3\",\n\"q2\": \"b\",\n\"q3\": \"c\"}"),
            ":4: id \"q3\" is not in the data; expected the ids of its 2 examples");
  EXPECT_EQ(read_error("{\n\"q1\": \"a\",\n\"q1\": \"b\",\n\"q2\": \"c\"}"),
            ":3: id \"q1\" is there twice; expected one prediction for each example");
}

TEST_F(SquadTest, RefusesPredictionsOfAnotherLayout) {
  EXPECT_EQ(read_error("[\"a\"]").substr(0, 29), ":1: is not a JSON object; exp");
  EXPECT_EQ(read_error("{\"q1\": \"a\",\n\"q2\": {\"q1\": 2}}"),
            ":2: the answer of \"q2\" is not a string; expected a text");
  EXPECT_EQ(read_error("{\"q1\": \"a\",\n\"q2\"}").substr(0, 15), ":2: broken JSON");
}

TEST(SquadRealFiles, LoadAndTheirTargetsScoreFull) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "squad");
  const Task& task = find_task("squad");
  const std::vector<std::pair<std::string, size_t>> files = {
      {"fixture.json", 5}, {"train_notre_dame.json", 269}, {"train_derived.json", 4585}};
  for (const auto& [file, count] : files) {
    SCOPED_TRACE(file);
    const auto examples = task.load(root / file, "train");
    EXPECT_EQ(examples.size(), count);
    Texts perfect;
    for (const auto& example : examples)
      perfect.push_back(task.postprocess(example.target, example));
    const auto metrics = task.score(perfect, examples);
    // An answer that is cut out of the middle of a word ("1990" of "1990s") is no whole word of the
    // passage; those keep T5's spelling, which the official scorer does not take for the same when
    // there is a mark in them.
    EXPECT_GT(metrics.at("exact_match"), 99.0);
    EXPECT_GT(metrics.at("f1"), 99.0);
  }
}

}  // namespace
}  // namespace altup
