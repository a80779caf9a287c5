// Reading SuperGLUE's official files into prompts and targets: a tiny file of each layout, the ways
// it can be broken, and the real files where they are there.
#include <gmock/gmock.h>

#include "altup/tasks/task.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using testing::user_error;

struct Sample {
  std::string task, file, line;
  std::string id, input, target;
};

const std::vector<Sample>& samples() {
  static const std::vector<Sample> list = {
      {"boolq", "BoolQ/train.jsonl",
       R"({"question": "is it wet", "passage": "Rain -- It is wet.", "idx": 3, "label": true})",
       "3", "boolq passage: Rain -- It is wet. question: is it wet", "True"},
      {"boolq", "BoolQ/val.jsonl",
       R"({"question": "is it dry", "passage": "It is wet.", "idx": 0, "label": false})", "0",
       "boolq passage: It is wet. question: is it dry", "False"},
      {"boolq", "BoolQ/test.jsonl", R"({"question": "is it dry", "passage": "It is.", "idx": 9})",
       "9", "boolq passage: It is. question: is it dry", ""},
      {"cb", "CB/val.jsonl",
       R"({"premise": "I doubt it.", "hypothesis": "it is", "label": "contradiction", "idx": 1})",
       "1", "cb hypothesis: it is premise: I doubt it.", "contradiction"},
      {"copa", "COPA/train.jsonl",
       R"({"premise": "He fell.", "choice1": "He sang.", "choice2": "It was icy.", )"
       R"("question": "cause", "label": 1, "idx": 4})",
       "4", "copa choice1: He sang. choice2: It was icy. premise: He fell. question: cause",
       "choice2"},
      {"rte", "RTE/val.jsonl",
       R"({"premise": "It rains.", "hypothesis": "It is dry.", "label": "not_entailment", "idx": 2})",
       "2", "rte hypothesis: It is dry. premise: It rains.", "not_entailment"},
      {"wic", "WiC/val.jsonl",
       R"({"word": "bank", "sentence1": "The river bank.", "sentence2": "A bank lends.", "idx": 5, )"
       R"("label": false, "start1": 10, "start2": 2, "end1": 14, "end2": 6, "version": 1.1})",
       "5", "wic sentence1: The river bank. sentence2: A bank lends. word: bank", "False"},
      {"axb", "AX-b/AX-b.jsonl",
       R"({"sentence1": "The cat sat.", "sentence2": "No cat sat.", "idx": 7, )"
       R"("label": "not_entailment", "logic": "Negation"})",
       "7", "rte hypothesis: No cat sat. premise: The cat sat.", "not_entailment"},
      {"multirc", "MultiRC/val.jsonl",
       R"({"idx": 2, "version": 1.1, "passage": {"text": "<b>Sent 1: </b>Ann ran.<br>Bo sat.", )"
       R"("questions": [{"question": "Who ran?", "idx": 8, "answers": )"
       R"([{"text": "Ann", "idx": 21, "label": 1}]}]}})",
       "2-8-21", "multirc question: Who ran? answer: Ann paragraph: Sent 1: Ann ran. Bo sat.",
       "True"},
      {"multirc", "MultiRC/test.jsonl",
       R"({"idx": 2, "passage": {"text": "Ann ran.", "questions": )"
       R"([{"question": "Who?", "idx": 8, "answers": [{"text": "Bo", "idx": 21}]}]}})",
       "2-8-21", "multirc question: Who? answer: Bo paragraph: Ann ran.", ""},
      {"record", "ReCoRD/val.jsonl",
       R"({"source": "x", "passage": {"text": "Zoë met Bob.\n@highlight\nBob ran", "entities": )"
       R"([{"start": 8, "end": 10}, {"start": 0, "end": 2}, {"start": 24, "end": 26}]}, "idx": 1, )"
       R"("qas": [{"query": "@placeholder ran", "idx": 6, "answers": )"
       R"([{"start": 8, "end": 10, "text": "Bob"}, {"start": 24, "end": 26, "text": "Bob"}]}]})",
       "6", "record query: @placeholder ran entities: Bob, Zoë passage: Zoë met Bob. Bob ran",
       "Bob"},
      {"record", "ReCoRD/test.jsonl",
       R"({"passage": {"text": "Bob ran", "entities": [{"start": 0, "end": 2}]}, "idx": 1, )"
       R"("qas": [{"query": "@placeholder ran", "idx": 6}]})",
       "6", "record query: @placeholder ran entities: Bob passage: Bob ran", ""},
      {"wsc", "WSC/train.jsonl",
       R"({"text": "The fish ate the worm . It was tasty.", "target": {"span2_index": 6, )"
       R"("span1_index": 3, "span1_text": "The worm", "span2_text": "It"}, "idx": 29, "label": true})",
       "29", "wsc: The fish ate the worm . *It* was tasty.", "the worm"},
      {"wsc", "WSC/test.jsonl",
       R"({"text": "The fish ate the worm . It was tasty.", "target": {"span2_index": 6, )"
       R"("span1_index": 0, "span1_text": "The fish", "span2_text": "It"}, "idx": 29})",
       "29", "wsc: The fish ate the worm . *It* was tasty.", ""},
  };
  return list;
}

std::string split_of(const std::string& file) {
  return file.ends_with("train.jsonl") ? "train" : file.ends_with("test.jsonl") ? "test" : "dev";
}

TEST(SuperGlueLoad, GivesT5sPromptsAndTargetsForEveryLayout) {
  for (const auto& sample : samples()) {
    SCOPED_TRACE(sample.task + " " + sample.file);
    const testing::TempDir dir;
    dir.write(sample.file, sample.line + "\n");
    const auto examples =
        find_task("superglue/" + sample.task).load(dir.path(), split_of(sample.file));
    ASSERT_EQ(examples.size(), 1U);
    EXPECT_EQ(examples[0].id, sample.id);
    EXPECT_EQ(examples[0].input, sample.input);
    EXPECT_EQ(examples[0].target, sample.target);
    if (sample.target.empty()) {
      EXPECT_THAT(examples[0].references, IsEmpty());
    } else if (sample.task == "wsc") {
      EXPECT_THAT(examples[0].references, ElementsAre("True"));
    } else {
      EXPECT_THAT(examples[0].references, ElementsAre(sample.target));
    }
  }
}

class SuperGlueLoadTest : public ::testing::Test {
 protected:
  std::vector<TaskExample> load(const std::string& task, const std::string& split) {
    return find_task("superglue/" + task).load(dir_.path(), split);
  }
  // The error of loading, without the directory.
  std::string error(const std::string& task, const std::string& split) {
    const std::string text = user_error([&] { load(task, split); });
    const std::string root = dir_.path().string() + "/";
    return text.starts_with(root) ? text.substr(root.size()) : text;
  }
  testing::TempDir dir_;
};

TEST_F(SuperGlueLoadTest, TakesTheBenchmarkTheTaskOrTheFile) {
  const auto file = dir_.write(
      "CB/val.jsonl", R"({"premise": "a", "hypothesis": "b", "label": "neutral", "idx": 0})");
  for (const auto& data : {dir_.path(), dir_ / "CB", file}) {
    EXPECT_EQ(find_task("superglue/cb").load(data, "dev").size(), 1U) << data;
  }
}

TEST_F(SuperGlueLoadTest, TrainsWscOnTheTrueExamplesAlone) {
  const std::string line =
      R"({"text": "The fish ate the worm . It was tasty.", "target": {"span2_index": 6, )"
      R"("span1_index": 0, "span1_text": "The fish", "span2_text": "It"}, "idx": )";
  const std::string lines = line + "0, \"label\": false}\n" + line + "1, \"label\": true}\n";
  dir_.write("WSC/train.jsonl", lines);
  dir_.write("WSC/val.jsonl", lines);
  const auto train = load("wsc", "train");
  ASSERT_EQ(train.size(), 1U);
  EXPECT_EQ(train[0].id, "1");
  const auto dev = load("wsc", "dev");
  ASSERT_EQ(dev.size(), 2U);
  EXPECT_EQ(dev[0].context, "The fish");
  EXPECT_EQ(dev[0].target, "");  // what the pronoun does stand for is not in the file
  EXPECT_THAT(dev[0].references, ElementsAre("False"));
}

TEST_F(SuperGlueLoadTest, GroupsTheAnswersOfAQuestion) {
  dir_.write("MultiRC/val.jsonl",
             R"({"idx": 0, "passage": {"text": "p", "questions": [)"
             R"({"question": "q", "idx": 4, "answers": [{"text": "a", "idx": 0, "label": 0}, )"
             R"({"text": "b", "idx": 1, "label": 1}]}, )"
             R"({"question": "r", "idx": 5, "answers": [{"text": "c", "idx": 2, "label": 0}]}]}})"
             "\n");
  const auto examples = load("multirc", "dev");
  ASSERT_EQ(examples.size(), 3U);
  EXPECT_EQ(examples[0].group, "0-4");
  EXPECT_EQ(examples[1].group, "0-4");
  EXPECT_EQ(examples[2].group, "0-5");
  EXPECT_EQ(examples[2].id, "0-5-2");
}

TEST_F(SuperGlueLoadTest, GivesOneTrainingExampleForEachAnswerOfReCoRD) {
  const std::string line =
      R"({"passage": {"text": "Bob, Al", "entities": [{"start": 0, "end": 2}, )"
      R"({"start": 5, "end": 6}]}, "idx": 1, "qas": [{"query": "@placeholder", "idx": 6, "answers": )"
      R"([{"text": "Bob"}, {"text": "Al"}, {"text": "Bob"}]}]})"
      "\n";
  dir_.write("ReCoRD/train.jsonl", line);
  dir_.write("ReCoRD/val.jsonl", line);
  const auto train = load("record", "train");
  ASSERT_EQ(train.size(), 2U);
  EXPECT_EQ(train[0].target, "Al");
  EXPECT_EQ(train[1].target, "Bob");
  EXPECT_EQ(train[0].input, train[1].input);
  const auto dev = load("record", "dev");
  ASSERT_EQ(dev.size(), 1U);
  EXPECT_THAT(dev[0].references, ElementsAre("Al", "Bob"));
}

TEST_F(SuperGlueLoadTest, MakesSentencesOfHighlights) {
  dir_.write(
      "ReCoRD/test.jsonl",
      R"({"passage": {"text": "End.\n@highlight\nSay \"so\"\n@highlight\nno end\n@highlight)"
      R"(\nlast\n@highlight", "entities": []}, "idx": 1, "qas": [{"query": "q", "idx": 0}]})");
  EXPECT_THAT(load("record", "test")[0].input,
              ::testing::EndsWith("passage: End. Say \"so\" no end. last\n@highlight"));
}

TEST_F(SuperGlueLoadTest, PairsWinogenderBySentence) {
  const auto line = [](int idx, const std::string& who, const std::string& hypothesis) {
    return R"({"premise": ")" + who + R"( paid.", "hypothesis": ")" + hypothesis +
           R"(", "label": "entailment", "idx": )" + std::to_string(idx) + "}\n";
  };
  dir_.write("AX-g/AX-g.jsonl",
             line(0, "She", "h") + line(1, "He", "h") + line(2, "She", "i") + line(3, "He", "i"));
  const auto examples = load("axg", "dev");
  ASSERT_EQ(examples.size(), 4U);
  EXPECT_EQ(examples[0].input, "rte hypothesis: h premise: She paid.");
  EXPECT_EQ(examples[0].group, examples[1].group);
  EXPECT_EQ(examples[2].group, examples[3].group);
  EXPECT_NE(examples[1].group, examples[2].group);
  EXPECT_EQ(load("axg", "test").size(), 4U);

  const std::string expected =
      "AX-g/AX-g.jsonl: the example with idx 2 has no partner with its hypothesis behind it; "
      "expected AX-g's order, the two of a pair one after the other";
  dir_.write("AX-g/AX-g.jsonl", line(0, "She", "h") + line(1, "He", "h") + line(2, "She", "i"));
  EXPECT_EQ(error("axg", "dev"), expected);
  dir_.write("AX-g/AX-g.jsonl",
             line(0, "She", "h") + line(1, "He", "h") + line(2, "She", "i") + line(3, "He", "j"));
  EXPECT_EQ(error("axg", "dev"), expected);
}

TEST_F(SuperGlueLoadTest, ErrorsNameFileLineAndKey) {
  const std::string good = R"({"premise": "a", "hypothesis": "b", "label": "neutral", "idx": 0})";
  dir_.write("CB/val.jsonl", good + "\n" + R"({"premise": "a", "hypothesis": 3, "idx": 1})");
  EXPECT_EQ(error("cb", "dev"), "CB/val.jsonl:2: \"hypothesis\" is the number 3; expected a text");
  dir_.write("CB/val.jsonl", good + "\n" + R"({"premise": "a", "hypothesis": "b", "idx": 1})");
  EXPECT_EQ(
      error("cb", "dev"),
      "CB/val.jsonl:2: \"label\" is missing; expected entailment or contradiction or neutral");
  dir_.write("CB/val.jsonl", R"({"premise": "a", "hypothesis": "b", "idx": 1, "label": "yes"})");
  EXPECT_EQ(
      error("cb", "dev"),
      "CB/val.jsonl:1: \"label\" is the text \"yes\"; expected entailment or contradiction or "
      "neutral");
  dir_.write("CB/val.jsonl", good + "\n" + good + "\n");
  EXPECT_EQ(error("cb", "dev"), "CB/val.jsonl:2: id \"0\" is there twice; expected each id once");
  dir_.write("CB/val.jsonl", good + "\n{\"premise\": \"a");
  EXPECT_THAT(error("cb", "dev"), StartsWith("CB/val.jsonl:2: the JSON is cut off"));
  dir_.write("CB/val.jsonl", "\n");
  EXPECT_EQ(error("cb", "dev"), "CB/val.jsonl: has no examples; expected at least one line");
  dir_.write("COPA/val.jsonl", R"({"premise": "a", "choice1": "b", "choice2": "c", )"
                               R"("question": "cause", "idx": 1, "label": 2})");
  EXPECT_EQ(error("copa", "dev"), "COPA/val.jsonl:1: \"label\" is the number 2; expected 0 or 1");
  dir_.write("BoolQ/val.jsonl", R"({"passage": "a", "question": "b", "idx": "1", "label": true})");
  EXPECT_EQ(error("boolq", "dev"),
            "BoolQ/val.jsonl:1: \"idx\" is the text \"1\"; expected an integer");
}

TEST_F(SuperGlueLoadTest, ErrorsNameThePlaceInsideALine) {
  dir_.write("MultiRC/val.jsonl",
             R"({"idx": 0, "passage": {"text": "p", "questions": [)"
             R"({"question": "q", "idx": 4, "answers": [{"text": "a", "idx": 0, "label": 2}]}]}})");
  EXPECT_EQ(error("multirc", "dev"),
            "MultiRC/val.jsonl:1: \"passage.questions[0].answers[0].label\" is the number 2; "
            "expected 0 or 1");
  dir_.write("ReCoRD/val.jsonl",
             R"({"passage": {"text": "Zoë", "entities": [{"start": 0, "end": 3}]}, "idx": 1, )"
             R"("qas": []})");
  EXPECT_EQ(
      error("record", "dev"),
      "ReCoRD/val.jsonl:1: \"passage.entities[0].end\" is the number 3; expected the place of "
      "an entity in the text's 3 characters");
  dir_.write("ReCoRD/val.jsonl", R"({"passage": {"text": "p", "entities": []}, "idx": 1, )"
                                 R"("qas": [{"query": "q", "idx": 0, "answers": []}]})");
  EXPECT_EQ(error("record", "dev"),
            "ReCoRD/val.jsonl:1: \"qas[0].answers\" is an array; expected at least one answer");
  dir_.write("WSC/val.jsonl",
             R"({"text": "Bob ran", "target": {"span2_index": 1, "span1_index": 0, )"
             R"("span1_text": "Bob", "span2_text": "he"}, "idx": 0, "label": true})");
  EXPECT_EQ(
      error("wsc", "dev"),
      "WSC/val.jsonl:1: \"target.span2_text\" is \"he\"; expected a word of \"text\", the one "
      "at \"target.span2_index\"");
}

TEST_F(SuperGlueLoadTest, NamesTheFilesLookedFor) {
  EXPECT_EQ(error("rte", "dev"),
            "RTE/val.jsonl: is not there; expected the official file here or at " +
                dir_.path().string() + "/val.jsonl, or so below " + dir_.path().string() +
                "/superglue");
  EXPECT_EQ(error("axb", "train"),
            "AX-b has no train split; expected dev or test, which are AX-b.jsonl");
  EXPECT_EQ(error("rte", "val"), "split \"val\" is not known; expected train, dev or test");
}

// --- the real files
// ----------------------------------------------------------------------------------------------

TEST(SuperGlueRealFiles, HaveTheOfficialCounts) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "superglue");
  const auto count = [&](const std::string& task, const std::string& split) {
    return find_task("superglue/" + task).load(root, split).size();
  };
  EXPECT_EQ(count("cb", "train"), 250U);
  EXPECT_EQ(count("cb", "dev"), 56U);
  EXPECT_EQ(count("copa", "train"), 400U);
  EXPECT_EQ(count("rte", "train"), 2490U);
  EXPECT_EQ(count("rte", "dev"), 277U);
  EXPECT_EQ(count("wsc", "train"), 259U);  // of 554, as T5's weights have it
}

TEST(SuperGlueRealFiles, EveryFileLoadsByItsPath) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "superglue");
  const std::vector<std::pair<std::string, std::string>> tasks = {
      {"boolq", "BoolQ"},   {"cb", "CB"},   {"copa", "COPA"}, {"multirc", "MultiRC"},
      {"record", "ReCoRD"}, {"rte", "RTE"}, {"wic", "WiC"},   {"wsc", "WSC"}};
  for (const auto& [task, directory] : tasks) {
    int64_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(root / directory)) {
      ++files;
      SCOPED_TRACE(entry.path());
      for (const std::string split : {"train", "dev", "test"}) {
        for (const auto& example : find_task("superglue/" + task).load(entry.path(), split)) {
          ASSERT_FALSE(example.input.empty());
          ASSERT_FALSE(example.references.empty());
          ASSERT_TRUE(split != "train" || !example.target.empty());
        }
      }
    }
    EXPECT_GT(files, 0) << directory;
  }
}

TEST(SuperGlueRealFiles, ReCoRDsAnswersAreAmongItsEntities) {
  // holds only if offsets count characters, not bytes
  ALTUP_SHARED_DATA_OR_SKIP(file, "superglue/ReCoRD/train32_fewglue.jsonl");
  for (const auto& example : find_task("superglue/record").load(file, "train")) {
    const size_t begin = example.input.find(" entities: ");
    const size_t end = example.input.find(" passage: ");
    const std::string entities = example.input.substr(begin, end - begin);
    EXPECT_THAT(entities, HasSubstr(example.target)) << example.id;
  }
}

}  // namespace
}  // namespace altup
