// The options of decoding, under the names of GenerationConfig, for the commands that decode.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "altup/models/generation.h"
#include "trainers/checkpoint_io.h"
#include "trainers/run_config.h"

namespace altup {

/// --beams, --length-penalty, --early-stopping
void add_beam_options(CLI::App& command, GenerationConfig& decoding);
/// --sample, --temperature, --top-k, --top-p
void add_sampling_options(CLI::App& command, GenerationConfig& decoding);
/// --repetition-penalty, --no-repeat-ngram-size
void add_repetition_options(CLI::App& command, GenerationConfig& decoding);

/// --precision; "" stands for the checkpoint's own. `int8`: whether set_decoding_precision() reads it.
void add_precision_option(CLI::App& command, std::string& precision, bool int8 = false);
/// What --precision and the checkpoint's train.precision come to on this machine.
Precision decoding_precision(const std::string& precision, const RunConfig& checkpoint);
/// The same for a model that only generates: "int8" quantises it, and the rest is fp32.
Precision set_decoding_precision(const std::string& precision, LoadedModel& loaded);

}  // namespace altup
