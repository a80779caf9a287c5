// What the subcommands share: their common options, figures as JSON, and how a run is read.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainers/run_config.h"

namespace altup {

/// Options that every command takes, and the action that parsing chose.
struct Command {
  std::string json;     ///< --json: a file, "-" for standard output, or "" for none
  int64_t threads = 0;  ///< --threads
  int64_t seed = -1;    ///< --seed; -1: the config's
  std::string log_level = "info";
  std::function<int()> action;  ///< returns the exit code
};

/// --config FILE… and --set key=value… of the run commands.
struct RunOptions {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> overrides;
};

constexpr int64_t kLargestCount = 2'147'483'647;

/// Checks of an option's text, before it is converted: what is no such number, or does not fit, is
/// refused with "value …; expected …".
CLI::Validator whole_number(int64_t smallest, int64_t largest = kLargestCount);
CLI::Validator above_zero();

/// A subcommand with the common options.
CLI::App* add_command(CLI::App& app, Command& command, const std::string& name,
                      const std::string& help);
void add_run_options(CLI::App& command, RunOptions& options, bool required);

/// Reads the run, with --seed and --threads on top, and applies [runtime].
RunConfig read_run(const RunOptions& options, const Command& command);

/// Where a command's text goes: standard output, but standard error where --json takes that.
std::ostream& text_output(const Command& command);

/// --profile FILE, where a Chrome trace of a few steps goes.
void add_profile_option(CLI::App& command, std::string& file);

/// Makes the folder of a file that is still to be written, "" for none; UserError where it could not
/// be written after all the work.
void prepare_output(const std::string& file);

/// Makes the folder of the --json file, which may be that of a run still to be made; UserError where
/// the file could not be written after all the work.
void prepare_json(const Command& command);

/// Writes the figures where --json asks for them. `default_stdout`: to standard output, also
/// unasked.
void write_json(const Command& command, const nlohmann::json& figures, bool default_stdout = false);

void add_bench(CLI::App& app, Command& command);
void add_convert(CLI::App& app, Command& command);
void add_demo(CLI::App& app, Command& command);
void add_evaluate(CLI::App& app, Command& command);
void add_experiment(CLI::App& app, Command& command);
void add_export(CLI::App& app, Command& command);
void add_finetune(CLI::App& app, Command& command);
void add_generate(CLI::App& app, Command& command);
void add_import(CLI::App& app, Command& command);
void add_info(CLI::App& app, Command& command);
void add_pretrain(CLI::App& app, Command& command);
void add_preview(CLI::App& app, Command& command);
void add_report(CLI::App& app, Command& command);
void add_score(CLI::App& app, Command& command);
void add_tokenizer(CLI::App& app, Command& command);

}  // namespace altup
