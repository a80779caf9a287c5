// What the TOML file of a user's own task may say, and each thing that it may not, by the error.
#include <gmock/gmock.h>

#include <algorithm>

#include "altup/tasks/task.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::user_error;

// A whole task of four lines; tests add keys from line 6 on.
const std::string kFree =
    "[task]\nname = \"mine\"\nformat = \"jsonl\"\ndev = \"d.jsonl\"\nprompt = \"q: {q}\"\n";

class OwnTaskFileTest : public ::testing::Test {
 protected:
  const Task& read(const std::string& toml) {
    return find_task(dir_.write("t.toml", toml).string());
  }
  // The error without its path.
  std::string error(const std::string& toml) {
    const std::string path = (dir_ / "t.toml").string();
    const std::string text = user_error([&] { read(toml); });
    EXPECT_EQ(text.substr(0, path.size()), path);
    return text.substr(std::min(path.size(), text.size()));
  }
  testing::TempDir dir_;
};

TEST_F(OwnTaskFileTest, BecomesATask) {
  const Task& task = read(kFree + "target = \"{a}\"\nmetrics = \"exact_match\"\n");
  EXPECT_EQ(task.name, "mine");
  EXPECT_EQ(task.best_metric, "exact_match");
  EXPECT_EQ(task.input_length, 512);
  EXPECT_EQ(task.target_length, 64);
  EXPECT_THAT(task.labels, ElementsAre());
}

TEST_F(OwnTaskFileTest, IsReadOnceAndAnewWhereItChanges) {
  const std::string toml = kFree + "target = \"{a}\"\nmetrics = \"accuracy\"\n";
  const Task& first = read(toml);
  EXPECT_EQ(&read(toml), &first);
  const Task& changed = read(toml + "target_length = 5\n");
  EXPECT_EQ(changed.target_length, 5);
  EXPECT_EQ(first.target_length, 64);
}

TEST_F(OwnTaskFileTest, IsNoBuiltInTask) {
  read(kFree + "target = \"{a}\"\nmetrics = \"accuracy\"\n");
  EXPECT_THAT(task_names(), Not(Contains(HasSubstr("mine"))));
  EXPECT_THAT(error("[task]\nname = \"glue/rte\"\n"),
              HasSubstr(":2: task.name is \"glue/rte\", which the program uses itself"));
  for (const std::string name : {"train", "validation", "average", "glue", "superglue"}) {
    EXPECT_EQ(
        error("[task]\nname = \"" + name + "\"\n"),
        ":2: task.name is \"" + name + "\", which the program uses itself; expected another name");
  }
  EXPECT_EQ(error("[task]\nname = \"my task\"\n"),
            ":2: task.name is \"my task\"; expected ASCII letters, digits and _ - . /");
  EXPECT_THAT(user_error([&] { find_task((dir_ / "none.toml").string()); }),
              HasSubstr((dir_ / "none.toml").string()));
}

TEST_F(OwnTaskFileTest, HasANameThatKeepsItsFilesInTheirFolder) {
  for (const std::string name :
       {"/tmp/mine", "../mine", "a/../b", "..", ".", "a/./b", "a//b", "a/"}) {
    EXPECT_EQ(error("[task]\nname = \"" + name + "\"\n"),
              ":2: task.name is \"" + name +
                  "\"; expected a name on each side of a /, and none that is . or ..");
  }
  const std::string rest = "prompt = \"q: {q}\"\ntarget = \"{a}\"\nmetrics = \"accuracy\"\n";
  const Task& task =
      read("[task]\nname = \"our/v1.0/questions\"\nformat = \"tsv\"\ndev = \"d.tsv\"\n" + rest);
  EXPECT_EQ(task.submission_file, "our_v1.0_questions.jsonl");  // predictions are JSON lines
}

TEST_F(OwnTaskFileTest, TheExampleOfTheRepositoryIsWhole) {
  const Task& task = find_task("configs/tasks/example.toml");
  EXPECT_EQ(task.name, "spam");
  EXPECT_EQ(task.best_metric, "f1");
  EXPECT_EQ(task.target_length, 16);
  EXPECT_THAT(task.labels, ElementsAre("ham", "spam"));
  dir_.write("dev.tsv", "id\tlabel\ttext\nm7\t1\tWin {now}!\nm8\t0\tSee you\n");
  const auto examples = task.load(dir_.path(), "dev");
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[0].id, "m7");
  EXPECT_EQ(examples[0].input, "spam message: Win {now}!");
  EXPECT_EQ(examples[0].target, "spam");
  EXPECT_EQ(examples[1].target, "ham");
}

TEST_F(OwnTaskFileTest, RefusesUnknownKeysAndSections) {
  EXPECT_EQ(error(kFree + "promt = \"x\"\n"),
            ":6: task.promt is not known; expected perhaps prompt");
  EXPECT_EQ(error(kFree + "[train]\nsteps = 1\n"),
            ":6: train is not known here; expected the section [task] and nothing beside it");
  EXPECT_EQ(error(""), ":1: has no section [task]");
  EXPECT_EQ(error("task = 3\n"), ":1: task is an integer; expected a section [task]");
  EXPECT_THAT(error("[task]\nname = \n"), HasSubstr(":2: broken TOML: "));
}

TEST_F(OwnTaskFileTest, RefusesOtherTypes) {
  EXPECT_EQ(error("[task]\nname = 3\n"), ":2: task.name is an integer; expected a string");
  EXPECT_EQ(error("[task]\nname = \"\"\n"),
            ":2: task.name is empty; expected a text, or no such key");
  EXPECT_EQ(error(kFree + "target = [\"a\"]\n"), ":6: task.target is a list; expected a string");
  EXPECT_EQ(error(kFree + "target = \"{a}\"\nmetrics = [\n\"accuracy\",\n3]\n"),
            ":9: task.metrics is an integer; expected strings in the list");
  EXPECT_EQ(error(kFree + "target = \"{a}\"\nmetrics = [\"accuracy\",\n\"accuracy\"]\n"),
            ":8: task.metrics has \"accuracy\" twice");
  EXPECT_EQ(error(kFree + "target = \"{a}\"\nmetrics = []\n"),
            ":7: task.metrics is an empty list; expected at least one string");
  const std::string whole = kFree + "target = \"{a}\"\nmetrics = \"accuracy\"\n";
  EXPECT_EQ(error(whole + "input_length = 3.5\n"),
            ":8: task.input_length is a number; expected a whole number of tokens");
  EXPECT_EQ(error(whole + "target_length = 0\n"),
            ":8: task.target_length is 0; expected 1 to 1048576");
}

TEST_F(OwnTaskFileTest, RefusesWhatIsMissing) {
  EXPECT_EQ(error("[task]\nformat = \"tsv\"\n"),
            ":1: task.name is missing; expected what the log and the metrics call the task");
  EXPECT_EQ(error("[task]\nname = \"x\"\n"),
            ":1: task.format is missing; expected \"tsv\" or "
            "\"jsonl\"");
  EXPECT_EQ(error("[task]\nname = \"x\"\nformat = \"csv\"\n"),
            ":3: task.format is \"csv\"; expected \"tsv\" or \"jsonl\"");
  EXPECT_EQ(error("[task]\nname = \"x\"\nformat = \"tsv\"\n"),
            ":1: task.dev is missing; expected a file for train, dev or test");
  EXPECT_EQ(error("[task]\nname = \"x\"\nformat = \"tsv\"\ndev = \"d\"\n"),
            ":1: task.prompt is missing; expected the model's input, such as \"spam message: "
            "{text}\"");
  EXPECT_EQ(error(kFree),
            ":1: task.target is missing; expected the right output, such as \"{label}\"");
  EXPECT_THAT(error(kFree + "target = \"{a}\"\n"),
              HasSubstr(":1: task.metrics is missing; expected some of accuracy, f1, "));
}

TEST_F(OwnTaskFileTest, RefusesTextsThatSayNothing) {
  EXPECT_EQ(error("[task]\nname = \"x\"\nformat = \"tsv\"\ndev = \"d\"\nprompt = \"text\"\n"),
            ":5: task.prompt names no column, so that all inputs are the same; expected {column}");
  EXPECT_EQ(error(kFree + "target = \"yes\"\n"),
            ":6: task.target names no column, so that all targets are the same; expected {column}");
  EXPECT_EQ(error(kFree + "target = \"{a\"\n"),
            ":6: task.target is \"{a\", where a { is not closed; expected text with {column}, and "
            "{{ and }} for plain braces");
}

TEST_F(OwnTaskFileTest, RefusesHeadersAndColumnsThatContradict) {
  const std::string tsv = "[task]\nname = \"x\"\nformat = \"tsv\"\ndev = \"d\"\n";
  EXPECT_EQ(error(tsv + "header = false\n"),
            ":5: task.header is false; expected the names of the columns, columns = [\"…\"]");
  EXPECT_EQ(error(tsv + "header = true\ncolumns = [\"a\"]\n"),
            ":6: task.columns names the columns, and header = true says that the file does; "
            "expected one of the two");
  EXPECT_EQ(
      error(kFree + "columns = [\"a\"]\n"),
      ":6: task.columns is for format = \"tsv\"; the objects of JSON lines name their fields");
  EXPECT_EQ(
      error(tsv + "columns = [\"label\", \"text\"]\nprompt = \"{txt}\"\ntarget = \"{label}\"\n"),
      ":6: task.prompt names the column \"txt\"; expected perhaps text");
  EXPECT_EQ(error(tsv + "columns = [\"label\", \"text\"]\nprompt = \"{text}\"\ntarget = "
                        "\"{label}\"\nid = \"number\"\n"),
            ":8: task.id names the column \"number\"; expected one of label, text");
}

TEST_F(OwnTaskFileTest, RefusesLabelsThatAreNone) {
  const std::string target = kFree + "target = \"{a}\"\n";
  EXPECT_EQ(error(target + "labels = { 0 = \"no\", 1 = 1 }\n"),
            ":7: task.labels.1 is an integer; expected the label's word");
  EXPECT_EQ(error(target + "labels = { 0 = \"no\", 1 = \"no\" }\n"),
            ":7: task.labels.1 is \"no\", as task.labels.0 is; expected a word of its own for each "
            "label");
  EXPECT_EQ(error(target + "labels = { 0 = \" no\", 1 = \"yes\" }\n"),
            ":7: task.labels.0 is \" no\"; expected a word without spaces at its ends");
  EXPECT_EQ(error(target + "labels = { 0 = \"no\" }\n"),
            ":7: task.labels has fewer than two labels; expected all of them");
  // as in the built-in tasks, files may write either
  EXPECT_EQ(error(target + "labels = { True = \"yes\", true = \"no\" }\n"),
            ":7: task.labels.true is the same label as task.labels.True; expected one of the two");
  EXPECT_EQ(error(target + "labels = [\"no\"]\n"),
            ":7: task.labels is a list; expected a table such as { 0 = \"ham\", 1 = \"spam\" }");
  // what follows [task.labels] is a label to TOML
  EXPECT_EQ(error(target + "[task.labels]\n0 = \"no\"\n1 = \"yes\"\nbest_metric = \"accuracy\"\n"),
            ":10: task.labels.best_metric would be a label; expected \"best_metric\" above "
            "[task.labels] (or the labels as { … } where it is one)");
}

TEST_F(OwnTaskFileTest, RefusesMetricsThatDoNotFit) {
  const std::string target = kFree + "target = \"{a}\"\n";
  const std::string labels = target + "labels = { 0 = \"no\", 1 = \"yes\" }\n";
  EXPECT_EQ(error(target + "metrics = [\"acuracy\"]\n"),
            ":7: task.metrics has \"acuracy\", which is not known; expected perhaps accuracy");
  EXPECT_EQ(error(target + "metrics = [\"f1\"]\n"),
            ":7: task.metrics has \"f1\", which is of labels; expected task.labels, or word_f1 for "
            "free text");
  EXPECT_EQ(error(labels + "metrics = [\"pearson\"]\n"),
            ":8: task.metrics has \"pearson\", which is of numbers; expected no task.labels");
  EXPECT_EQ(error(labels + "metrics = [\"f1\"]\n"),
            ":1: task.positive is missing; expected the label word that f1 is of, one of no, yes");
  EXPECT_EQ(error(labels + "metrics = [\"f1\"]\npositive = \"1\"\n"),
            ":9: task.positive is \"1\"; expected a label word, one of no, yes");
  EXPECT_EQ(error(labels + "metrics = [\"accuracy\"]\npositive = \"yes\"\n"),
            ":9: task.positive is for the metric \"f1\"; expected that in task.metrics");
  EXPECT_EQ(error(labels + "metrics = [\"accuracy\"]\nbest_metric = \"f1\"\n"),
            ":9: task.best_metric is \"f1\"; expected one of task.metrics: accuracy");
  EXPECT_EQ(error(kFree + "references = \"a\"\nmetrics = [\"accuracy\"]\n"),
            ":7: task.metrics has \"accuracy\", which takes one right output; expected exact_match "
            "or word_f1 beside task.references");
  EXPECT_EQ(error(kFree + "references = \"a\"\nlabels = { 0 = \"no\", 1 = \"yes\" }\n"),
            ":6: task.references is for free text; expected no task.labels beside it");
}

}  // namespace
}  // namespace altup
