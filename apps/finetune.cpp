// altup finetune: training on a task, text to text.
#include "apps/training_command.h"

namespace altup {

void add_finetune(CLI::App& app, Command& command) {
  add_training_command(app, command, "finetune", "Train on a task, text to text", &finetune);
}

}  // namespace altup
