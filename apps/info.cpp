// altup info: parameters, FLOPs and memory of a model, from a checkpoint or a config, without
// loading weights.
#include <nlohmann/json.hpp>

#include "altup/checkpoint/directory.h"
#include "altup/models/model_size.h"
#include "altup/util/error.h"
#include "apps/command.h"

namespace altup {
namespace {

struct Options {
  RunOptions run;
  std::string checkpoint;
};

int info(const Options& options, const Command& command) {
  if (options.checkpoint.empty() == options.run.files.empty()) {
    throw UserError("altup info expects either --checkpoint or --config");
  }
  RunOptions run = options.run;
  if (!options.checkpoint.empty())
    run.files = {resolve_checkpoint(options.checkpoint) / "config.toml"};
  const auto config = read_run(run, command);
  const auto parameters = count_parameters(config.model);
  const auto lengths = config.data.lengths();
  const auto flops = count_flops(config.model, lengths.input, lengths.target);
  constexpr double kMib = 1024.0 * 1024.0;
  const nlohmann::json figures = {
      {"variant", enum_name(config.model.altup.variant)},
      {"blocks", config.model.num_blocks()},
      {"parameters",
       {{"total", parameters.total},
        {"embedding", parameters.embedding},
        {"altup", parameters.altup},
        {"experts", parameters.experts},
        {"active", parameters.active}}},
      {"flops_per_token", flops.forward_backward / static_cast<double>(flops.tokens)},
      {"flops_per_example", flops.forward_backward},
      {"tokens_per_example", flops.tokens},
      // fp32 weights and gradients; the optimiser's moments depend on the optimiser.
      {"memory_mib",
       {{"weights", static_cast<double>(4 * parameters.total) / kMib},
        {"weights_and_gradients", static_cast<double>(8 * parameters.total) / kMib}}}};
  write_json(command, figures, /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub =
      add_command(app, command, "info", "Parameters, FLOPs per token and memory of a model");
  add_run_options(*sub, options->run, /*required=*/false);
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->type_name("DIR");
  sub->callback([options, &command] {
    command.action = [options, &command] { return info(*options, command); };
  });
}

}  // namespace altup
