// One function per benchmark that appends its tasks, in the order in which task_names() lists them.
#pragma once

#include <vector>

#include "altup/tasks/task.h"

namespace altup {

void add_glue_tasks(std::vector<Task>& tasks);       ///< glue/cola … glue/wnli, glue/ax
void add_superglue_tasks(std::vector<Task>& tasks);  ///< superglue/boolq … superglue/wsc
void add_squad_tasks(std::vector<Task>& tasks);      ///< squad (v1.1)
void add_triviaqa_tasks(std::vector<Task>& tasks);   ///< triviaqa (closed book)

}  // namespace altup
