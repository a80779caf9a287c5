// altup bench ops | step | finetune | generate: timings beside the path that they are to beat.
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "apps/decoding_options.h"
#include "trainers/bench.h"
#include "trainers/checkpoint_io.h"
#include "trainers/runtime.h"
#include "trainers/training.h"

namespace altup {
namespace {

struct Options {
  RunOptions run;
  std::vector<std::filesystem::path> beside;
  std::string checkpoint;
  int64_t steps = 5;
  GenerateBenchConfig generation;
  std::string precision;
  std::string profile;
  bool reference = true;
};

int ops(const Options& options, const Command& command) {
  nlohmann::json figures = nlohmann::json::array();
  bench_ops(options.steps, [&](const OpBench& op) {
    const double ratio = op.reference.median / op.fused.median;
    figures.push_back({{"name", op.name},
                       {"seconds", op.fused.median},
                       {"reference_seconds", op.reference.median},
                       {"ratio", ratio}});
    if (command.json != "-") {
      std::cout << std::left << std::setw(50) << op.name << std::right << std::setw(9)
                << fixed(1e3 * op.fused.median, 2) << " ms  reference " << std::setw(9)
                << fixed(1e3 * op.reference.median, 2) << " ms  " << fixed(ratio, 2) << "x"
                << std::endl;  // a line at a time: the reference takes its time
    }
  });
  write_json(command, figures);
  return 0;
}

/// With the model that a run of it would train.
RunConfig read_whole_run(const RunOptions& options, const Command& command) {
  auto config = read_run(options, command);
  adopt_start(config);
  return config;
}

int compare(const Options& options, const Command& command) {
  const auto config = read_whole_run(options.run, command);
  const auto other = read_whole_run({options.beside, options.run.overrides}, command);
  if (!(config.runtime == other.runtime))
    throw UserError("--beside: its [runtime] differs; one process computes in one way");
  const auto result = compare_steps(config, other, options.steps);
  write_json(command,
             {{"steps", options.steps},
              {"seconds_per_step", result.step.median},
              {"seconds_min", result.step.minimum},
              {"beside",
               {{"seconds_per_step", result.other.median}, {"seconds_min", result.other.minimum}}},
              {"ratio", result.ratio},
              {"ratio_quartiles", {result.ratio_low, result.ratio_high}}},
             /*default_stdout=*/true);
  return 0;
}

int step(const Options& options, const Command& command) {
  if (!options.beside.empty()) return compare(options, command);
  const auto config = read_whole_run(options.run, command);
  prepare_output(options.profile);
  const auto result = bench_step(config, options.steps, options.reference, options.profile);
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

int finetune(const Options& options, const Command& command) {
  const auto result = bench_finetune(read_run(options.run, command), options.steps);
  nlohmann::json figures = {{"steps", result.steps},
                            {"tokens", result.tokens},
                            {"precision", enum_name(result.precision)}};
  for (const auto& way : result.paddings) {
    figures["padding"][std::string(enum_name(way.padding))] = {
        {"seconds_per_step", way.step.median},
        {"seconds_min", way.step.minimum},
        {"tokens_per_second", way.tokens_per_second},
        {"computed_tokens", way.computed_tokens},
        {"ratio", way.ratio}};
  }
  write_json(command, figures, /*default_stdout=*/true);
  return 0;
}

int generate(const Options& options, const Command& command) {
  auto loaded = load_model(options.checkpoint, default_device());
  auto config = options.generation;
  config.repeats = options.steps;
  config.valid_vocab = loaded.tokenizer->vocab_size();
  config.precision = set_decoding_precision(options.precision, loaded);
  const auto result = bench_generate(loaded.model, config);
  const bool int8 = options.precision == "int8";
  const auto tokens = static_cast<double>(result.tokens);
  nlohmann::json figures = {{"tokens_per_second", tokens / result.cached.median},
                            {"seconds", result.cached.median},
                            {"seconds_min", result.cached.minimum},
                            {"tokens", result.tokens},
                            {"batch", config.batch_size},
                            {"beams", config.beams},
                            {"input_length", config.input_length},
                            {"max_new_tokens", config.new_tokens},
                            {"precision", int8 ? "int8" : enum_name(config.precision)}};
  if (result.uncached.median > 0) {
    figures["uncached_tokens_per_second"] = tokens / result.uncached.median;
    figures["ratio"] = result.uncached.median / result.cached.median;
  }
  write_json(command, figures, /*default_stdout=*/true);
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
        ->check(whole_number(1));
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
  auto* no_reference = step_command->add_flag("!--no-reference", options->reference,
                                              "Leave out the same step on the reference kernels");
  add_profile_option(*step_command, options->profile);
  step_command
      ->add_option("--beside", options->beside,
                   "Config files of another model, whose steps take turns with this one's")
      ->type_name("FILE...")
      ->excludes(no_reference)
      ->excludes("--profile");
  step_command->callback([options, &command] {
    command.action = [options, &command] { return step(*options, command); };
  });

  auto* finetune_command =
      add_command(*bench, command, "finetune",
                  "Training steps on a task's examples, with each train.padding in turn");
  add_run_options(*finetune_command, options->run, /*required=*/true);
  add_steps(finetune_command);
  finetune_command->callback([options, &command] {
    command.action = [options, &command] { return finetune(*options, command); };
  });

  auto* generate_command =
      add_command(*bench, command, "generate", "Decoding, with and without the cache");
  generate_command->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required();
  const auto add_count = [&](const std::string& name, int64_t& value, const std::string& help) {
    generate_command->add_option(name, value, help)->capture_default_str()->check(whole_number(1));
  };
  auto& generation = options->generation;
  add_count("--batch-size", generation.batch_size, "Inputs decoded together");
  add_count("--beams", generation.beams, "Beams; 1: greedy");
  add_count("--input-length", generation.input_length, "Tokens of an input");
  add_count("--max-new-tokens", generation.new_tokens, "Tokens of an output");
  generate_command->add_flag("!--no-uncached", generation.uncached,
                             "Leave out the reference, decoding without the cache");
  add_precision_option(*generate_command, options->precision, /*int8=*/true);
  add_steps(generate_command);
  generate_command->callback([options, &command] {
    command.action = [options, &command] { return generate(*options, command); };
  });
}

}  // namespace altup
