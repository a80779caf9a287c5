#include "trainers/checkpoint_io.h"

#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "altup/checkpoint/directory.h"
#include "altup/checkpoint/safetensors.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace fs = std::filesystem;

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StepSums, steps, loss, correct, span_tokens, target_tokens,
                                   tokens, seconds, data_seconds, routing)

namespace {

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kStateFile = "state.json";
constexpr const char* kConfigFile = "config.toml";
constexpr const char* kTokenizerFile = "spiece.model";

std::string step_name(int64_t step) {
  std::ostringstream name;
  name << "step-" << std::setw(8) << std::setfill('0') << step;
  return name.str();
}

void write_model_files(const fs::path& directory, const RunConfig& config, const T5& model,
                       const Tokenizer& tokenizer) {
  RunConfig own = config;
  own.tokenizer.model = kTokenizerFile;  // the copy beside it, wherever the directory goes
  own.train.init_from.clear();           // the weights are here now
  write_file_atomic(directory / kConfigFile, to_toml(own));
  write_file_atomic(directory / kTokenizerFile, tokenizer.model_bytes());
  write_safetensors(directory / kModelFile, named_parameters(*model), {{"format", "pt"}});
}

fs::path absolute_target(const fs::path& directory) {
  const fs::path whole = fs::absolute(directory).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

void save_checkpoint(const fs::path& run, const RunConfig& config, const T5& model,
                     const Tokenizer& tokenizer, const Optimizer& optimizer,
                     const TrainState& state, bool is_best) {
  const fs::path parent = run / "checkpoints";
  CheckpointWriter writer(parent, step_name(state.step));
  write_model_files(writer.directory(), config, model, tokenizer);
  write_safetensors(writer.directory() / kOptimizerFile, optimizer.state());
  nlohmann::json json = {{"step", state.step},
                         {"tokens", state.tokens},
                         {"seconds", state.seconds},
                         {"data", nlohmann::json::parse(state.data)},
                         {"best_step", state.best_step},
                         {"evaluation_due", state.evaluation_due},
                         {"since_record", state.since_record}};
  if (state.best) json["best"] = *state.best;
  write_file_atomic(writer.directory() / kStateFile, json.dump(2) + "\n");
  writer.commit();
  if (is_best) point_link_at(parent, "best", step_name(state.step));
  prune_checkpoints(parent, config.train.keep_checkpoints);
}

// Writing takes the place of an earlier model, never of anything else.
void require_model_target(const fs::path& directory) {
  const fs::path target = absolute_target(directory);
  if (!fs::exists(target)) return;
  const bool is_model =
      fs::is_regular_file(target / "manifest.json") && fs::is_regular_file(target / kModelFile);
  if (is_model || (fs::is_directory(target) && fs::is_empty(target))) return;
  throw UserError(target.string(),
                  "is there and holds no model; expected a new or empty directory, or a model to "
                  "replace");
}

void save_model(const fs::path& directory, const RunConfig& config, const T5& model,
                const Tokenizer& tokenizer) {
  const fs::path target = absolute_target(directory);
  require_model_target(target);
  CheckpointWriter writer(target.parent_path(), target.filename().string());
  write_model_files(writer.directory(), config, model, tokenizer);
  writer.commit(/*make_latest=*/false);
}

LoadedModel load_model(const fs::path& path, const torch::Device& device) {
  LoadedModel loaded;
  loaded.directory = resolve_checkpoint(path);
  loaded.config = load_run_config({loaded.directory / kConfigFile}, {});
  loaded.config.tokenizer.model = (loaded.directory / kTokenizerFile).string();
  loaded.tokenizer = std::make_shared<const Tokenizer>(loaded.config.tokenizer.model,
                                                       loaded.config.tokenizer.sentinels);
  loaded.model = T5(loaded.config.model, /*initialise=*/false);
  const fs::path weights = loaded.directory / kModelFile;
  load_parameters(*loaded.model, read_safetensors(weights), weights.string());
  loaded.model->to(device);
  loaded.model->eval();
  return loaded;
}

TrainState load_training(const fs::path& checkpoint, T5& model, Optimizer& optimizer) {
  const fs::path saved_config = checkpoint / kConfigFile;
  if (!(load_run_config({saved_config}, {}).model == model->config())) {
    throw UserError(
        saved_config.string(),
        "the checkpoint is of another model than this run's [model], [altup] and [moe]; "
        "expected the same");
  }
  const fs::path weights = checkpoint / kModelFile;
  load_parameters(*model, read_safetensors(weights), weights.string());
  optimizer.load_state(read_safetensors(checkpoint / kOptimizerFile));

  const fs::path state_file = checkpoint / kStateFile;
  TrainState state;
  try {
    const auto json = nlohmann::json::parse(read_file(state_file));
    state.step = json.at("step");
    state.tokens = json.at("tokens");
    state.seconds = json.at("seconds");
    state.data = json.at("data").dump();
    state.best_step = json.at("best_step");
    state.evaluation_due = json.value("evaluation_due", false);
    state.since_record = json.value("since_record", StepSums());
    if (json.contains("best")) state.best = json.at("best").get<double>();
  } catch (const nlohmann::json::exception& error) {
    throw UserError(state_file.string(), str("is no training state: ", error.what()));
  }
  return state;
}

}  // namespace altup
