// altup report: one self-contained HTML page that compares runs.
#include <nlohmann/json.hpp>

#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/report.h"

namespace altup {

void add_report(CLI::App& app, Command& command) {
  struct Options {
    std::vector<std::filesystem::path> runs;
    std::string output = "report.html";
  };
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "report", "One HTML page with curves and tables of runs");
  sub->add_option("runs", options->runs, "Run directories")->required()->type_name("RUN");
  sub->add_option("--output", options->output, "File")->capture_default_str()->type_name("FILE");
  sub->callback([options, &command] {
    command.action = [options, &command] {
      write_report(options->runs, options->output);
      log_info("wrote ", options->output);
      write_json(command, {{"report", options->output}, {"runs", options->runs.size()}});
      return 0;
    };
  });
}

}  // namespace altup
