#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

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
            (dir_ / "test-v1.1.json").string() +
                ": is not there; expected the official file here, or so below " +
                (dir_ / "squad").string());
}

TEST_F(SquadTest, TakesADirectoryForTheDataOfAllTasks) {
  dir_.write("squad/dev-v1.1.json", kFile);
  EXPECT_EQ(task_.load(dir_.path(), "dev").size(), 2U);
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
}

TEST_F(SquadTest, RefusesJsonThatIsNestedWithoutEnd) {
  const auto nested = [](size_t depth) {
    return "{\"x\":\n" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_EQ(load_error(nested(100)),
            ":1: the file has no \"data\"; expected the layout of SQuAD v1.1");
  for (const size_t depth : {size_t{101}, size_t{1'000'000}}) {
    EXPECT_EQ(load_error(nested(depth)),
              ":2: the JSON is nested deeper than 100 levels; expected the few of a data file");
  }
}

TEST_F(SquadTest, SaysWhereAFileIsCutOff) {
  const std::string whole = kFile;
  const auto lines = [&](size_t bytes) {
    return std::count(whole.begin(), whole.begin() + static_cast<int64_t>(bytes), '\n') + 1;
  };
  for (const size_t bytes : {size_t{1}, size_t{40}, whole.size() / 2, whole.size() - 1}) {
    EXPECT_EQ(load_error(whole.substr(0, bytes)),
              ":" + std::to_string(lines(bytes)) +
                  ": the JSON is cut off at the end of the file (byte " + std::to_string(bytes) +
                  "); expected one whole JSON object");
  }
  EXPECT_EQ(
      load_error(""),
      ":1: the JSON is cut off at the end of the file (byte 0); expected one whole JSON object");
}

TEST_F(SquadTest, SaysWhichByteIsNoUtf8) {
  std::string bytes = kFile;
  bytes.replace(bytes.find("Who  paid?"), 3, "W\xE9o");
  EXPECT_EQ(load_error(bytes), ":3: byte " + std::to_string(bytes.find('\xE9') + 1) +
                                   " is not valid UTF-8; expected UTF-8 text");
}

TEST_F(SquadTest, TakesAByteOrderMarkAndCarriageReturns) {
  std::string bytes = "\xEF\xBB\xBF";
  for (const char c : std::string(kFile)) bytes += c == '\n' ? "\r\n" : std::string(1, c);
  const auto plain = load(kFile);
  const auto other = load(bytes);
  ASSERT_EQ(other.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(other[i].input, plain[i].input);
}

TEST_F(SquadTest, RefusesTheSecondVersion) {
  EXPECT_EQ(
      load_error(R"({"version": "v2.0", "data": [{"paragraphs": [{"context": "c", "qas": [
      {"id": "q", "question": "Q?", "answers": [],
       "is_impossible": true}]}]}]})"),
      ":3: \"is_impossible\" makes this a file of SQuAD v2.0, whose unanswerable questions have "
      "another scorer; expected SQuAD v1.1");
}

TEST_F(SquadTest, SaysWhatTheLayoutLacks) {
  EXPECT_EQ(load_error("[]"), ":1: the file has no \"data\"; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": 5, "qas": []}]}]})"),
            ":1: data[0].paragraphs[0].context is not a string; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error("{\"data\": [\n{\"paragraphs\": []},\n{\"paragraphs\":\n{}}]}"),
            ":4: data[1].paragraphs is not a list; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error("{\"data\": [\n{\"paragraphs\": []},\n7\n]}"),
            ":3: data[1] has no \"paragraphs\"; expected the layout of SQuAD v1.1");
  EXPECT_EQ(load_error(R"({"data": []})"), ": has no questions; expected at least one");
}

TEST_F(SquadTest, RefusesDoubledIdsAndMissingAnswers) {
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": "c", "qas": [
      {"id": "q", "question": "Q?", "answers": [{"text": "c"}]},
      {"id": "q", "question": "R?", "answers": [{"text": "c"}]}]}]}]})"),
            ":3: question id \"q\" is there twice; expected each id once");
  EXPECT_EQ(load_error(R"({"data": [{"paragraphs": [{"context": "c", "qas": [
      {"id": "q", "question": "Q?", "answers": []}]}]}]})"),
            ":2: question \"q\" has no answers; expected at least one in a dev file (only the test "
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

// What `run` logs.
std::string logged(const std::function<void()>& run) {
  ::testing::internal::CaptureStderr();
  EXPECT_NO_THROW(run());
  return ::testing::internal::GetCapturedStderr();
}

TEST_F(SquadTest, MissingAnswersCountAsWrongAndUnknownOnesAsNothing) {
  const auto examples = load(kFile);
  const auto path = dir_.write("p.json", R"({"q2": "1000", "q3": "c", "q4": "d", "q5": "e"})");
  Metrics metrics;
  const std::string log =
      logged([&] { metrics = task_.score(task_.read_predictions(path, examples), examples); });
  EXPECT_EQ(metrics, (Metrics{{"exact_match", 50.0}, {"f1", 50.0}}));  // q2 of two
  EXPECT_THAT(log, HasSubstr("p.json: no prediction for 1 of 2 examples; each counts as wrong\n"));
  EXPECT_THAT(log, HasSubstr("p.json: left out 3 predictions whose id is not in the data\n"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2);
}

TEST_F(SquadTest, AMissingAnswerIsNotTheEmptyOne) {
  // The normaliser leaves nothing of "The": the empty answer is right, no answer is wrong.
  const auto examples = load(R"({"data": [{"paragraphs": [{"context": "The The", "qas": [
      {"id": "q1", "question": "Q?", "answers": [{"text": "The"}]},
      {"id": "q2", "question": "Q?", "answers": [{"text": "The"}]}]}]}]})");
  const auto exact_match = [&](const std::string& predictions) {
    double percent = 0.0;
    logged([&] {
      const auto read = task_.read_predictions(dir_.write("p.json", predictions), examples);
      percent = task_.score(read, examples).at("exact_match");
    });
    return percent;
  };
  EXPECT_EQ(exact_match(R"({"q1": "", "q2": ""})"), 100.0);
  EXPECT_EQ(exact_match(R"({"q1": ""})"), 50.0);
}

TEST_F(SquadTest, RefusesDoubledIdsAndTheWrongFile) {
  EXPECT_EQ(read_error("{\n\"q1\": \"q1\",\n\"q1\": \"b\",\n\"q2\": \"c\"}"),
            ":3: id \"q1\" is there twice; expected one prediction for each example");
  EXPECT_EQ(read_error("{\n\"q9\": \"q1\",\n\"q\\u0039\": \"b\",\n\"q2\": \"c\"}"),
            ":3: id \"q9\" is there twice; expected one prediction for each example");
  EXPECT_EQ(read_error("{\"a\": \"q1\", \"b\": \"q2\"}"),
            ": has 2 predictions, none of them for the data; expected ids such as \"q1\"");
  EXPECT_EQ(read_error("{}"),
            ": has 0 predictions, none of them for the data; expected ids such as \"q1\"");
}

TEST_F(SquadTest, RefusesPredictionsOfAnotherLayout) {
  EXPECT_EQ(read_error("[\"a\"]").substr(0, 29), ":1: is not a JSON object; exp");
  EXPECT_EQ(read_error("{\"q1\": \"a\",\n\"q2\": {\"q1\": 2}}"),
            ":2: the answer of \"q2\" is not a string; expected a text");
  EXPECT_EQ(read_error("{\"q1\": \"a\",\n\"q2\": null\n}"),
            ":2: the answer of \"q2\" is not a string; expected a text");
  EXPECT_EQ(read_error("{\"q1\": \"a\",\n\"q2\": [\"a\"]}"),
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
