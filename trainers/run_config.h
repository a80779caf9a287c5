// A run, whole: the sum of the components' Configs, read once from TOML, strictly, and constant
// from then on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "altup/data/pipeline.h"
#include "altup/data/tokenizer.h"
#include "altup/models/t5_config.h"
#include "altup/optim/optimizer_config.h"
#include "altup/util/fields.h"

namespace altup {

enum class Precision { kAuto, kFp32, kBf16 };
template <>
struct EnumNames<Precision> {
  static constexpr std::array<std::pair<std::string_view, Precision>, 3> kNames = {
      {{"auto", Precision::kAuto}, {"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}}};
};

/// [task]: fine-tuning instead of [data]
struct TaskConfig {
  std::vector<std::string> names;
  std::string data;
  int64_t input_length = 512;
  int64_t target_length = 64;
  std::string split = "train";
  std::string validation_split = "dev";
  int64_t validation_examples = 0;
  int64_t mixing_cap = 524288;
  int64_t bucket_batches = 1;
  std::string best_metric;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(
        Field{"names", "tasks; several, or a benchmark such as glue, are trained on as a mixture"},
        self.names);
    visit(Field{"data", "directory of the official files"}, self.data);
    visit(Field{"input_length", "longest input, tokens; longer ones are cut", 4, 1 << 20},
          self.input_length);
    visit(Field{"target_length", "longest target and longest answer, tokens", 1, 1 << 20},
          self.target_length);
    visit(Field{"split", "split to train on"}, self.split);
    visit(Field{"validation_split", "split to evaluate on"}, self.validation_split);
    visit(Field{"validation_examples", "evaluate on at most so many of each task; 0: all", 0},
          self.validation_examples);
    visit(Field{"mixing_cap",
                "a task's share of a mixture goes by its examples, up to so many; 0: no cap", 0},
          self.mixing_cap);
    visit(Field{"bucket_batches",
                "batches that share out their examples by length, so that like goes with like; 1: "
                "batches as drawn",
                1, 1 << 16},
          self.bucket_batches);
    visit(Field{"best_metric",
                "what picks the best checkpoint: a metric, in a mixture average or task/metric; "
                "empty: the task's own, or average"},
          self.best_metric);
  }
};

/// [train]
struct TrainConfig {
  int64_t steps = 500000;
  int64_t batch_size = 256;
  int64_t micro_batch_size = 0;
  Padding padding = Padding::kNone;
  Precision precision = Precision::kAuto;
  int64_t seed = 1;
  int64_t log_every = 100;
  int64_t evaluate_every = 1000;
  int64_t save_every = 1000;
  int64_t keep_checkpoints = 3;
  int64_t validation_examples = 1024;
  double gradient_clip = 0.0;
  double z_loss = 1e-4;
  double label_smoothing = 0.0;
  bool activation_checkpointing = false;
  std::string init_from;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"steps", "updates", 1}, self.steps);
    visit(Field{"batch_size", "examples of one update, over all micro-batches", 1},
          self.batch_size);
    visit(Field{"micro_batch_size", "examples at once; 0: batch_size", 0}, self.micro_batch_size);
    visit(Field{"padding",
                "of examples of different lengths: none (all tokens in one row), to the longest "
                "of the micro-batch, or to the section's input_length and target_length"},
          self.padding);
    visit(Field{"precision", "auto picks bf16 where the processor has instructions for it"},
          self.precision);
    visit(Field{"seed", "of the weights, the data order and the corruption", 0}, self.seed);
    visit(Field{"log_every", "steps", 1}, self.log_every);
    visit(Field{"evaluate_every", "steps; 0: only at the end", 0}, self.evaluate_every);
    visit(Field{"save_every", "steps; 0: only at the end; the best so far is saved too", 0},
          self.save_every);
    visit(Field{"keep_checkpoints", "newest ones kept; 0: all", 0}, self.keep_checkpoints);
    visit(Field{"validation_examples", "chunks of validation text used; 0: all", 0},
          self.validation_examples);
    visit(Field{"gradient_clip", "largest global norm; 0: off", 0}, self.gradient_clip);
    visit(Field{"z_loss", "weight of (log Z)^2", 0}, self.z_loss);
    visit(Field{"label_smoothing", "share of the target spread over the vocabulary", 0, 0.999},
          self.label_smoothing);
    visit(Field{"activation_checkpointing", "recompute layers in the backward pass"},
          self.activation_checkpointing);
    visit(Field{"init_from", "checkpoint to start the weights from"}, self.init_from);
  }
};

/// Which operators a run uses: the fused ones, or their plain ATen twins that tests and timings
/// compare with.
enum class Kernels { kFused, kReference };
template <>
struct EnumNames<Kernels> {
  static constexpr std::array<std::pair<std::string_view, Kernels>, 2> kNames = {
      {{"fused", Kernels::kFused}, {"reference", Kernels::kReference}}};
};

/// Whose fp32 matrix products a run uses on the CPU; see set_product_kernels().
enum class Products { kAuto, kOwn, kLibrary };
template <>
struct EnumNames<Products> {
  static constexpr std::array<std::pair<std::string_view, Products>, 3> kNames = {
      {{"auto", Products::kAuto}, {"own", Products::kOwn}, {"library", Products::kLibrary}}};
};

/// [runtime]: how a run computes, never what
struct RuntimeConfig {
  Kernels kernels = Kernels::kFused;
  Products products = Products::kAuto;
  int64_t threads = 0;

  bool operator==(const RuntimeConfig&) const = default;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"kernels", "operators: fused, or the slow and obvious reference"}, self.kernels);
    visit(Field{"products",
                "fp32 matrix products on CPUs: our own, LibTorch's library's, or whichever "
                "is known to be faster on this processor"},
          self.products);
    visit(Field{"threads", "of one operator; 0: as many as the machine has", 0, 4096},
          self.threads);
  }
};

/// Tokens of an input and of a target.
struct MaximumLengths {
  int64_t input = 0;
  int64_t target = 0;
};

struct RunConfig {
  T5Config model;  ///< [model], [altup] and [moe]
  TokenizerConfig tokenizer;
  DataConfig data;
  TaskConfig task;
  TrainConfig train;
  OptimizerConfig optimizer;
  RuntimeConfig runtime;
  /// Where each key that was set stands, by "section.key": "FILE:LINE" or "--set …". Not part of
  /// the file.
  std::map<std::string, std::string> sources;

  /// (section name, struct) of every section, in the order of the file: what reading and writing go
  /// by.
  template <class Self, class Visit>
  static void sections(Self& self, Visit&& visit) {
    visit("model", self.model);
    visit("altup", self.model.altup);
    visit("moe", self.model.moe);
    visit("tokenizer", self.tokenizer);
    visit("data", self.data);
    visit("task", self.task);
    visit("train", self.train);
    visit("optimizer", self.optimizer);
    visit("runtime", self.runtime);
  }
  /// Calls visit(section name, field, value) for every key of `self`.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    sections(self, [&](std::string_view section, auto& part) {
      std::remove_cvref_t<decltype(part)>::fields(
          part, [&](const Field& field, auto& value) { visit(section, field, value); });
    });
  }
  /// Checks every field's range, every section, and what holds between them. load_run_config has
  /// called it.
  void validate() const;
  /// What a command needs beyond that: the run's data and its start are given, and the files exist.
  void validate_pretraining() const;
  void validate_finetuning() const;
  /// What no example of the run is longer than: the lengths of [task], or in pre-training of [data].
  MaximumLengths maximum_lengths() const;
  /// The embedding has a row for each of the tokenizer's `ids`, sentinels included.
  void validate_vocabulary(int64_t ids) const;
};

/// Reads `files` (later ones override), each after the files of its `extends`, then `overrides`
/// ("key.path=value"), then validates. `model.size` stands for the keys that it fills: they
/// override it in its own file and later. Paths and patterns are taken from the working directory
/// where they name something there, else from the directory of the file that sets them. Errors are
/// UserError "FILE:LINE: …" ("--set key=value: …"): broken TOML, an unknown key (with the nearest
/// known one), a wrong type, a value out of range.
RunConfig load_run_config(const std::vector<std::filesystem::path>& files,
                          const std::vector<std::string>& overrides);

/// The resolved run as TOML, every key with a comment, which load_run_config reads back to the same
/// values.
std::string to_toml(const RunConfig& config);

/// What each "section.key" is, as a TOML value.
std::map<std::string, std::string> resolved_values(const RunConfig& config);

/// "section.key"
std::string full_key(std::string_view section, const Field& field);
/// Every "section.key", in the order of the file.
std::vector<std::string> known_keys();
/// Every key with its default and its meaning, as Markdown tables: what docs/configuration.md
/// holds.
std::string key_tables();

}  // namespace altup
