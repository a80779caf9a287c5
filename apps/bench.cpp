// altup bench ops | step | generate: timings beside the reference path.
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/bench.h"
#include "trainers/checkpoint_io.h"
#include "trainers/runtime.h"

namespace altup {
namespace {

struct Options {
  RunOptions run;
  std::string checkpoint;
  int64_t steps = 5;
  int64_t batch_size = 8;
  int64_t beams = 1;
  int64_t input_length = 128;
  int64_t max_new_tokens = 64;
};

int ops(const Options& options, const Command& command) {
  nlohmann::json figures = nlohmann::json::array();
  for (const auto& op : bench_ops(options.steps)) {
    const double ratio = op.reference.median / op.fused.median;
    figures.push_back({{"name", op.name},
                       {"seconds", op.fused.median},
                       {"reference_seconds", op.reference.median},
                       {"ratio", ratio}});
    if (command.json != "-") {
      std::cout << std::left << std::setw(50) << op.name << std::right << std::setw(9)
                << fixed(1e3 * op.fused.median, 2) << " ms  reference " << std::setw(9)
                << fixed(1e3 * op.reference.median, 2) << " ms  " << fixed(ratio, 2) << "x\n";
    }
  }
  write_json(command, figures);
  return 0;
}

int step(const Options& options, const Command& command) {
  const auto config = read_run(options.run, command);
  const auto result = bench_step(config, options.steps);
  nlohmann::json figures = {
      {"steps", result.steps},
      {"seconds_per_step", result.fused.median},
      {"seconds_min", result.fused.minimum},
      {"tokens", result.tokens},
      {"tokens_per_second", static_cast<double>(result.tokens) / result.fused.median},
      {"gflops_per_second", 1e-9 * result.flops / result.fused.median},
      {"peak_memory_mib", result.peak_memory_mib},
      {"precision", enum_name(result.precision)},
      {"parameters", result.parameters}};
  if (result.reference.median > 0) {
    figures["reference_seconds_per_step"] = result.reference.median;
    figures["ratio"] = result.reference.median / result.fused.median;
  }
  write_json(command, figures, /*default_stdout=*/true);
  return 0;
}

int generate(const Options& options, const Command& command) {
  if (options.beams != 1)
    throw UserError("--beams: beam search is still to come; expected 1 (greedy)");
  auto loaded = load_model(options.checkpoint, default_device());
  const auto precision = resolve_precision(loaded.config.train.precision, default_device());
  const auto result = bench_generate(loaded.model, options.batch_size, options.input_length,
                                     options.max_new_tokens, precision, options.steps);
  const auto tokens = static_cast<double>(result.tokens);
  write_json(command,
             {{"tokens_per_second", tokens / result.cached.median},
              {"uncached_tokens_per_second", tokens / result.uncached.median},
              {"ratio", result.uncached.median / result.cached.median},
              {"batch", options.batch_size},
              {"beams", options.beams},
              {"precision", enum_name(precision)}},
             /*default_stdout=*/true);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* bench =
      app.add_subcommand("bench", "Timings, as ratio to the reference path in the same run");
  bench->require_subcommand(1);
  const auto add_steps = [&](CLI::App* sub) {
    sub->add_option("--steps", options->steps, "Repetitions; the median counts")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
  };

  auto* ops_command =
      add_command(*bench, command, "ops", "The fused operators beside their reference twins");
  add_steps(ops_command);
  ops_command->callback([options, &command] {
    command.action = [options, &command] { return ops(*options, command); };
  });

  auto* step_command = add_command(*bench, command, "step", "Whole training steps on random ids");
  add_run_options(*step_command, options->run, /*required=*/true);
  add_steps(step_command);
  step_command->callback([options, &command] {
    command.action = [options, &command] { return step(*options, command); };
  });

  auto* generate_command =
      add_command(*bench, command, "generate", "Decoding, with and without the cache");
  generate_command->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required();
  const auto add_count = [&](const std::string& name, int64_t& value, const std::string& help) {
    generate_command->add_option(name, value, help)
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
  };
  add_count("--batch-size", options->batch_size, "Inputs decoded together");
  add_count("--beams", options->beams, "Beams");
  add_count("--input-length", options->input_length, "Tokens of an input");
  add_count("--max-new-tokens", options->max_new_tokens, "Tokens of an output");
  add_steps(generate_command);
  generate_command->callback([options, &command] {
    command.action = [options, &command] { return generate(*options, command); };
  });
}

}  // namespace altup
