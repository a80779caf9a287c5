// A user's own task at work: rows to examples, the model's text to figures and files, and back.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <stdexcept>

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

const char* const kSpam = R"([task]
name = "spam"
format = "tsv"
train = "train.tsv"
dev = "sub/dev.tsv"
test = "test.tsv"
prompt = "{{sms}} {text} of {from}"
target = "{label}"
labels = { 0 = "ham", 1 = "spam", maybe = "unsure" }
metrics = ["accuracy", "f1", "f1_macro", "matthews_correlation"]
positive = "spam"
)";

const char* const kAnswers = R"([task]
name = "answers"
format = "jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
id = "key"
prompt = "question: {q.text}"
references = "answers"
metrics = ["word_f1", "exact_match"]
)";

const char* const kScores = R"([task]
name = "scores"
format = "jsonl"
dev = "dev.jsonl"
prompt = "{a} / {b}"
target = "{score}"
metrics = ["spearman", "pearson"]
)";

class OwnTaskTest : public ::testing::Test {
 protected:
  const Task& task(const std::string& toml) {
    return find_task(dir_.write("t.toml", toml).string());
  }
  // The error with the directory of the test left out.
  std::string error(const std::function<void()>& run) {
    std::string text = user_error(run);
    const std::string directory = dir_.path().string() + "/";
    for (size_t at = text.find(directory); at != std::string::npos; at = text.find(directory)) {
      text.erase(at, directory.size());
    }
    return text;
  }
  std::string load_error(const std::string& toml, const std::string& file,
                         const std::string& bytes) {
    dir_.write(file, bytes);
    return error([&] { task(toml).load(dir_.path(), "dev"); });
  }
  std::string read_error(const std::string& toml, const std::vector<TaskExample>& examples,
                         const std::string& predictions) {
    const auto path = dir_.write("p.jsonl", predictions);
    return error([&] { task(toml).read_predictions(path, examples); });
  }
  testing::TempDir dir_;
};

std::vector<TaskExample> labelled(const Texts& references) {
  std::vector<TaskExample> examples;
  for (const auto& reference : references) {
    examples.push_back({std::to_string(examples.size()), "input", reference, {reference}});
  }
  return examples;
}

TEST_F(OwnTaskTest, RowsOfATsvBecomeExamples) {
  dir_.write("sub/dev.tsv", "from\tlabel\ttext\r\nAda\t1\tWin \"now\"!\r\n\r\nBo\tmaybe\t{x}\r\n");
  const auto examples = task(kSpam).load(dir_.path(), "dev");
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].id, "0");
  EXPECT_EQ(examples[0].input, "{sms} Win \"now\"! of Ada");
  EXPECT_EQ(examples[0].target, "spam");
  EXPECT_THAT(examples[0].references, ElementsAre("spam"));
  EXPECT_EQ(examples[1].id, "1");
  EXPECT_EQ(examples[1].input, "{sms} {x} of Bo");  // a text is no template
  EXPECT_EQ(examples[1].target, "unsure");
}

TEST_F(OwnTaskTest, ATsvWithoutHeaderHasItsColumnsNamed) {
  const auto path = dir_.write("rows.tsv", "1\tWin!\n0\tHi\n");
  const auto examples = task(R"([task]
name = "x"
format = "tsv"
columns = ["label", "text"]
dev = "rows.tsv"
prompt = "{text}"
target = "{label}-{text}"
metrics = "accuracy"
)")
                            .load(path, "train");  // the file itself is any split
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].input, "Win!");
  EXPECT_EQ(examples[1].target, "0-Hi");
}

TEST_F(OwnTaskTest, RowsOfJsonLinesBecomeExamples) {
  dir_.write(
      "dev.jsonl",
      "\xEF\xBB\xBF{\"key\": 7, \"q\": {\"text\": \"Who?\"}, \"answers\": [\"Ada\", 3, true]}\n\n"
      "{\"key\": \"b\", \"q\": {\"text\": 1.50}, \"answers\": \"Bo\"}\n");
  const auto examples = task(kAnswers).load(dir_.path(), "dev");
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].id, "7");
  EXPECT_EQ(examples[0].input, "question: Who?");
  EXPECT_EQ(examples[0].target, "Ada");
  EXPECT_THAT(examples[0].references, ElementsAre("Ada", "3", "true"));
  EXPECT_EQ(examples[1].input, "question: 1.5");
  EXPECT_THAT(examples[1].references, ElementsAre("Bo"));
}

TEST_F(OwnTaskTest, ATestFileMayLackTheRightOutput) {
  dir_.write("test.tsv", "from\ttext\nAda\tHi\n");
  dir_.write("test.jsonl", "{\"key\": 1, \"q\": {\"text\": \"x\"}, \"answers\": null}\n");
  for (const auto* toml : {kSpam, kAnswers}) {
    const auto examples = task(toml).load(dir_.path(), "test");
    ASSERT_EQ(examples.size(), 1U);
    EXPECT_EQ(examples[0].target, "");
    EXPECT_THAT(examples[0].references, IsEmpty());
    EXPECT_THAT(user_error([&] { task(toml).score({"x"}, examples); }),
                HasSubstr("nothing to score"));
  }
}

TEST_F(OwnTaskTest, SaysWhichFileIsMissing) {
  EXPECT_EQ(error([&] { task(kSpam).load(dir_.path(), "dev"); }),
            "t.toml:5: task.dev is \"sub/dev.tsv\", but there is no file sub/dev.tsv; expected it "
            "below the directory of the data");
  EXPECT_EQ(error([&] { task(kScores).load(dir_.path(), "train"); }),
            "t.toml: names no file for the split \"train\"; expected task.train, or --data with a "
            "file instead of a directory");
  EXPECT_EQ(error([&] { task(kSpam).load(dir_.path(), "validation"); }),
            "split \"validation\" is not known; expected train, dev or test");
}

TEST_F(OwnTaskTest, SaysWhatIsWrongWithATsv) {
  const auto tsv_error = [&](const std::string& bytes) {
    return load_error(kSpam, "sub/dev.tsv", bytes);
  };
  EXPECT_EQ(tsv_error("from\tlabel\ttxt\n"),
            "sub/dev.tsv:1: the header has no column \"text\", which task.prompt (t.toml:7) names; "
            "expected perhaps txt");
  EXPECT_EQ(
      tsv_error("from\ttext\n"),
      "sub/dev.tsv:1: the header has no column \"label\", which task.target (t.toml:8) names; "
      "expected one of from, text");
  EXPECT_EQ(tsv_error("from\tlabel\ttext\ttext\n"),
            "sub/dev.tsv:1: the header has the column \"text\" twice");
  EXPECT_EQ(tsv_error("from\tlabel\ttext\nAda\t1\n"),
            "sub/dev.tsv:2: 2 columns; expected 3 separated by tabs");
  EXPECT_EQ(tsv_error("from\tlabel\ttext\nAda\t2\tHi\n"),
            "sub/dev.tsv:2: label \"2\"; expected 0 or 1 or maybe");
  EXPECT_EQ(tsv_error("from\tlabel\ttext\n"),
            "sub/dev.tsv: has no examples; expected at least one row");
  EXPECT_THAT(tsv_error(""), HasSubstr("is empty; expected a header"));
}

TEST_F(OwnTaskTest, SaysWhatIsWrongWithJsonLines) {
  const auto answers_error = [&](const std::string& bytes) {
    return load_error(kAnswers, "dev.jsonl", bytes);
  };
  const std::string good = "{\"key\": 1, \"q\": {\"text\": \"x\"}, \"answers\": [\"a\"]}\n";
  EXPECT_EQ(
      answers_error(good + "{\"key\": 2, \"q\": {}, \"answers\": [\"a\"]}\n"),
      "dev.jsonl:2: \"q.text\" is missing, which task.prompt (t.toml:7) names; expected it in "
      "each line");
  EXPECT_EQ(answers_error(good + good),
            "dev.jsonl:2: id \"1\" is there twice; expected each id once");
  EXPECT_EQ(answers_error("{\"key\": 1, \"q\": {\"text\": [1]}, \"answers\": [\"a\"]}\n"),
            "dev.jsonl:1: \"q.text\" is an array; expected a text, a number, or true or false");
  EXPECT_EQ(
      answers_error("{\"key\": 1, \"q\": {\"text\": \"x\"}, \"answers\": [\"a\", {}]}\n"),
      "dev.jsonl:1: \"answers[1]\" is an object; expected a text, a number, or true or false");
  EXPECT_EQ(answers_error("{\"key\": 1, \"q\": {\"text\": \"x\"}, \"answers\": []}\n"),
            "dev.jsonl:1: \"answers\" is an empty list; expected at least one answer");
  EXPECT_EQ(load_error(kScores, "dev.jsonl", "{\"a\": 1, \"b\": 2, \"score\": \"high\"}\n"),
            "dev.jsonl:1: target \"high\"; expected a number, for pearson and spearman");
}

TEST_F(OwnTaskTest, LabelsAreScoredByEachMetricThatIsAskedFor) {
  const Task& spam = task(kSpam);
  EXPECT_EQ(spam.postprocess(" spam\n", {}), "spam");
  EXPECT_EQ(spam.postprocess("1", {}), "");
  // spam: TP 1, FP 1, FN 0, F1 2/3; ham: TP 0, FN 1; unsure: TP 1, F1 1
  const auto metrics = spam.score({"spam", "spam", "unsure"}, labelled({"spam", "ham", "unsure"}));
  EXPECT_EQ(metrics.size(), 4U);
  EXPECT_NEAR(metrics.at("accuracy"), 100.0 * 2 / 3, 1e-9);
  // f1 of spam: 2·1 / (2·1 + 1)
  EXPECT_NEAR(metrics.at("f1"), 100.0 * 2 / 3, 1e-9);
  EXPECT_NEAR(metrics.at("f1_macro"), 100.0 * (2.0 / 3 + 0 + 1) / 3, 1e-9);
  // s = 3, c = 2; Σ p t = 2·1 + 0·1 + 1·1 = 3; Σ p² = 5, Σ t² = 3: (6 − 3) / √(4 · 6)
  EXPECT_NEAR(metrics.at("matthews_correlation"), 100.0 * 3 / std::sqrt(24.0), 1e-9);
}

TEST_F(OwnTaskTest, FreeTextIsScoredAsSquadDoes) {
  const Task& answers = task(kAnswers);
  EXPECT_EQ(answers.best_metric, "word_f1");
  EXPECT_EQ(answers.postprocess(" The Ada \n", {}), "The Ada");
  const std::vector<TaskExample> examples = {{"1", "i", "x", {"x", "Ada Lind"}},
                                             {"2", "i", "Bo", {"Bo"}}};
  // {"ada"} and {"ada", "lind"}: F1 2/3; "the Bo!" normalises to "bo"
  const auto metrics = answers.score({"Ada", "the Bo!"}, examples);
  EXPECT_EQ(metrics.at("exact_match"), 50.0);
  EXPECT_NEAR(metrics.at("word_f1"), 100.0 * (2.0 / 3 + 1) / 2, 1e-9);
}

TEST_F(OwnTaskTest, NumbersAreScoredByCorrelation) {
  dir_.write("dev.jsonl",
             "{\"a\": 1, \"b\": 2, \"score\": 1}\n{\"a\": 1, \"b\": 2, \"score\": 2.5}\n"
             "{\"a\": 1, \"b\": 2, \"score\": \"4\"}\n");
  const Task& scores = task(kScores);
  const auto examples = scores.load(dir_.path(), "dev");
  EXPECT_EQ(examples[1].target, "2.5");
  EXPECT_EQ(scores.postprocess(" 3.5 ", {}), "3.5");
  EXPECT_EQ(scores.postprocess("three", {}), "");
  EXPECT_NEAR(scores.score({"2", "5", "8"}, examples).at("pearson"), 100.0, 1e-9);
  // ranks 2, 1, 3 against 1, 2, 3: 1 − 6·2 / (3·8); what is no number counts as −1, the lowest here
  EXPECT_NEAR(scores.score({"0", "", "8"}, examples).at("spearman"), 50.0, 1e-9);
}

TEST_F(OwnTaskTest, PredictionsGoToJsonLinesAndBack) {
  const Task& spam = task(kSpam);
  const auto examples = labelled({"spam", "ham", "ham"});
  spam.write_predictions(dir_ / "p.jsonl", {"spam", "", "unsure"}, examples);
  EXPECT_EQ(read_file(dir_ / "p.jsonl"),
            "{\"id\":\"0\",\"prediction\":\"1\"}\n{\"id\":\"1\",\"prediction\":\"\"}\n"
            "{\"id\":\"2\",\"prediction\":\"maybe\"}\n");
  EXPECT_THAT(spam.read_predictions(dir_ / "p.jsonl", examples), ElementsAre("spam", "", "unsure"));
  EXPECT_THROW(spam.write_predictions(dir_ / "p.jsonl", {"1", "", ""}, examples),
               std::invalid_argument);

  const Task& answers = task(kAnswers);
  const Texts texts = {"tab\tand\nline \"é\"", "", "{x}"};
  answers.write_predictions(dir_ / "a.jsonl", texts, examples);
  EXPECT_EQ(answers.read_predictions(dir_ / "a.jsonl", examples), texts);
}

TEST_F(OwnTaskTest, ReadsPredictionsInAnyOrderAndRefusesWhatDoesNotFit) {
  const auto examples = labelled({"spam", "ham"});
  const auto path =
      dir_.write("p.jsonl", "{\"prediction\": 0, \"id\": 1}\n{\"id\": 0, \"prediction\": 1}\n");
  EXPECT_THAT(task(kSpam).read_predictions(path, examples), ElementsAre("spam", "ham"));
  const std::string good = "{\"id\": 0, \"prediction\": 1}\n";
  EXPECT_EQ(read_error(kSpam, examples, good),
            "p.jsonl: no prediction for id \"1\"; expected one for each of the 2 examples");
  EXPECT_EQ(read_error(kSpam, examples, good + good),
            "p.jsonl:2: id \"0\" is there twice; expected one prediction for each example");
  EXPECT_EQ(read_error(kSpam, examples, "{\"id\": 9, \"prediction\": 1}\n"),
            "p.jsonl:1: id \"9\" is not in the data; expected the ids of its 2 examples");
  EXPECT_EQ(read_error(kSpam, examples, "{\"id\": 0, \"prediction\": \"spam\"}\n"),
            "p.jsonl:1: prediction \"spam\"; expected 0 or 1 or maybe");
  EXPECT_EQ(read_error(kScores, examples, "{\"id\": 0, \"prediction\": \"x\"}\n"),
            "p.jsonl:1: prediction \"x\"; expected a number");
  EXPECT_EQ(read_error(kSpam, examples, "{\"id\": 0}\n"),
            "p.jsonl:1: \"prediction\" is missing; expected a text, a number, or true or false");
}

}  // namespace
}  // namespace altup
