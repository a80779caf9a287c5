#include "trainers/training.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "altup/checkpoint/directory.h"
#include "altup/data/pipeline.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "trainers/checkpoint_io.h"
#include "trainers/evaluator.h"
#include "trainers/runtime.h"
#include "trainers/task_training.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

// What a mixture does in training only, or how many tokens its experts take, a run may choose anew;
// where it says nothing, it is as in the checkpoint.
constexpr std::array<std::string_view, 5> kChosenAnew = {
    "moe.capacity_factor", "moe.batch_prioritised", "moe.load_balance_loss", "moe.router_z_loss",
    "moe.jitter"};

bool is_chosen_anew(const std::string& key) {
  return key == "model.dropout" ||
         std::find(kChosenAnew.begin(), kChosenAnew.end(), key) != kChosenAnew.end();
}

MoeConfig adopt_mixtures(const RunConfig& config, const MoeConfig& saved) {
  MoeConfig moe = saved;
  const auto adopt = [&](std::string_view key, auto member) {
    if (config.sources.contains(std::string(key))) moe.*member = config.model.moe.*member;
  };
  adopt(kChosenAnew[0], &MoeConfig::capacity_factor);
  adopt(kChosenAnew[1], &MoeConfig::batch_prioritised);
  adopt(kChosenAnew[2], &MoeConfig::load_balance_loss);
  adopt(kChosenAnew[3], &MoeConfig::router_z_loss);
  adopt(kChosenAnew[4], &MoeConfig::jitter);
  return moe;
}

// The model of the checkpoint is the run's. Where the config describes one too, the two must agree.
void adopt_model(RunConfig& config, const RunConfig& saved, const std::string& checkpoint) {
  T5Config wanted = config.model;
  // What says nothing of the weights that are there.
  wanted.dropout = saved.model.dropout;
  wanted.size = saved.model.size;
  if (!saved.model.shortens_layers()) wanted.altup.stride = saved.model.altup.stride;
  // Coefficients of the token are what the weights add to the start.
  if (saved.model.altup.coefficients == Coefficients::kStatic) {
    wanted.altup.init = saved.model.altup.init;
  }
  const auto moe = adopt_mixtures(config, saved.model.moe);
  wanted.moe = saved.model.moe;
  wanted.moe.experts = config.model.moe.experts;
  wanted.moe.router = config.model.moe.router;
  wanted.moe.every = config.model.moe.every;
  if (wanted.moe.experts == 0 && saved.model.moe.experts == 0) wanted.moe = saved.model.moe;
  if (wanted.altup.variant == Variant::kNone && saved.model.altup.variant == Variant::kNone) {
    wanted.altup = saved.model.altup;
  }
  const bool described =
      std::any_of(config.sources.begin(), config.sources.end(), [](const auto& source) {
        return !is_chosen_anew(source.first) &&
               (source.first.starts_with("model.") || source.first.starts_with("altup.") ||
                source.first.starts_with("moe."));
      });
  if (described && !(wanted == saved.model)) {
    throw UserError(
        checkpoint,
        "holds another model than [model], [altup] and [moe] describe; expected the same, or "
        "no such sections");
  }
  const double dropout = config.model.dropout;
  config.model = saved.model;
  config.model.dropout = dropout;
  config.model.moe = moe;
  config.tokenizer = saved.tokenizer;
}

// Blocks that start equal and are all idle see the same gradients, and so stay equal.
void warn_of_twins(const T5Config& model) {
  if (model.altup.variant != Variant::kRecycled || model.idle_blocks() < 2) return;
  log_warning("altup.blocks = ", model.altup.blocks, ": of a Recycled model, ", model.idle_blocks(),
              " blocks that no layer computes start equal and stay so; more than ",
              model.altup.blocks - model.idle_blocks() + 1, " blocks make no difference here");
}

void warn_of_unread_keys(const OptimizerConfig& optimizer) {
  const auto keys = optimizer.unread_keys();
  if (keys.empty()) return;
  log_warning(enum_name(optimizer.name), " does not read ", join(keys, ", "));
}

}  // namespace

void adopt_start(RunConfig& config) {
  if (config.train.init_from.empty()) return;
  const auto checkpoint = resolve_checkpoint(config.train.init_from);
  adopt_model(config, load_run_config({checkpoint / "config.toml"}, {}), checkpoint.string());
}

T5 make_model(RunConfig& config, std::shared_ptr<const Tokenizer>& tokenizer) {
  const auto device = default_device();
  torch::manual_seed(config.train.seed);
  warn_of_twins(config.model);
  warn_of_unread_keys(config.optimizer);
  if (!config.train.init_from.empty()) {
    const auto loaded = load_model(config.train.init_from, device);
    adopt_model(config, loaded.config, loaded.directory.string());
    tokenizer = loaded.tokenizer;
    T5 model(config.model, /*initialise=*/false);  // anew, for the dropout of this run
    load_parameters(*model, named_parameters(*loaded.model), loaded.directory.string());
    model->to(device);
    return model;
  }
  tokenizer = std::make_shared<const Tokenizer>(config.tokenizer.model, config.tokenizer.sentinels);
  config.validate_vocabulary(tokenizer->vocab_size());
  T5 model(config.model);
  model->to(device);
  return model;
}

namespace {

std::unique_ptr<BatchSource> open_text(const RunConfig& config,
                                       std::shared_ptr<const Tokenizer> tokenizer) {
  return prefetch(
      make_pretraining_source(config.data, std::move(tokenizer), config.data.train,
                              config.train.batch_size, static_cast<uint64_t>(config.train.seed)),
      config.data.prefetch);
}

/// Whether a run wrote `file`, so that writing over it loses nothing: every key, as to_toml() has them.
bool is_of_a_run(const fs::path& file) {
  try {
    return to_toml(load_run_config({file}, {})) == read_file(file);
  } catch (const UserError&) {
    return false;
  }
}

/// Asked before long work: whether a run can write to `output`.
void require_run_directory(const RunConfig& config, const fs::path& output) {
  if (output.empty()) throw UserError("--output is empty; expected the directory of a run");
  const fs::path checkpoints = output / "checkpoints";
  for (const auto& directory : {output, checkpoints}) {
    if (fs::exists(directory) && !fs::is_directory(directory)) {
      throw UserError(directory.string(),
                      "is a file; expected the directory of a run, new or to go on");
    }
  }
  fs::path there = fs::absolute(checkpoints);
  while (!fs::exists(there)) there = there.parent_path();
  if (!fs::is_directory(there) || ::access(there.c_str(), W_OK) != 0) {
    throw UserError(output.string(), str("cannot be made; expected ", there.string(),
                                         " to be a folder that may be written to"));
  }
  if (has_checkpoints(checkpoints)) return;
  // The user's own config in the run's place; comments and `extends` would be lost.
  const fs::path own = output / "config.toml";
  for (const auto& [key, where] : config.sources) {
    const fs::path file = where.substr(0, where.rfind(':'));
    if (fs::exists(own) && fs::exists(file) && fs::equivalent(own, file) && !is_of_a_run(own)) {
      throw UserError(own.string(),
                      "is where the run writes its own config; expected --config to be elsewhere, "
                      "or another --output");
    }
  }
}

/// A run without its model and its data. One that goes on has its weights and its tokenizer itself:
/// what it started from need not be there any more.
TrainingRun open_run(const RunConfig& config, const fs::path& output, Resume resume,
                     const fs::path& profile) {
  require_run_directory(config, output);
  TrainingRun run{.config = config, .output = output, .resume = resume, .profile = profile};
  auto& from = run.config.train.init_from;
  if (!from.empty() && !fs::exists(from) && resume != Resume::kNever &&
      has_checkpoints(output / "checkpoints")) {
    from = output.string();
  }
  return run;
}

/// `config` is as it was given: the run's keeps what that says of its start.
void make_run_model(TrainingRun& run, const RunConfig& config) {
  run.model = make_model(run.config, run.tokenizer);
  run.config.train.init_from = config.train.init_from;
}

std::unique_ptr<BatchSource> open_tasks(const RunConfig& config, const Tokenizer& tokenizer) {
  return prefetch(open_task_mixture(config, tokenizer), config.data.prefetch);
}

}  // namespace

TrainingData open_training_data(const RunConfig& config) {
  config.task.names.empty() ? config.validate_pretraining() : config.validate_finetuning();
  TrainingData data;
  TokenizerConfig from = config.tokenizer;
  if (!config.train.init_from.empty()) {
    from.model = (resolve_checkpoint(config.train.init_from) / "spiece.model").string();
  }
  data.tokenizer = std::make_shared<const Tokenizer>(from.model, from.sentinels);
  data.source = config.task.names.empty() ? open_text(config, data.tokenizer)
                                          : open_tasks(config, *data.tokenizer);
  return data;
}

TrainingResult pretrain(const RunConfig& config, const fs::path& output, Resume resume,
                        const fs::path& profile) {
  auto run = open_run(config, output, resume, profile);
  run.config.validate_pretraining();
  make_run_model(run, config);
  run.source = open_text(config, run.tokenizer);
  if (!config.data.validation.empty()) {
    const auto& train = config.train;
    const auto batches =
        validation_batches(config.data, *run.tokenizer, config.data.validation,
                           train.micro_batch_size > 0 ? train.micro_batch_size : train.batch_size,
                           train.validation_examples);
    const auto precision = resolve_precision(train.precision, default_device());
    run.evaluate = [&run, batches, precision] {
      const auto result = evaluate_loss(run.model, *run.tokenizer, batches, precision);
      if (!result.complete) return std::vector<MetricRecord>();
      return std::vector<MetricRecord>{
          {0, "validation", {{"loss", result.loss}, {"accuracy", result.accuracy}}}};
    };
  }
  return run_training(run);
}

TrainingResult finetune(const RunConfig& config, const fs::path& output, Resume resume,
                        const fs::path& profile) {
  auto run = open_run(config, output, resume, profile);
  run.config.validate_finetuning();
  prepare_task_evaluation(run);
  make_run_model(run, config);
  run.source = open_tasks(config, *run.tokenizer);
  return run_training(run);
}

}  // namespace altup
