// GLUE's files that need more than a row of the table: official ones with known defects, MRPC's
// original files, and WNLI, whose rows become Winograd sentences.
#include <gmock/gmock.h>

#include <functional>

#include "altup/tasks/task.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::user_error;

class GlueOddFilesTest : public ::testing::Test {
 protected:
  std::string error(const std::string& task, const std::string& split) {
    return user_error([&] { find_task(task).load(dir_.path(), split); });
  }
  testing::TempDir dir_;
};

// What a load says on the log.
std::string log_of(const std::function<void()>& run) {
  ::testing::internal::CaptureStderr();
  run();
  return ::testing::internal::GetCapturedStderr();
}

TEST_F(GlueOddFilesTest, LeavesOutTheTornRowsOfQqpWithOneWarning) {
  dir_.write("QQP/train.tsv",
             "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
             "1\t1\t2\tWhy?\tHow?\t0\n"
             "2\t3\t4\tWhy\n\" so?\tHow?\t0\n"
             "3\t5\t6\tWho?\tWho then?\t1\n");
  std::vector<TaskExample> examples;
  const std::string log =
      log_of([&] { examples = find_task("glue/qqp").load(dir_.path(), "train"); });
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[1].input, "qqp question1: Who? question2: Who then?");
  EXPECT_EQ(examples[1].id, "3");  // rows are counted as they stand in the file
  EXPECT_THAT(log, HasSubstr("train.tsv: 2 rows do not have the header's 6 columns (line 3 the "
                             "first); left out"));
}

TEST_F(GlueOddFilesTest, LeavesNoTornRowOutOfQqpsTestFileWhichASubmissionHasToCover) {
  const auto path =
      dir_.write("QQP/test.tsv", "id\tquestion1\tquestion2\n0\tWhy?\tHow?\n1\tWhy\n\" so?\tHow?\n");
  EXPECT_EQ(error("glue/qqp", "test"),
            path.string() + ":3: 2 columns; expected 3 separated by tabs");
}

TEST_F(GlueOddFilesTest, RefusesQqpsFileThatIsCutOffInItsLastRow) {
  const std::string begin = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
  const auto path = dir_.write("QQP/dev.tsv", begin + "1\t1\t2\tWhy?\tHow?\t0\n2\t3\t4\tWho?\tWh");
  EXPECT_EQ(error("glue/qqp", "dev"),
            path.string() + ":3: the file is cut off in its last row, after 5 columns; expected 6");
}

TEST_F(GlueOddFilesTest, RefusesQqpsFileWhereMoreThanOneRowInAHundredIsTorn) {
  const auto file = [&](int torn, int whole) {
    std::string rows = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
    for (int i = 0; i < whole; ++i) rows += "1\t1\t2\tWhy?\tHow?\t0\n";
    for (int i = 0; i < torn; ++i) rows += "2\t3\t4\tWhy\n";
    return dir_.write("QQP/train.tsv", rows).string();
  };
  const auto load = [&] { return find_task("glue/qqp").load(dir_.path(), "train").size(); };
  ::testing::internal::CaptureStderr();
  file(10, 1);
  EXPECT_EQ(load(), 1U);
  file(11, 1089);  // 1 %
  EXPECT_EQ(load(), 1089U);
  ::testing::internal::GetCapturedStderr();
  const std::string path = file(11, 1088);
  EXPECT_EQ(error("glue/qqp", "train"),
            path +
                ":1090: the first of 11 rows (of 1099) that do not have the header's 6 columns; "
                "expected at most 1 %, which line breaks inside questions tore");
}

TEST_F(GlueOddFilesTest, LeavesOutRowsWithoutAVerdict) {
  // MultiNLI's own dev files mark them so; GLUE's have none.
  dir_.write("MNLI/dev_matched.tsv", "gold_label\tsentence1\tsentence2\n-\ta\tb\nneutral\tc\td\n");
  std::vector<TaskExample> examples;
  const std::string log =
      log_of([&] { examples = find_task("glue/mnli").load(dir_.path(), "dev"); });
  ASSERT_EQ(examples.size(), 1U);
  EXPECT_EQ(examples[0].input, "mnli hypothesis: d premise: c");
  EXPECT_THAT(log, HasSubstr("dev_matched.tsv: 1 row has no verdict of the annotators"));
}

TEST_F(GlueOddFilesTest, PartsMrpcsOriginalFileByTheListOfDevIds) {
  const std::string header = "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n";
  dir_.write("MRPC/msr_paraphrase_train.txt",
             header + "1\t11\t12\ta\tb\r\n0\t13\t14\tc\td\r\n0\t11\t14\te\tf\r\n");
  dir_.write("MRPC/msr_paraphrase_test.txt", header + "1\t15\t16\tg\th\r\n");
  const std::string list = (dir_ / "MRPC/dev_ids.tsv").string();
  EXPECT_EQ(error("glue/mrpc", "train"),
            list +
                ": is not there; expected GLUE's list of the dev rows in "
                "msr_paraphrase_train.txt");
  dir_.write("MRPC/dev_ids.tsv", "13\t14\n");
  const auto inputs = [&](const std::string& split) {
    std::vector<std::string> texts;
    for (const auto& example : find_task("glue/mrpc").load(dir_.path(), split)) {
      texts.push_back(example.input);
    }
    return texts;
  };
  EXPECT_THAT(inputs("train"),
              ElementsAre("mrpc sentence1: a sentence2: b", "mrpc sentence1: e sentence2: f"));
  EXPECT_THAT(inputs("dev"), ElementsAre("mrpc sentence1: c sentence2: d"));
  EXPECT_THAT(inputs("test"), ElementsAre("mrpc sentence1: g sentence2: h"));
}

TEST_F(GlueOddFilesTest, TrainsWnliOnWhatThePronounStandsForAlone) {
  const std::string rows =
      "index\tsentence1\tsentence2\tlabel\n"
      "0\tThe fish ate the worm. It was tasty.\tThe worm was tasty.\t1\n"
      "1\tThe fish ate the worm. It was tasty.\tThe fish was tasty.\t0\n";
  dir_.write("WNLI/train.tsv", rows);
  dir_.write("WNLI/dev.tsv", rows + "2\tNo such word here.\tAnn slept.\t0\n");
  const auto train = find_task("glue/wnli").load(dir_.path(), "train");
  ASSERT_EQ(train.size(), 1U);
  EXPECT_EQ(train[0].target, "The worm");

  std::vector<TaskExample> dev;
  const std::string log = log_of([&] { dev = find_task("glue/wnli").load(dir_.path(), "dev"); });
  ASSERT_EQ(dev.size(), 3U);
  EXPECT_EQ(dev[1].target, "");  // what it does stand for is not in the file
  EXPECT_EQ(dev[1].context, "The fish");
  EXPECT_THAT(dev[1].references, ElementsAre("not_entailment"));
  EXPECT_EQ(dev[2].input, "wsc: No such word here.");
  EXPECT_THAT(log, HasSubstr("dev.tsv: 1 row has no pronoun"));
}

TEST(GlueOddRealFiles, MarkThePronounsOfWnli) {
  ALTUP_SHARED_DATA_OR_SKIP(root, "glue/format_samples/WNLI");
  const auto first = [&](const std::string& split) {
    return find_task("glue/wnli").load(root, split).front();
  };
  const TaskExample train = first("train");
  EXPECT_EQ(train.input,
            "wsc: I stuck a pin through a carrot. When I pulled the pin out, *it* had a hole.");
  EXPECT_EQ(train.target, "The carrot");
  const TaskExample dev = first("dev");
  EXPECT_EQ(dev.input, "wsc: The drain is clogged with hair. *It* has to be cleaned.");
  EXPECT_EQ(dev.context, "The hair");
  EXPECT_THAT(dev.references, ElementsAre("not_entailment"));
  const TaskExample test = first("test");
  EXPECT_THAT(test.input, HasSubstr("Horses ran away when *they* came in sight."));
  EXPECT_EQ(test.context, "Maude and Dora");
}

}  // namespace
}  // namespace altup
