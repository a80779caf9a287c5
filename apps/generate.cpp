// altup generate: text in, text out, a line for a line.
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/data/reader.h"
#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"
#include "trainers/text_generation.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string input;
  int64_t max_new_tokens = 128;
  int64_t beams = 1;
  int64_t batch_size = 16;
  int64_t input_length = 512;
};

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::string line;
  if (!path.empty()) {
    for (LineReader file(path); file.next(line);) lines.push_back(line);
    return lines;
  }
  while (std::getline(std::cin, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

// An output is one line, whatever the model wrote.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

int generate(const Options& options, const Command& command) {
  if (options.beams != 1)
    throw UserError("--beams: beam search is still to come; expected 1 (greedy)");
  const auto lines = read_lines(options.input);
  auto loaded = load_model(options.checkpoint, default_device());
  const TextGenerationConfig config{
      .batch_size = options.batch_size,
      .input_length = options.input_length,
      .max_new_tokens = options.max_new_tokens,
      .precision = resolve_precision(loaded.config.train.precision, default_device())};
  const auto result = generate_texts(loaded.model, *loaded.tokenizer, lines, config);
  std::ostream& out = text_output(command);
  for (const auto& text : result.texts) out << one_line(text) << "\n";
  out.flush();
  if (result.truncated_outputs > 0) {
    log_info(result.truncated_outputs, " of ", lines.size(), " outputs were cut at ",
             options.max_new_tokens, " tokens before eos");
  }
  if (result.truncated_inputs > 0) {
    log_warning(result.truncated_inputs, " of ", lines.size(), " inputs were cut to ",
                options.input_length, " tokens");
  }
  write_json(command, {{"outputs", lines.size()},
                       {"generated_tokens", result.generated_tokens},
                       {"truncated_outputs", result.truncated_outputs},
                       {"truncated_inputs", result.truncated_inputs}});
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "generate",
                          "Text in, text out: one output line for each input line");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--input", options->input,
                  "Text file, plain or gzipped (default: standard input)")
      ->type_name("FILE");
  sub->add_option("--max-new-tokens", options->max_new_tokens, "Longest output, tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_option("--beams", options->beams, "Beams")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_option("--batch-size", options->batch_size, "Lines decoded together, at most")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  sub->add_option("--input-length", options->input_length,
                  "Longest input, tokens; longer ones are cut")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  sub->callback([options, &command] {
    command.action = [options, &command] { return generate(*options, command); };
  });
}

}  // namespace altup
