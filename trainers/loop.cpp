// The loop that pre-training and fine-tuning share: step, log, evaluate, save.
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "altup/checkpoint/directory.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "trainers/checkpoint_io.h"
#include "trainers/profile.h"
#include "trainers/runtime.h"
#include "trainers/step_sums.h"
#include "trainers/train_step.h"
#include "trainers/training.h"

namespace altup {

namespace fs = std::filesystem;

namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Of training up to this step, the last of those in the sums.
MetricRecord record_of(const TrainState& state, const StepResult& last) {
  const auto& sums = state.since_record;
  MetricRecord record{.step = state.step, .split = "train", .values = {}};
  record.values = {
      {"loss", sums.loss / static_cast<double>(sums.target_tokens)},
      {"accuracy", sums.span_tokens > 0 ? 100.0 * sums.correct / sums.span_tokens : 0.0},
      {"tokens", static_cast<double>(state.tokens)},
      {"tokens_per_second", static_cast<double>(sums.tokens) / sums.seconds},
      {"learning_rate", last.learning_rate},
      {"gradient_norm", last.gradient_norm},
      {"seconds", state.seconds},
      {"data_seconds", sums.data_seconds},
      {"peak_memory_mib", peak_memory_mib()}};
  for (const auto& [name, sum] : sums.routing) {
    record.values[name] = sum / static_cast<double>(sums.steps);
  }
  return record;
}

class Loop {
 public:
  explicit Loop(TrainingRun& run)
      : run_(run),
        train_(run.config.train),
        device_(run.model->shared->weight.device()),
        precision_(resolve_precision(run.config.train.precision, device_)),
        optimizer_(make_optimizer(run.config.optimizer, named_parameters(*run.model))) {}

  TrainingResult run() {
    start();
    rehearse();
    make_up_evaluation();
    while (running()) {
      start_profile();
      step();
      end_profile();
      log();
      evaluate();
      save();
    }
    return finish();
  }

 private:
  void start() {
    if (fs::is_directory(run_.output)) lock();
    const auto checkpoint = find_checkpoint();
    if (!lock_) {
      fs::create_directories(run_.output);
      lock();
    }
    if (checkpoint) {
      go_on(*checkpoint);
    } else {
      state_.data = run_.source->state();
    }
    write_file_atomic(run_.output / "config.toml", to_toml(run_.config));
    sinks_.push_back(make_console_sink(train_.steps));
    sinks_.push_back(make_json_sink(run_.output / "metrics.jsonl", state_.step));
    sinks_.push_back(make_tensorboard_sink(run_.output / "tensorboard"));
    run_.model->set_activation_checkpointing(train_.activation_checkpointing);
    int64_t parameters = 0;
    for (const auto& parameter : run_.model->parameters()) parameters += parameter.numel();
    log_info(thousands(parameters), " parameters, ", enum_name(precision_), " on ", device_.str(),
             ", ", at::get_num_threads(), " threads; ",
             state_.step > 0 ? "going on after step " : "starting at step ", state_.step, " of ",
             train_.steps);
  }

  void lock() {
    lock_.emplace(run_.output);
    log_to_file(run_.output / "log.txt");
  }

  std::optional<fs::path> find_checkpoint() const {
    const fs::path checkpoints = run_.output / "checkpoints";
    if (run_.resume == Resume::kNever && has_checkpoints(checkpoints)) {
      throw UserError(
          checkpoints.string(),
          "already holds checkpoints; expected an empty run directory with --resume never");
    }
    auto found = latest_checkpoint(checkpoints);
    if (found) return found;
    // To start anew would write over what may still be mended.
    if (has_checkpoints(checkpoints)) {
      throw UserError(checkpoints.string(),
                      "holds checkpoints of which none is whole; expected them to be mended, or "
                      "moved away to start anew");
    }
    if (run_.resume == Resume::kMust) {
      throw UserError(checkpoints.string(), "holds no checkpoint; --resume must expects one");
    }
    return {};
  }

  void go_on(const fs::path& checkpoint) {
    state_ = load_training(checkpoint, run_.model, *optimizer_);
    run_.source->restore(state_.data);
    saved_step_ = state_.step;
  }

  void rehearse() {
    if (run_.rehearse && state_.step == 0) run_.rehearse();
  }

  bool running() const { return state_.step < train_.steps && signals_.received() == 0; }

  // A trace of three steps, after two in which buffers and caches come to be; of what there is where
  // the run ends before.
  void start_profile() {
    constexpr int64_t kWarmUp = 2;
    if (!run_.profile.empty() && session_steps_ == kWarmUp) profile_ = std::make_unique<Profile>();
  }

  void end_profile() {
    constexpr int64_t kLast = 5;
    if (!profile_ || (session_steps_ < kLast && running())) return;
    std::exchange(profile_, nullptr)->write(run_.profile);
  }

  void step() {
    const Stopwatch watch;
    const Batch batch = next_batch();
    const double wait = watch.seconds();  // next to nothing while the prefetching thread keeps up
    const auto result = train_step(run_.model, run_.tokenizer->pieces(), *optimizer_, batch,
                                   state_.step + 1, run_.config, precision_);
    const double seconds = watch.seconds();
    ++state_.step;
    state_.tokens += result.tokens;
    state_.seconds += seconds;
    state_.data = run_.source->state();
    ++session_steps_;
    session_tokens_ += result.tokens;
    session_seconds_ += seconds;
    state_.since_record.add(result, seconds, wait);
    last_step_ = result;
  }

  // Data that cannot be read costs no step that was made.
  Batch next_batch() {
    try {
      return run_.source->next();
    } catch (const UserError&) {
      if (state_.step > 0 && saved_step_ != state_.step) write_checkpoint();
      throw;
    }
  }

  bool due(int64_t every) const {
    return state_.step == train_.steps || (every > 0 && state_.step % every == 0);
  }

  void log() {
    if (!due(train_.log_every)) return;
    write(record_of(state_, last_step_));
    state_.since_record = {};
  }

  void evaluate() {
    if (!run_.evaluate || !due(train_.evaluate_every)) return;
    evaluation_.clear();
    if (signals_.received() == 0) evaluation_ = run_.evaluate();
    state_.evaluation_due = signals_.received() != 0 && evaluation_.empty();
    for (auto& record : evaluation_) {
      record.step = state_.step;
      record.values["tokens"] = static_cast<double>(state_.tokens);
      record.values["seconds"] = state_.seconds;
      write(record);
    }
    const auto value = best_value();
    if (!value) return;
    if (!state_.best || (run_.higher_is_better ? *value > *state_.best : *value < *state_.best)) {
      state_.best = value;
      state_.best_step = state_.step;
    }
  }

  // None also for a NaN, as the correlation of constant predictions is: no later value would beat
  // it.
  std::optional<double> best_value() const {
    for (const auto& record : evaluation_) {
      if (record.split != run_.best_split) continue;
      const auto value = record.values.find(run_.best_metric);
      if (value != record.values.end() && !std::isnan(value->second)) return value->second;
    }
    return {};
  }

  // A signal keeps the evaluation of its step from being done; the run that goes on does it first.
  void make_up_evaluation() {
    if (!state_.evaluation_due) return;
    evaluate();
    write_checkpoint();  // of the same step, but it is evaluated now and may be the best
  }

  void save() {
    // A better model than any before is kept, too; so is the one that a signal interrupts.
    if (!due(train_.save_every) && !is_best() && signals_.received() == 0) return;
    if (saved_step_ != state_.step) write_checkpoint();
  }

  bool is_best() const { return state_.best.has_value() && state_.best_step == state_.step; }

  void write_checkpoint() {
    save_checkpoint(run_.output, run_.config, run_.model, *run_.tokenizer, *optimizer_, state_,
                    is_best());
    saved_step_ = state_.step;
  }

  void write(const MetricRecord& record) {
    for (const auto& sink : sinks_) sink->write(record);
  }

  TrainingResult finish() {
    const int signal = signals_.received();
    if (signal != 0) {
      if (saved_step_ != state_.step) save();
      log_warning("signal ", signal, ": saved at step ", state_.step,
                  "; run the same command again to go on");
    }
    TrainingResult result{.step = state_.step,
                          .signal = signal,
                          .seconds = state_.seconds,
                          .tokens_per_second = 0.0,
                          .evaluation = evaluation_};
    if (session_seconds_ > 0)
      result.tokens_per_second = static_cast<double>(session_tokens_) / session_seconds_;
    return result;
  }

  TrainingRun& run_;
  const TrainConfig& train_;
  torch::Device device_;
  Precision precision_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainState state_;
  std::optional<DirectoryLock> lock_;
  SignalWatch signals_;
  std::vector<std::unique_ptr<MetricSink>> sinks_;
  StepResult last_step_;
  std::vector<MetricRecord> evaluation_;
  int64_t saved_step_ = -1;
  std::unique_ptr<Profile> profile_;
  int64_t session_steps_ = 0;
  int64_t session_tokens_ = 0;
  double session_seconds_ = 0.0;
};

}  // namespace

TrainingResult run_training(TrainingRun& run) {
  return Loop(run).run();
}

}  // namespace altup
