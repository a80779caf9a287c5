#include "apps/decoding_options.h"

#include "altup/util/error.h"
#include "altup/util/field_value.h"
#include "apps/command.h"
#include "trainers/runtime.h"

namespace altup {
namespace {

// An option whose value is a word of the enum.
template <class E>
void add_words(CLI::App& command, const std::string& name, E& value, const std::string& help) {
  std::vector<std::string> words;
  for (const auto& [word, known] : EnumNames<E>::kNames) words.emplace_back(word);
  const auto set = [&value, name](const std::string& word) {
    assign_field(name, Field{name, ""}, word, value);
  };
  command.add_option_function<std::string>(name, set, help)
      ->check(CLI::IsMember(words))
      ->type_name("WORD")
      ->default_str(std::string(enum_name(value)));
}

}  // namespace

void add_beam_options(CLI::App& command, GenerationConfig& decoding) {
  command.add_option("--beams", decoding.beams, "Beams of an input; 1: greedy or sampling")
      ->capture_default_str()
      ->check(whole_number(1));
  command
      .add_option(
          "--length-penalty", decoding.length_penalty,
          "A beam's score is its log-probability / length^PENALTY: above 0 favours long outputs")
      ->capture_default_str();
  add_words(command, "--early-stopping", decoding.early_stopping,
            "When as many outputs as beams have ended: stop where no beam is better at its present "
            "length (false), stop at once (true), or stop where none can become better (never)");
}

void add_sampling_options(CLI::App& command, GenerationConfig& decoding) {
  command.add_flag("--sample", decoding.sample,
                   "Draw each token; the same --seed gives the same outputs, whatever the batch");
  command.add_option("--temperature", decoding.temperature, "Divides the logits before the draw")
      ->capture_default_str()
      ->check(above_zero());
  command
      .add_option("--top-k", decoding.top_k, "Draw from the K likeliest tokens only (0: from all)")
      ->capture_default_str()
      ->check(whole_number(0));
  command
      .add_option("--top-p", decoding.top_p,
                  "Draw from the fewest tokens whose probabilities reach P")
      ->capture_default_str();
}

void add_repetition_options(CLI::App& command, GenerationConfig& decoding) {
  command
      .add_option("--repetition-penalty", decoding.repetition_penalty,
                  "Above 1 makes tokens that the output has already less likely")
      ->capture_default_str()
      ->check(above_zero());
  command
      .add_option("--no-repeat-ngram-size", decoding.no_repeat_ngram_size,
                  "No N tokens occur twice in an output (0: off)")
      ->capture_default_str()
      ->check(whole_number(0));
}

void add_precision_option(CLI::App& command, std::string& precision, bool int8) {
  command.add_option("--precision", precision, "Default: the checkpoint's train.precision")
      ->type_name(enum_words<Precision>("|", "") + (int8 ? "|int8" : ""));
}

Precision decoding_precision(const std::string& precision, const RunConfig& checkpoint) {
  Precision wanted = checkpoint.train.precision;
  if (!precision.empty()) assign_field("--precision", Field{"precision", ""}, precision, wanted);
  return resolve_precision(wanted, default_device());
}

Precision set_decoding_precision(const std::string& precision, LoadedModel& loaded) {
  if (precision != "int8") return decoding_precision(precision, loaded.config);
  if (!loaded.model->shared->weight.is_cpu()) {
    throw UserError("--precision int8 is for CPUs; expected fp32 or bf16 on this device");
  }
  loaded.model->quantise();
  return Precision::kFp32;
}

}  // namespace altup
