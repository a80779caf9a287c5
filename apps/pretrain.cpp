// altup pretrain: span-corruption training from a config.
#include "apps/training_command.h"

namespace altup {

void add_pretrain(CLI::App& app, Command& command) {
  add_training_command(app, command, "pretrain", "Train on text by span corruption", &pretrain);
}

}  // namespace altup
