// altup import: a Hugging Face T5 checkpoint, or an export to one, becomes a checkpoint of ours.
#include <nlohmann/json.hpp>

#include "altup/models/hugging_face.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"

namespace altup {
namespace {

struct Options {
  std::string from;
  std::string output;
};

int import_model(const Options& options, const Command& command) {
  require_model_target(options.output);
  const std::filesystem::path from(options.from);
  const auto imported = import_hugging_face(from);
  auto vocabulary = read_hugging_face_vocabulary(from);
  RunConfig config;
  config.model = imported.config;
  config.tokenizer.model = (from / "spiece.model").string();
  config.tokenizer.sentinels = vocabulary.sentinels;
  const auto tokenizer = Tokenizer::from_bytes(std::move(vocabulary.spiece_model),
                                               vocabulary.sentinels, config.tokenizer.model);
  config.validate_vocabulary(tokenizer.vocab_size());
  T5 model(config.model, /*initialise=*/false);
  load_parameters(*model, imported.tensors, options.from);
  save_model(options.output, config, model, tokenizer);
  log_info("wrote ", options.output);
  write_json(command, {{"output", options.output}});
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "import", "Read a Hugging Face T5 checkpoint");
  sub->add_option(
         "--from", options->from,
         "Directory with config.json, model.safetensors (or its parts and their index) and "
         "spiece.model")
      ->required()
      ->type_name("DIR");
  sub->add_option("--output", options->output, "Checkpoint directory to write")
      ->required()
      ->type_name("DIR");
  sub->callback([options, &command] {
    command.action = [options, &command] { return import_model(*options, command); };
  });
}

}  // namespace altup
