// altup export: a checkpoint as a file that others open.
#include <nlohmann/json.hpp>

#include "altup/models/torchscript.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string format = "torchscript";
  std::string output;
};

int export_model(const Options& options, const Command& command) {
  if (options.format == "huggingface") {
    throw UserError("--to huggingface is still to come; expected torchscript");
  }
  require_writable_file(options.output);
  if (std::filesystem::exists(options.output) &&
      !std::filesystem::is_regular_file(options.output)) {
    throw UserError(options.output, "is no ordinary file; expected a new one or one to replace");
  }
  auto loaded = load_model(options.checkpoint, torch::kCPU);
  export_torchscript(loaded.model, options.output, loaded.tokenizer->vocab_size());
  log_info("wrote ", options.output,
           ": forward, encode and generate, checked against the checkpoint");
  write_json(command, {{"format", options.format}, {"output", options.output}});
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "export", "Write a checkpoint as TorchScript");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--to", options->format, "torchscript or huggingface")
      ->required()
      ->check(CLI::IsMember({"torchscript", "huggingface"}));
  sub->add_option("--output", options->output, "File")->required()->type_name("PATH");
  sub->callback([options, &command] {
    command.action = [options, &command] { return export_model(*options, command); };
  });
}

}  // namespace altup
