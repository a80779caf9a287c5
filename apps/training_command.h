// The options and figures that pretrain and finetune share.
#pragma once

#include <string>

#include "apps/command.h"
#include "trainers/training.h"

namespace altup {

using TrainFunction = TrainingResult (*)(const RunConfig&, const std::filesystem::path&, Resume,
                                         const std::filesystem::path&);

void add_training_command(CLI::App& app, Command& command, const std::string& name,
                          const std::string& help, TrainFunction train);

}  // namespace altup
