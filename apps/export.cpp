// altup export: a checkpoint as a file or a directory that others open.
#include <nlohmann/json.hpp>

#include "altup/models/hugging_face.h"
#include "altup/models/torchscript.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "apps/command.h"
#include "trainers/checkpoint_io.h"

namespace altup {
namespace {

struct Options {
  std::string checkpoint;
  std::string format = "torchscript";
  std::string output;
  bool fused = false;
  std::string dtype = "fp32";
  uint64_t max_shard_bytes = HuggingFaceExport{}.max_shard_bytes;
};

int export_to_torchscript(const Options& options, const Command& command) {
  require_writable_file(options.output);
  if (std::filesystem::exists(options.output) &&
      !std::filesystem::is_regular_file(options.output)) {
    throw UserError(options.output, "is no ordinary file; expected a new one or one to replace");
  }
  auto loaded = load_model(options.checkpoint, torch::kCPU);
  export_torchscript(loaded.model, options.output, loaded.tokenizer->vocab_size(),
                     options.fused ? ScriptOperators::kFused : ScriptOperators::kAten);
  log_info("wrote ", options.output,
           ": forward, encode and generate, checked against the checkpoint",
           options.fused ? "; load libaltup_ops.so before it" : "");
  write_json(command,
             {{"format", options.format}, {"output", options.output}, {"fused", options.fused}});
  return 0;
}

int export_to_hugging_face(const Options& options, const Command& command) {
  require_hugging_face_target(options.output);
  auto loaded = load_model(options.checkpoint, torch::kCPU);
  const auto variant = loaded.config.model.altup.variant;
  const auto files = export_hugging_face(
      loaded.model, {loaded.tokenizer->model_bytes(), loaded.tokenizer->sentinels()},
      options.output,
      {.dtype = options.dtype == "bf16" ? torch::kBFloat16 : torch::kFloat,
       .max_shard_bytes = options.max_shard_bytes});
  log_info("wrote ", options.output,
           ": read back; settings, weights, logits and greedy ids are the checkpoint's");
  if (variant != Variant::kNone) {
    log_warning("transformers has no model with altup.variant \"", enum_name(variant),
                "\": ", options.output, " is for altup import");
  }
  write_json(command, {{"format", options.format},
                       {"output", options.output},
                       {"dtype", options.dtype},
                       {"files", files},
                       {"variant", enum_name(variant)}});
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "export",
                          "Write a checkpoint as TorchScript or for Hugging Face's transformers");
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->required()
      ->type_name("DIR");
  sub->add_option("--to", options->format, "torchscript or huggingface")
      ->required()
      ->check(CLI::IsMember({"torchscript", "huggingface"}));
  sub->add_option("--output", options->output, "File; for huggingface a directory")
      ->required()
      ->type_name("PATH");
  auto* fused = sub->add_flag("--fused", options->fused,
                              "torchscript: the altup:: operators; the file then needs "
                              "libaltup_ops.so loaded");
  auto* dtype = sub->add_option("--dtype", options->dtype, "huggingface: type of the weights")
                    ->check(CLI::IsMember({"fp32", "bf16"}))
                    ->capture_default_str();
  auto* shard = sub->add_option("--max-shard-size", options->max_shard_bytes,
                                "huggingface: size of a file of weights, as in 5GB (10^9 bytes)")
                    ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
                    ->check(above_zero())
                    ->default_str("5GB");
  sub->callback([options, &command, fused, dtype, shard] {
    command.action = [options, &command, fused, dtype, shard] {
      if (options->format == "huggingface") {
        if (fused->count() > 0) throw UserError("--fused is for --to torchscript");
        return export_to_hugging_face(*options, command);
      }
      if (dtype->count() + shard->count() > 0) {
        throw UserError("--dtype and --max-shard-size are for --to huggingface; expected neither");
      }
      return export_to_torchscript(*options, command);
    };
  });
}

}  // namespace altup
