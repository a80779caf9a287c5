#include <gmock/gmock.h>

#include "altup/tasks/task.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Registry, ListsEveryTask) {
  EXPECT_THAT(task_names(),
              ElementsAre("glue/cola", "glue/sst2", "glue/mrpc", "glue/stsb", "glue/qqp",
                          "glue/mnli", "glue/mnli_mismatched", "glue/qnli", "glue/rte", "glue/wnli",
                          "glue/ax", "superglue/boolq", "superglue/cb", "superglue/copa",
                          "superglue/rte", "superglue/wic", "superglue/axb", "superglue/axg",
                          "superglue/multirc", "superglue/record", "superglue/wsc",  //
                          "squad", "triviaqa"));
}

TEST(Registry, EveryTaskIsComplete) {
  for (const auto& name : task_names()) {
    const Task& task = find_task(name);
    EXPECT_EQ(task.name, name);
    EXPECT_FALSE(task.best_metric.empty()) << name;
    EXPECT_TRUE(task.load && task.postprocess && task.score && task.write_predictions &&
                task.read_predictions)
        << name;
  }
}

TEST(Registry, NamesTheNearestTask) {
  EXPECT_EQ(testing::user_error([] { find_task("glue/sst-2"); }),
            "task \"glue/sst-2\" is not known; expected perhaps glue/sst2");
  EXPECT_THAT(testing::user_error([] { find_task("translation"); }),
              HasSubstr("expected one of glue/cola, "));
}

class FindTasks : public ::testing::Test {
 protected:
  // The path of a task of that name.
  std::string task(const std::string& file, const std::string& name) {
    return dir_
        .write(file, "[task]\nname = \"" + name +
                         "\"\nformat = \"jsonl\"\ndev = \"d\"\nprompt = \"{q}\"\ntarget = "
                         "\"{a}\"\nmetrics = \"accuracy\"\n")
        .string();
  }
  testing::TempDir dir_;
};

TEST_F(FindTasks, GivesEachTaskOnceInTheOrderOfTheNames) {
  const auto all = find_tasks(task_names());
  ASSERT_EQ(all.size(), task_names().size());
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i]->name, task_names()[i]);
  EXPECT_EQ(testing::user_error([] {
              find_tasks({"glue", "glue/rte"});
            }),
            "task \"glue/rte\" is there twice; expected each task once");
}

TEST_F(FindTasks, RefusesTwoThatMetricsOrFilesWouldNotTellApart) {
  const auto a = task("a.toml", "mine/x");
  const auto b = task("b.toml", "mine/x");
  const auto c = task("c.toml", "mine_x");
  EXPECT_EQ(testing::user_error([&] {
              find_tasks({a, "squad", b});
            }),
            "tasks \"" + a + "\" and \"" + b +
                "\" are both called \"mine/x\"; expected a name of its own for each");
  EXPECT_EQ(testing::user_error([&] {
              find_tasks({a, c});
            }),
            "tasks \"" + a + "\" and \"" + c +
                "\" both write mine_x.jsonl; expected names that give different files");
}

TEST_F(FindTasks, KnowsAFileByEverySpellingOfItsPath) {
  const auto path = task("a.toml", "mine");
  dir_.write("folder/other", "");
  const auto detour = (dir_ / "folder/../a.toml").string();
  EXPECT_EQ(&find_task(path), &find_task(detour));
  EXPECT_EQ(testing::user_error([&] {
              find_tasks({path, detour});
            }),
            "task \"mine\" is there twice; expected each task once");
}

}  // namespace
}  // namespace altup
