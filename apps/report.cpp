// altup report: one self-contained HTML page that compares runs, or shows an experiment.
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/experiment_report.h"
#include "trainers/report.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

int report_experiment(const std::vector<fs::path>& runs, const fs::path& output,
                      const Command& command) {
  if (runs.size() > 1) {
    throw UserError(
        "the directory of an experiment is reported alone; expected one such, or runs only");
  }
  nlohmann::json files = nlohmann::json::array();
  for (const auto& file : write_experiment_report(runs.front(), output)) {
    log_info("wrote ", file.string());
    files.push_back(file.string());
  }
  write_json(command, {{"report", output.string()}, {"files", files}});
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Command& command) {
  struct Options {
    std::vector<std::filesystem::path> runs;
    std::string output = "report.html";
  };
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "report", "One HTML page with curves and tables of runs");
  sub->add_option("runs", options->runs, "Run directories, or that of an experiment")
      ->required()
      ->type_name("RUN");
  sub->add_option("--output", options->output, "File")->capture_default_str()->type_name("FILE");
  sub->callback([options, &command] {
    command.action = [options, &command] {
      for (const auto& run : options->runs) {
        if (holds_experiment(run)) {
          return report_experiment(options->runs, options->output, command);
        }
      }
      write_report(options->runs, options->output);
      log_info("wrote ", options->output);
      write_json(command, {{"report", options->output}, {"runs", options->runs.size()}});
      return 0;
    };
  });
}

}  // namespace altup
