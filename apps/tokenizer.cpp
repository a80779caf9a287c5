// altup tokenizer train | encode | decode.
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "altup/data/reader.h"
#include "altup/data/tokenizer.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "apps/command.h"

namespace altup {
namespace {

struct Options {
  std::vector<std::string> inputs;
  int64_t vocab_size = 32000;
  std::string output;
  std::string model;
  int64_t sentinels = 100;
};

int train(const Options& options, const Command& command) {
  TokenizerTraining training{.inputs = {}, .vocab_size = options.vocab_size};
  if (command.seed >= 0) training.seed = static_cast<uint64_t>(command.seed);
  for (const auto& pattern : options.inputs) {
    for (auto& path : expand_glob(pattern)) training.inputs.push_back(std::move(path));
  }
  if (std::filesystem::exists(options.output) && !std::filesystem::is_directory(options.output)) {
    throw UserError(options.output, "is a file; expected a directory for spiece.model");
  }
  train_tokenizer(training, options.output);
  const auto model = std::filesystem::path(options.output) / "spiece.model";
  log_info("wrote ", model.string());
  write_json(command, {{"model", model.string()}, {"pieces", options.vocab_size}});
  return 0;
}

int encode(const Options& options, const Command& command) {
  const Tokenizer tokenizer(options.model, options.sentinels);
  int64_t lines = 0;
  int64_t tokens = 0;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    require_utf8("standard input", lines + 1, line);
    auto ids = tokenizer.encode(line);
    ids.push_back(Tokenizer::kEos);
    text_output(command) << nlohmann::json(ids).dump() << "\n";
    ++lines;
    tokens += static_cast<int64_t>(ids.size());
  }
  write_json(command, {{"lines", lines}, {"tokens", tokens}});
  return 0;
}

/// None where it is no array of whole numbers of 32 bits.
std::optional<std::vector<int32_t>> read_ids(const std::string& line) {
  const auto array = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!array.is_array()) return {};
  std::vector<int32_t> ids;
  for (const auto& id : array) {
    if (!id.is_number_integer() || id < std::numeric_limits<int32_t>::min() ||
        id > std::numeric_limits<int32_t>::max()) {
      return {};
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

int decode(const Options& options, const Command& command) {
  const Tokenizer tokenizer(options.model, options.sentinels);
  int64_t line_number = 0;
  int64_t tokens = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++line_number;
    const auto ids = read_ids(line);
    if (!ids) {
      throw UserError("standard input", line_number,
                      "is no JSON array of ids; expected one a line, as [37, 1712, 1]");
    }
    text_output(command) << tokenizer.decode(*ids) << "\n";
    tokens += static_cast<int64_t>(ids->size());
  }
  write_json(command, {{"lines", line_number}, {"tokens", tokens}});
  return 0;
}

}  // namespace

void add_tokenizer(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* tokenizer = app.add_subcommand("tokenizer", "SentencePiece: train, encode, decode");
  tokenizer->require_subcommand(1);

  auto* training = add_command(*tokenizer, command, "train", "Train a vocabulary with T5's ids");
  training->add_option("--input", options->inputs, "Text or JSON lines, also gzipped; patterns")
      ->required();
  training->add_option("--vocab-size", options->vocab_size, "Pieces, without the sentinels")
      ->capture_default_str()
      ->check(whole_number(8, 1 << 24));
  training->add_option("--output", options->output, "Directory for spiece.model")
      ->required()
      ->type_name("DIR");
  training->callback([options, &command] {
    command.action = [options, &command] { return train(*options, command); };
  });

  const auto add_model = [&](CLI::App* sub) {
    sub->add_option("--model", options->model, "SentencePiece file")->required()->type_name("FILE");
    sub->add_option("--sentinels", options->sentinels, "Extra ids")
        ->capture_default_str()
        ->check(whole_number(1, 10000));
  };
  auto* encoding = add_command(*tokenizer, command, "encode",
                               "Lines of text to lines of JSON ids, eos included");
  add_model(encoding);
  encoding->callback([options, &command] {
    command.action = [options, &command] { return encode(*options, command); };
  });
  auto* decoding = add_command(*tokenizer, command, "decode", "Lines of JSON ids to lines of text");
  add_model(decoding);
  decoding->callback([options, &command] {
    command.action = [options, &command] { return decode(*options, command); };
  });
}

}  // namespace altup
