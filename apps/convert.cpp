// altup convert: a checkpoint becomes one with more blocks and the same outputs, to be trained on.
#include <nlohmann/json.hpp>

#include "altup/models/block_conversion.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string variant;
  int64_t blocks = 2;
  std::vector<std::string> overrides;
  std::string output;
};

int convert(const Options& options, const Command& command) {
  require_model_target(options.output);
  auto source = load_model(options.checkpoint, torch::kCPU);
  auto overrides = options.overrides;
  overrides.push_back("altup.variant=" + options.variant);
  overrides.push_back("altup.blocks=" + std::to_string(options.blocks));
  const auto config = load_run_config({source.directory / "config.toml"}, overrides);
  check_block_conversion(source.config.model, config.model);
  T5 target(config.model, /*initialise=*/false);
  convert_blocks(source.model, target);
  save_model(options.output, config, target, *source.tokenizer);
  log_info("wrote ", options.output, ": ", options.variant, " with ", options.blocks,
           " blocks; its outputs are those of ", options.checkpoint);
  write_json(
      command,
      {{"output", options.output}, {"variant", options.variant}, {"blocks", options.blocks}});
  return 0;
}

}  // namespace

void add_convert(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "convert",
                          "Give a checkpoint more blocks without changing its outputs");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--altup", options->variant, "Variant: altup, recycled or sum")
      ->required()
      ->check(CLI::IsMember({"altup", "recycled", "sum"}));
  sub->add_option("--blocks", options->blocks, "K, a multiple of the blocks that it has")
      ->check(whole_number(2, 64))
      ->capture_default_str();
  sub->add_option("--set", options->overrides, "A further key of [altup]")
      ->type_name("KEY.PATH=VALUE");
  sub->add_option("--output", options->output, "Checkpoint directory to write")
      ->required()
      ->type_name("DIR");
  sub->callback([options, &command] {
    command.action = [options, &command] { return convert(*options, command); };
  });
}

}  // namespace altup
