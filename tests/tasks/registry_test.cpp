#include <gmock/gmock.h>

#include "altup/tasks/task.h"
#include "tests/tasks/expect_error.h"

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

}  // namespace
}  // namespace altup
