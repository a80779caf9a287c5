// The `altup` program: one thin file per subcommand. What a user can mend is one line on stderr and
// exit code 2; what fails at run time is one line and 1; a training run that a signal ended after a
// save is 128 + the signal.
#include <c10/util/Exception.h>

#include <exception>
#include <iostream>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "apps/command.h"
#include "trainers/runtime.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int fail(int code, const std::string& what) {
  const std::string line = what.substr(0, what.find('\n'));
  std::cerr << "error: " << line << std::endl;
  altup::log_error_to_file(line);
  return code;
}

/// What to say about a wrong command line. CLI11 reports a missing command before it looks at the
/// misspelled word that was meant as one, so that word is named here.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto unknown = app.remaining(/*recurse=*/true);
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::RequiredError) ||
      !app.get_subcommands().empty() || unknown.empty() || unknown.front().starts_with('-')) {
    return error.what();
  }
  std::vector<std::string> commands;
  for (const auto* command : app.get_subcommands(/*filter=*/nullptr)) {
    commands.push_back(command->get_name());
  }
  const std::string closest = altup::nearest(unknown.front(), commands);
  return altup::str(
      "\"", unknown.front(), "\" is no command; expected ",
      closest.empty() ? "one of " + altup::join(commands, ", ") : "perhaps " + closest);
}

int run(int argc, char** argv) {
  CLI::App app(
      "AltUp: pre-train, fine-tune, evaluate and export T5 models with alternating updates",
      "altup");
  app.require_subcommand(1);
  app.set_version_flag("--version", ALTUP_VERSION);
  altup::Command command;
  altup::add_demo(app, command);
  altup::add_tokenizer(app, command);
  altup::add_preview(app, command);
  altup::add_pretrain(app, command);
  altup::add_finetune(app, command);
  altup::add_experiment(app, command);
  altup::add_evaluate(app, command);
  altup::add_score(app, command);
  altup::add_generate(app, command);
  altup::add_export(app, command);
  altup::add_import(app, command);
  altup::add_convert(app, command);
  altup::add_bench(app, command);
  altup::add_info(app, command);
  altup::add_report(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return fail(kUsage, explain(app, error) + "; see altup --help");
  }
  try {
    altup::set_log_level(altup::parse_log_level(command.log_level));
    altup::prepare_json(command);
    altup::set_up_process(command.threads);
    const int status = command.action();
    std::cout.flush();
    return std::cout ? status : fail(kFailed, "standard output cannot be written");
  } catch (const altup::UserError& error) {
    return fail(kUsage, error.what());
  } catch (const c10::Error& error) {
    return fail(kFailed, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return fail(kFailed, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv);
}
