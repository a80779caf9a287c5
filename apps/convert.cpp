// altup convert: a checkpoint of one variant becomes one of another.
#include "altup/util/error.h"
#include "apps/command.h"

namespace altup {

void add_convert(CLI::App& app, Command& command) {
  struct Options {
    std::string checkpoint;
    std::string variant;
    int64_t blocks = 2;
    std::string output;
    RunOptions run;
  };
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "convert",
                          "Turn a dense checkpoint into an AltUp one (still to come)");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--altup", options->variant, "Variant to convert to")->required();
  sub->add_option("--blocks", options->blocks, "K");
  sub->add_option("--set", options->run.overrides, "Further keys")->type_name("KEY.PATH=VALUE");
  sub->add_option("--output", options->output, "Checkpoint directory to write")
      ->required()
      ->type_name("DIR");
  sub->callback([&command] {
    command.action = []() -> int {
      throw UserError("convert is still to come; train the variant from scratch");
    };
  });
}

}  // namespace altup
