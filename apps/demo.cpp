// altup demo: the whole story on data that it makes itself.
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "trainers/demo.h"

namespace altup {

void add_demo(CLI::App& app, Command& command) {
  struct Options {
    std::string output = "runs/demo";
  };
  auto options = std::make_shared<Options>();
  auto* sub = add_command(
      app, command, "demo",
      "Make data, train dense, AltUp and Recycled, fine-tune, evaluate, export, report");
  sub->add_option("--output", options->output, "Directory")
      ->capture_default_str()
      ->type_name("DIR");
  sub->callback([options, &command] {
    command.action = [options, &command] {
      const auto result = run_demo(options->output, command.seed >= 0 ? command.seed : 1);
      write_json(command, nlohmann::json::parse(result.json));
      if (result.signal != 0) return 128 + result.signal;
      text_output(command) << result.table << std::flush;
      return 0;
    };
  });
}

}  // namespace altup
