// Reading GLUE's official files into prompts and targets: a tiny file of each layout, the ways it
// can be broken, and the real files where they are there.
#include <gmock/gmock.h>

#include <algorithm>

#include "altup/tasks/task.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::user_error;

struct Sample {
  std::string task, file, bytes;
  std::string id, input, target;
};

// MNLI's unused columns.
const std::string kMnliHeader =
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_"
    "parse\tsentence2_parse\t"
    "sentence1\tsentence2";
const std::string kMnliRow =
    "8\t1\t1n\tfiction\t( b )\t( b )\t(ROOT)\t(ROOT)\tIt rains.\tIt is wet.";

// The diagnostic set with its labels, which has no index.
const std::string kDiagnosticHeader =
    "Lexical Semantics\tPredicate-Argument "
    "Structure\tLogic\tKnowledge\tDomain\tPremise\tHypothesis";
const std::string kDiagnosticRow = "\t\tNegation\t\tArtificial\tThe cat sat.\tNo cat sat.";

const std::vector<Sample>& samples() {
  static const std::vector<Sample> list = {
      {"glue/cola", "CoLA/train.tsv", "gj04\t0\t*\tCat the sat.\n", "0",
       "cola sentence: Cat the sat.", "unacceptable"},
      {"glue/cola", "CoLA/dev.tsv", "gj04\t1\t\tThe cat sat.\n", "0", "cola sentence: The cat sat.",
       "acceptable"},
      {"glue/cola", "CoLA/test.tsv", "index\tsentence\n7\tThe cat sat.\n", "7",
       "cola sentence: The cat sat.", ""},
      {"glue/sst2", "SST-2/train.tsv", "sentence\tlabel\na \"dull film \t0\n", "0",
       "sst2 sentence: a \"dull film ", "negative"},
      {"glue/sst2", "SST-2/dev.tsv", "sentence\tlabel\nlovely\t1\n", "0", "sst2 sentence: lovely",
       "positive"},
      {"glue/sst2", "SST-2/test.tsv", "index\tsentence\n3\tlovely\n", "3", "sst2 sentence: lovely",
       ""},
      {"glue/mrpc", "MRPC/train.tsv",
       "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t11\t12\tHe left .\tHe went "
       ".\r\n",
       "0", "mrpc sentence1: He left . sentence2: He went .", "equivalent"},
      {"glue/mrpc", "MRPC/dev.tsv",
       "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t11\t12\tHe left .\tHe sat .\n", "0",
       "mrpc sentence1: He left . sentence2: He sat .", "not_equivalent"},
      {"glue/mrpc", "MRPC/test.tsv",
       "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n5\t11\t12\tHe left .\tHe sat .\n", "5",
       "mrpc sentence1: He left . sentence2: He sat .", ""},
      {"glue/stsb", "STS-B/train.tsv",
       "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
       "4\tg\tf\ty\t1\tn\tn\tA dog.\tA cat.\t3.857\n",
       "4", "stsb sentence1: A dog. sentence2: A cat.", "3.8"},
      {"glue/stsb", "STS-B/test.tsv",
       "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n"
       "4\tg\tf\ty\t1\tn\tn\tA dog.\tA cat.\n",
       "4", "stsb sentence1: A dog. sentence2: A cat.", ""},
      {"glue/qqp", "QQP/train.tsv",
       "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133\t1\t2\tWhy?\tHow?\t0\n", "0",
       "qqp question1: Why? question2: How?", "not_duplicate"},
      {"glue/qqp", "QQP/dev.tsv",
       "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133\t1\t2\tWhy?\tWhy so?\t1\n", "0",
       "qqp question1: Why? question2: Why so?", "duplicate"},
      {"glue/qqp", "QQP/test.tsv", "id\tquestion1\tquestion2\n0\tWhy?\tHow?\n", "0",
       "qqp question1: Why? question2: How?", ""},
      {"glue/mnli", "MNLI/train.tsv",
       kMnliHeader + "\tlabel1\tgold_label\n" + kMnliRow + "\tneutral\tentailment\n", "8",
       "mnli hypothesis: It is wet. premise: It rains.", "entailment"},
      {"glue/mnli", "MNLI/dev_matched.tsv",
       kMnliHeader + "\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n" + kMnliRow +
           "\tneutral\tneutral\tneutral\tneutral\tneutral\tcontradiction\n",
       "8", "mnli hypothesis: It is wet. premise: It rains.", "contradiction"},
      {"glue/mnli", "MNLI/test_matched.tsv", kMnliHeader + "\n" + kMnliRow + "\n", "8",
       "mnli hypothesis: It is wet. premise: It rains.", ""},
      {"glue/mnli_mismatched", "MNLI/train.tsv",
       kMnliHeader + "\tlabel1\tgold_label\n" + kMnliRow + "\tneutral\tneutral\n", "8",
       "mnli hypothesis: It is wet. premise: It rains.", "neutral"},
      {"glue/mnli_mismatched", "MNLI/dev_mismatched.tsv",
       kMnliHeader + "\tgold_label\n" + kMnliRow + "\tneutral\n", "8",
       "mnli hypothesis: It is wet. premise: It rains.", "neutral"},
      {"glue/mnli_mismatched", "MNLI/test_mismatched.tsv", kMnliHeader + "\n" + kMnliRow + "\n",
       "8", "mnli hypothesis: It is wet. premise: It rains.", ""},
      {"glue/qnli", "QNLI/train.tsv",
       "index\tquestion\tsentence\tlabel\n2\tWho?\tAnn did.\tentailment\n", "2",
       "qnli question: Who? sentence: Ann did.", "entailment"},
      {"glue/qnli", "QNLI/test.tsv", "index\tquestion\tsentence\n2\tWho?\tAnn did.\n", "2",
       "qnli question: Who? sentence: Ann did.", ""},
      {"glue/rte", "RTE/dev.tsv",
       "index\tsentence1\tsentence2\tlabel\n9\tIt rains.\tIt is dry.\tnot_entailment\n", "9",
       "rte sentence1: It rains. sentence2: It is dry.", "not_entailment"},
      {"glue/wnli", "WNLI/train.tsv",
       "index\tsentence1\tsentence2\tlabel\n1\tThe fish ate the worm. It was tasty.\tThe worm was "
       "tasty.\t1\n",
       "1", "wsc: The fish ate the worm. *It* was tasty.", "The worm"},
      {"glue/wnli", "WNLI/dev.tsv",
       "index\tsentence1\tsentence2\tlabel\n1\tThe fish ate the worm. It was tasty.\tThe worm was "
       "tasty.\t1\n",
       "1", "wsc: The fish ate the worm. *It* was tasty.", "The worm"},
      {"glue/wnli", "WNLI/test.tsv",
       "index\tsentence1\tsentence2\n1\tThe fish ate the worm. It was tasty.\tThe fish was "
       "tasty.\n",
       "1", "wsc: The fish ate the worm. *It* was tasty.", ""},
      {"glue/ax", "AX/diagnostic-full.tsv",
       kDiagnosticHeader + "\tLabel\n" + kDiagnosticRow + "\tcontradiction\n", "0",
       "mnli hypothesis: No cat sat. premise: The cat sat.", "contradiction"},
      {"glue/ax", "diagnostic/diagnostic.tsv",
       "index\tsentence1\tsentence2\n5\tThe cat sat.\tNo cat sat.\n", "5",
       "mnli hypothesis: No cat sat. premise: The cat sat.", ""},
      {"glue/ax", "AX.tsv", "index\tsentence1\tsentence2\n5\tThe cat sat.\tNo cat sat.\n", "5",
       "mnli hypothesis: No cat sat. premise: The cat sat.", ""},
  };
  return list;
}

std::string split_of(const std::string& file) {
  if (file.ends_with("diagnostic-full.tsv")) return "dev";
  if (file.ends_with("diagnostic.tsv") || file == "AX.tsv") return "test";
  const std::string name = file.substr(file.find('/') + 1);
  return name.substr(0, name.find_first_of("._"));
}

TEST(GlueLoad, GivesT5sPromptsAndTargetsForEveryLayout) {
  for (const auto& sample : samples()) {
    SCOPED_TRACE(sample.task + " " + sample.file);
    const testing::TempDir dir;
    dir.write(sample.file, sample.bytes);
    const auto examples = find_task(sample.task).load(dir.path(), split_of(sample.file));
    ASSERT_EQ(examples.size(), 1U);
    EXPECT_EQ(examples[0].id, sample.id);
    EXPECT_EQ(examples[0].input, sample.input);
    EXPECT_EQ(examples[0].target, sample.target);
    if (sample.target.empty()) {
      EXPECT_THAT(examples[0].references, IsEmpty());
    } else if (sample.task == "glue/stsb") {
      EXPECT_THAT(examples[0].references,
                  ElementsAre("3.857"));  // scored against the file's number, not the target
    } else if (sample.task == "glue/wnli") {
      EXPECT_THAT(examples[0].references, ElementsAre("entailment"));
    } else {
      EXPECT_THAT(examples[0].references, ElementsAre(sample.target));
    }
  }
}

class GlueLoadTest : public ::testing::Test {
 protected:
  std::string error(const std::string& task, const std::string& split) {
    return user_error([&] { find_task(task).load(dir_.path(), split); });
  }
  testing::TempDir dir_;
};

TEST_F(GlueLoadTest, TakesTheBenchmarkTheTaskOrTheFile) {
  const auto file = dir_.write("SST-2/dev.tsv", "sentence\tlabel\ngood\t1\n");
  const Task& task = find_task("glue/sst2");
  for (const auto& data : {dir_.path(), dir_ / "SST-2", file}) {
    EXPECT_EQ(task.load(data, "dev").size(), 1U) << data;
  }
}

TEST_F(GlueLoadTest, RoundsScoresToFifthsAsT5Does) {
  const std::vector<std::pair<std::string, std::string>> scores = {
      {"0", "0.0"},   {"5.000", "5.0"}, {"0.5", "0.4"},  {"2.5", "2.4"},   {"3.5", "3.6"},
      {"1.7", "1.6"}, {"4.1", "4.0"},   {"4.75", "4.8"}, {"1.250", "1.2"}, {"0.05", "0.0"}};
  std::string rows = "index\tsentence1\tsentence2\tscore\n";
  for (size_t i = 0; i < scores.size(); ++i) {
    rows += std::to_string(i) + "\ta\tb\t" + scores[i].first + "\n";
  }
  dir_.write("STS-B/train.tsv", rows);
  const auto examples = find_task("glue/stsb").load(dir_.path(), "train");
  ASSERT_EQ(examples.size(), scores.size());
  for (size_t i = 0; i < scores.size(); ++i)
    EXPECT_EQ(examples[i].target, scores[i].second) << scores[i].first;
}

TEST_F(GlueLoadTest, RefusesAnIdThatIsThereTwice) {
  const auto path =
      dir_.write("RTE/dev.tsv",
                 "index\tsentence1\tsentence2\tlabel\n3\ta\tb\tentailment\n3\tc\td\tentailment\n");
  EXPECT_EQ(error("glue/rte", "dev"),
            path.string() + ":3: id \"3\" is there twice; expected each id once");
}

TEST_F(GlueLoadTest, RefusesALastRowThatIsCutOff) {
  const auto path =
      dir_.write("RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n3\ta\tb\tentailment\n4\tc\td");
  EXPECT_EQ(error("glue/rte", "dev"),
            path.string() + ":3: 3 columns; expected 4 separated by tabs");
}

TEST_F(GlueLoadTest, HasNoTrainingSplitOfTheDiagnosticSet) {
  EXPECT_EQ(error("glue/ax", "train"), "glue/ax has no train split; expected dev or test");
  const auto path = dir_.write("AX/diagnostic-full.tsv", "index\tsentence1\tsentence2\n");
  EXPECT_EQ(error("glue/ax", "dev"),
            path.string() +
                ":1: the header has no column \"Label\"; expected the official dev file of "
                "glue/ax (AX)");
}

TEST_F(GlueLoadTest, NamesTheFilesLookedFor) {
  const std::string root = dir_.path().string();
  EXPECT_EQ(error("glue/mnli_mismatched", "dev"),
            root +
                "/MNLI/dev_mismatched.tsv: is not there; expected the official "
                "file here or at " +
                root + "/dev_mismatched.tsv, or so below " + root + "/glue");
}

TEST_F(GlueLoadTest, RefusesAnUnknownSplit) {
  EXPECT_EQ(error("glue/sst2", "validation"),
            "split \"validation\" is not known; expected train, dev or test");
}

TEST_F(GlueLoadTest, RefusesAWrongNumberOfColumns) {
  const auto path = dir_.write("SST-2/dev.tsv", "sentence\tlabel\ngood\t1\nbad\n");
  EXPECT_EQ(error("glue/sst2", "dev"),
            path.string() + ":3: 1 column; expected 2 separated by tabs");
  const auto cola = dir_.write("CoLA/dev.tsv", "gj04\t1\t\tThe cat\tsat.\n");
  EXPECT_EQ(error("glue/cola", "dev"),
            cola.string() + ":1: 5 columns; expected 4 separated by tabs");
}

TEST_F(GlueLoadTest, RefusesAnUnknownLabel) {
  const auto path =
      dir_.write("MNLI/dev_matched.tsv", "sentence1\tsentence2\tgold_label\na\tb\tyes\n");
  EXPECT_EQ(error("glue/mnli", "dev"),
            path.string() + ":2: label \"yes\"; expected entailment or neutral or contradiction");
  const auto scores =
      dir_.write("STS-B/dev.tsv", "sentence1\tsentence2\tscore\na\tb\t2.0\na\tb\t5.1\n");
  EXPECT_EQ(error("glue/stsb", "dev"),
            scores.string() + ":3: score \"5.1\"; expected a number from 0 to 5");
}

TEST_F(GlueLoadTest, RefusesAFileOfAnotherLayout) {
  const auto path =
      dir_.write("dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n");
  EXPECT_EQ(error("glue/sst2", "dev"),
            path.string() +
                ":1: the header has no column \"sentence\"; expected the official dev file "
                "of glue/sst2 (SST-2)");
}

TEST_F(GlueLoadTest, RefusesATestFileWhereLabelsAreNeeded) {
  const auto path = dir_.write("RTE/dev.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n");
  EXPECT_EQ(error("glue/rte", "dev"),
            path.string() +
                ":1: the header has no column \"label\"; expected the official dev file of "
                "glue/rte (RTE)");
}

TEST_F(GlueLoadTest, RefusesATestFileWithoutTheIndexThatASubmissionNames) {
  const auto path = dir_.write("RTE/test.tsv", "sentence1\tsentence2\na\tb\n");
  EXPECT_EQ(error("glue/rte", "test"),
            path.string() +
                ":1: the header has no column \"index\"; expected the official test file of "
                "glue/rte (RTE)");
  const auto questions = dir_.write("QQP/test.tsv", "question1\tquestion2\na\tb\n");
  EXPECT_EQ(error("glue/qqp", "test"),
            questions.string() +
                ":1: the header has no column \"id\"; expected the official test file of "
                "glue/qqp (QQP)");
  dir_.write("QQP/test.tsv", "id\tquestion1\tquestion2\n7\tWhy?\tHow?\n");
  EXPECT_EQ(find_task("glue/qqp").load(dir_.path(), "test").front().id, "7");
}

TEST_F(GlueLoadTest, RefusesInvalidUtf8AndEmptyFiles) {
  const auto broken = dir_.write("SST-2/train.tsv", "sentence\tlabel\n\xC3(\t1\n");
  EXPECT_EQ(error("glue/sst2", "train"),
            broken.string() + ":2: byte 1 of the line is not valid UTF-8; expected UTF-8 text");
  const auto empty = dir_.write("SST-2/dev.tsv", "sentence\tlabel\n");
  EXPECT_EQ(error("glue/sst2", "dev"),
            empty.string() + ": has no examples; expected at least one row");
}

// --- the real files
// ----------------------------------------------------------------------------------------------

TEST(GlueRealFiles, HaveTheOfficialCounts) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "glue");
  const auto count = [&](const std::string& task, const std::string& split) {
    return find_task(task).load(root, split).size();
  };
  EXPECT_EQ(count("glue/sst2", "train"), 67349U);
  EXPECT_EQ(count("glue/sst2", "dev"), 872U);
  EXPECT_EQ(count("glue/cola", "train"), 8551U);
  EXPECT_EQ(count("glue/cola", "dev"), 1043U);
  EXPECT_EQ(count("glue/rte", "train"), 2490U);
  EXPECT_EQ(count("glue/rte", "dev"), 277U);
  EXPECT_EQ(count("glue/rte", "test"), 3000U);
  EXPECT_EQ(count("glue/stsb", "train"), 5749U);
  EXPECT_EQ(count("glue/stsb", "dev"), 1500U);
  EXPECT_EQ(count("glue/mrpc", "dev"), 408U);
}

TEST(GlueRealFiles, GiveTheKnownMajorityFigures) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "glue");
  const auto constant = [&](const std::string& name, const std::string& word) {
    const Task& task = find_task(name);
    const auto examples = task.load(root, "dev");
    return task.score(std::vector<std::string>(examples.size(), word), examples);
  };
  EXPECT_NEAR(constant("glue/sst2", "positive").at("accuracy"), 100.0 * 444 / 872, 1e-9);
  EXPECT_NEAR(constant("glue/rte", "entailment").at("accuracy"), 100.0 * 146 / 277, 1e-9);
  EXPECT_NEAR(constant("glue/mrpc", "equivalent").at("f1"), 100.0 * 2 * 279 / (2 * 279 + 129),
              1e-9);
  EXPECT_EQ(constant("glue/cola", "acceptable").at("matthews_correlation"), 0.0);
}

TEST(GlueRealFiles, EverySplitOfEveryTaskLoads) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "glue/format_samples");
  for (const auto& name : task_names()) {
    if (!name.starts_with("glue/")) continue;
    for (const std::string split : {"train", "dev", "test"}) {
      if (name == "glue/ax") continue;  // not among the samples
      SCOPED_TRACE(name + " " + split);
      const auto examples = find_task(name).load(root, split);
      ASSERT_FALSE(examples.empty());
      const bool says_no = name == "glue/wnli" && split == "dev";  // no target either
      EXPECT_EQ(examples[0].target.empty(), split == "test" || says_no);
      EXPECT_EQ(examples[0].references.empty(), split == "test");
    }
  }
}

}  // namespace
}  // namespace altup
