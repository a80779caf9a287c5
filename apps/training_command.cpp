#include "apps/training_command.h"

#include <nlohmann/json.hpp>

#include "altup/util/logging.h"

namespace altup {
namespace {

struct Options {
  RunOptions run;
  std::string output;
  Resume resume = Resume::kAuto;
  std::string profile;
};

constexpr int kSignalled = 128;  // + the signal

}  // namespace

void add_training_command(CLI::App& app, Command& command, const std::string& name,
                          const std::string& help, TrainFunction train) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, name, help);
  add_run_options(*sub, options->run, /*required=*/true);
  sub->add_option("--output", options->output, "Run directory")->required()->type_name("RUN");
  sub->add_option("--resume", options->resume,
                  "auto: go on where there is a checkpoint; never; must")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Resume>{
          {"auto", Resume::kAuto}, {"never", Resume::kNever}, {"must", Resume::kMust}}));
  add_profile_option(*sub, options->profile);
  sub->callback([options, &command, train] {
    command.action = [options, &command, train] {
      prepare_output(options->profile);
      const auto result = train(read_run(options->run, command), options->output, options->resume,
                                options->profile);
      nlohmann::json figures = {{"step", result.step},
                                {"seconds", result.seconds},
                                {"tokens_per_second", result.tokens_per_second},
                                {"output", options->output}};
      for (const auto& record : result.evaluation) figures[record.split] = record.values;
      write_json(command, figures);
      if (result.signal != 0) return kSignalled + result.signal;
      log_info("done: ", options->output, "/checkpoints/latest");
      return 0;
    };
  });
}

}  // namespace altup
