// altup generate: text in, text out, a line for a line, plain or JSON; or as it is made.
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "apps/decoding_options.h"
#include "trainers/checkpoint_io.h"
#include "trainers/text_generation.h"
#include "trainers/text_inputs.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string input;
  bool json_lines = false;
  bool stream = false;
  std::string precision;
  TextGenerationConfig config{.decoding = {.max_new_tokens = 128}};
};

void check(const Options& options) {
  options.config.decoding.validate();
  if (options.stream && options.json_lines)
    throw UserError("--stream prints text and --jsonl objects; expected one of them");
  if (options.stream && options.config.decoding.beams > 1) {
    throw UserError("--stream: beam search knows its output at the end only; expected --beams 1");
  }
}

// Inputs read before any is answered, in batches: enough of them to find some of like length.
constexpr int64_t kWindowBatches = 64;

struct Figures {
  int64_t outputs = 0;
  int64_t generated_tokens = 0;
  int64_t truncated_outputs = 0;
  int64_t truncated_inputs = 0;

  void add(const TextGeneration& result) {
    outputs += static_cast<int64_t>(result.texts.size());
    generated_tokens += result.generated_tokens;
    truncated_outputs += result.truncated_outputs;
    truncated_inputs += result.truncated_inputs;
  }
  double truncated_share() const {
    return outputs == 0 ? 0.0
                        : static_cast<double>(truncated_outputs) / static_cast<double>(outputs);
  }
};

// A window of inputs at a time, each answered before the next is read: memory does not grow with
// the input, and what ends the program early leaves the answers so far.
Figures generate_all(const Options& options, TextInputReader& inputs, LoadedModel& loaded,
                     const TextGenerationConfig& config, std::ostream& out) {
  const auto window = static_cast<size_t>(kWindowBatches * config.batch_size);
  Figures figures;
  for (bool more = true; more;) {
    std::vector<TextInput> lines;
    std::vector<std::string> texts;
    for (TextInput input; lines.size() < window && (more = inputs.next(input));) {
      texts.push_back(input.text);
      lines.push_back(input);
    }
    const auto result =
        generate_texts(loaded.model, *loaded.tokenizer, texts, config, figures.outputs);
    for (size_t i = 0; i < lines.size(); ++i) {
      if (options.json_lines) {
        out << output_line(lines[i], result.hypotheses[i], config.decoding.beams > 1) << "\n";
      } else {
        for (const auto& output : result.hypotheses[i]) out << in_one_line(output.text) << "\n";
      }
    }
    out.flush();
    figures.add(result);
  }
  return figures;
}

// Each input answered before the next is read.
Figures stream_all(TextInputReader& inputs, LoadedModel& loaded, const TextGenerationConfig& config,
                   std::ostream& out) {
  const auto print = [&](std::string_view piece) { out << in_one_line(piece) << std::flush; };
  Figures figures;
  for (TextInput input; inputs.next(input);) {
    figures.add(
        stream_text(loaded.model, *loaded.tokenizer, input.text, figures.outputs, config, print));
    out << std::endl;
  }
  return figures;
}

int generate(const Options& options, const Command& command) {
  check(options);
  TextInputReader inputs(options.input, options.json_lines);
  auto loaded = load_model(options.checkpoint, default_device());
  auto config = options.config;
  config.precision = set_decoding_precision(options.precision, loaded);
  config.decoding.seed =
      static_cast<uint64_t>(command.seed >= 0 ? command.seed : loaded.config.train.seed);
  std::ostream& out = text_output(command);
  const auto result = options.stream ? stream_all(inputs, loaded, config, out)
                                     : generate_all(options, inputs, loaded, config, out);
  if (result.truncated_outputs > 0) {
    log_info(result.truncated_outputs, " of ", result.outputs, " outputs (",
             fixed(100 * result.truncated_share(), 1), " %) were cut at ",
             config.decoding.max_new_tokens, " tokens before eos");
  }
  if (result.truncated_inputs > 0) {
    log_warning(result.truncated_inputs, " of ", result.outputs, " inputs were cut to ",
                config.input_length, " tokens");
  }
  write_json(command, {{"outputs", result.outputs},
                       {"generated_tokens", result.generated_tokens},
                       {"truncated_outputs", result.truncated_outputs},
                       {"truncated_share", result.truncated_share()},
                       {"truncated_inputs", result.truncated_inputs}});
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto& config = options->config;
  auto* sub = add_command(app, command, "generate",
                          "Text in, text out: one output line for each input line");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--input", options->input,
                  "File of lines, plain or gzipped (default: standard input)")
      ->type_name("FILE");
  sub->add_flag(
      "--jsonl", options->json_lines,
      "A line is an object: in, \"text\" and perhaps \"id\"; out, id, text, tokens, finished");
  sub->add_flag("--stream", options->stream,
                "Print each text as it is made, and read the next line after that");
  sub->add_option("--max-new-tokens", config.decoding.max_new_tokens,
                  "Longest output, tokens; the share of outputs that it cuts is reported")
      ->capture_default_str()
      ->check(whole_number(1));
  add_beam_options(*sub, config.decoding);
  sub->add_option("--n-best", config.decoding.n_best,
                  "Outputs of an input, the best first; a line for each")
      ->capture_default_str()
      ->check(whole_number(1));
  add_sampling_options(*sub, config.decoding);
  add_repetition_options(*sub, config.decoding);
  sub->add_option("--batch-size", config.batch_size, "Lines decoded together, at most")
      ->capture_default_str()
      ->check(whole_number(1));
  sub->add_option("--input-length", config.input_length,
                  "Longest input, tokens; longer ones are cut")
      ->capture_default_str()
      ->check(whole_number(2, 1 << 20));
  add_precision_option(*sub, options->precision, /*int8=*/true);
  sub->callback([options, &command] {
    command.action = [options, &command] { return generate(*options, command); };
  });
}

}  // namespace altup
