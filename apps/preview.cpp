// altup preview: what the model will see, ids and text, as JSON lines.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/training.h"

namespace altup {
namespace {

struct Options {
  RunOptions run;
  int64_t batches = 1;
};

int preview(const Options& options, const Command& command) {
  const auto config = read_run(options.run, command);
  const auto data = open_training_data(config);
  std::ofstream file;
  if (!command.json.empty() && command.json != "-") {
    file.open(command.json);
    if (!file) throw UserError(command.json, "cannot be written; expected a file or -");
  }
  std::ostream& out = file.is_open() ? file : std::cout;
  int64_t unknown = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < options.batches; ++i) {
    const Batch batch = data.source->next();
    const auto ids_of = [](std::span<const int64_t> ids) {
      return std::vector<int32_t>(ids.begin(), ids.end());
    };
    for (int64_t b = 0; b < batch.size; ++b) {
      const auto inputs = ids_of(batch.input(b));
      const auto targets = ids_of(batch.target(b));
      const nlohmann::json line = {{"inputs", inputs},
                                   {"targets", targets},
                                   {"input_text", data.tokenizer->decode(inputs)},
                                   {"target_text", data.tokenizer->decode(targets)}};
      out << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
      for (const auto& ids : {inputs, targets}) {
        unknown += std::count(ids.begin(), ids.end(), Tokenizer::kUnk);
        tokens += static_cast<int64_t>(ids.size());
      }
    }
  }
  out.flush();
  if (file.is_open() && !file) throw std::runtime_error(command.json + ": cannot be written");
  log_info(tokens, " tokens, ",
           fixed(100.0 * static_cast<double>(unknown) / static_cast<double>(tokens), 3),
           " % of them unknown to the vocabulary");
  return 0;
}

}  // namespace

void add_preview(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "preview", "What the model will see, as JSON lines");
  add_run_options(*sub, options->run, /*required=*/true);
  sub->add_option("--batches", options->batches, "Batches")
      ->capture_default_str()
      ->check(whole_number(1));
  sub->callback([options, &command] {
    command.action = [options, &command] { return preview(*options, command); };
  });
}

}  // namespace altup
