#include "apps/command.h"

#include <ATen/Parallel.h>

#include <charconv>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "altup/ops/ops.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

// Whether all of `text` is a number that a T holds; if so it is in `value`.
template <class T>
bool read_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stopped == end;
}

}  // namespace

CLI::Validator whole_number(int64_t smallest, int64_t largest) {
  const auto check = [smallest, largest](const std::string& text) -> std::string {
    int64_t value = 0;
    if (read_number(text, value) && value >= smallest && value <= largest) return "";
    return str("value ", text, "; expected a whole number from ", smallest, " to ", largest);
  };
  return CLI::Validator(check, str("from ", smallest));
}

CLI::Validator above_zero() {
  const auto check = [](const std::string& text) -> std::string {
    double value = 0.0;
    if (read_number(text, value) && value > 0) return "";
    return str("value ", text, "; expected a number above 0");
  };
  return CLI::Validator(check, "above 0");
}

CLI::App* add_command(CLI::App& app, Command& command, const std::string& name,
                      const std::string& help) {
  auto* sub = app.add_subcommand(name, help);
  sub->add_option("--json", command.json,
                  "Write the figures as JSON to FILE, or to standard output (-)")
      ->type_name("FILE|-");
  sub->add_option("--threads", command.threads,
                  "Threads of one operator (0: as many as the machine has)")
      ->check(whole_number(0, 4096));
  sub->add_option("--seed", command.seed, "Overrides train.seed")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()));
  sub->add_option("--log-level", command.log_level, "debug, info, warning, error or off")
      ->capture_default_str();
  return sub;
}

void add_run_options(CLI::App& command, RunOptions& options, bool required) {
  auto* config = command.add_option("--config", options.files, "TOML files; later ones override")
                     ->type_name("FILE");
  if (required) config->required();
  command.add_option("--set", options.overrides, "Override one key, as in --set train.steps=100")
      ->type_name("KEY.PATH=VALUE");
}

RunConfig read_run(const RunOptions& options, const Command& command) {
  auto overrides = options.overrides;
  if (command.seed >= 0) overrides.push_back("train.seed=" + std::to_string(command.seed));
  if (command.threads > 0)
    overrides.push_back("runtime.threads=" + std::to_string(command.threads));
  const auto config = load_run_config(options.files, overrides);
  if (config.runtime.threads > 0) at::set_num_threads(static_cast<int>(config.runtime.threads));
  set_use_reference_kernels(config.runtime.kernels == Kernels::kReference);
  const auto products = config.runtime.products;
  set_product_kernels(products == Products::kOwn       ? ProductKernelChoice::kOwn
                      : products == Products::kLibrary ? ProductKernelChoice::kLibrary
                                                       : ProductKernelChoice::kAuto);
  return config;
}

std::ostream& text_output(const Command& command) {
  return command.json == "-" ? std::cerr : std::cout;
}

void add_profile_option(CLI::App& command, std::string& file) {
  command.add_option("--profile", file, "Write a Chrome trace of a few steps to this file")
      ->type_name("FILE");
}

void prepare_output(const std::string& file) {
  if (file.empty()) return;
  std::error_code ignored;  // the check says what is wrong
  std::filesystem::create_directories(std::filesystem::absolute(file).parent_path(), ignored);
  require_writable_file(file);
}

void prepare_json(const Command& command) {
  if (command.json != "-") prepare_output(command.json);
}

void write_json(const Command& command, const nlohmann::json& figures, bool default_stdout) {
  const std::string text =
      figures.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (command.json == "-" || (command.json.empty() && default_stdout)) {
    std::cout << text << std::flush;
  } else if (!command.json.empty()) {
    write_file_atomic(command.json, text);
  }
}

}  // namespace altup
