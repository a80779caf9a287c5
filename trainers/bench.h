// Timings of the parts that decide speed, each beside its reference path, interleaved in one run:
// what counts is the ratio, since absolute times move by a fifth from one run to the next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "altup/models/t5.h"
#include "trainers/run_config.h"

namespace altup {

struct Timing {
  double median = 0.0;  ///< seconds
  double minimum = 0.0;
};

struct StepBench {
  int64_t steps = 0;
  Timing fused;
  Timing reference;  ///< the same step on the reference kernels; not measured (0) where it was not
                     ///< asked for, or they are what the run uses
  int64_t tokens = 0;  ///< encoder + decoder tokens of a step
  double flops = 0.0;  ///< matrix products of a step, forward and backward
  double peak_memory_mib = 0.0;
  int64_t parameters = 0;
  Precision precision = Precision::kFp32;
};

/// Whole training steps (forward, backward, optimiser) on random ids of the config's sizes.
/// `reference`: time the reference kernels, too. `profile`: where a Chrome trace of one more step
/// goes; empty for none.
StepBench bench_step(const RunConfig& config, int64_t steps, bool reference = true,
                     const std::filesystem::path& profile = {});

/// The steps of two models that take turns in one process. The machine's speed drifts by a tenth
/// over minutes: what a variant costs shows in pairs of neighbouring steps alone.
struct StepComparison {
  Timing step;
  Timing other;
  /// Seconds of a step over its neighbour's of the other model: the median of the pairs, and the
  /// quartiles.
  double ratio = 0.0;
  double ratio_low = 0.0;
  double ratio_high = 0.0;
};

/// `steps` pairs after one to warm up; who goes first changes from pair to pair.
StepComparison compare_steps(const RunConfig& config, const RunConfig& other, int64_t steps);

/// One way of padding, over the same batches as the others.
struct PaddingBench {
  Padding padding = Padding::kNone;
  Timing step;
  double tokens_per_second = 0.0;  ///< real tokens alone; median over the batches
  double ratio = 0.0;              ///< time of padding to the maximum over this; median
  double computed_tokens = 0.0;    ///< of a batch on average, padding included
};

struct FinetuneBench {
  int64_t steps = 0;
  double tokens = 0.0;  ///< real tokens of a batch on average
  Precision precision = Precision::kFp32;
  std::vector<PaddingBench> paddings;  ///< none, longest, maximum
};

/// Whole training steps on `steps` batches of the config's tasks, each batch padded in each way in
/// turn. The config is one that fine-tuning takes.
FinetuneBench bench_finetune(const RunConfig& config, int64_t steps);

struct GenerateBenchConfig {
  int64_t batch_size = 8;
  int64_t beams = 1;
  int64_t input_length = 128;
  int64_t new_tokens = 64;
  int64_t valid_vocab = 0;  ///< ids in and out are below it, see GenerationConfig
  int64_t repeats = 5;
  bool uncached = true;  ///< measure the way without the cache too, where there are no beams
  Precision precision = Precision::kFp32;
};

struct GenerateBench {
  Timing cached;
  /// Greedy without the key-value cache: every token runs over the whole prefix again. Not measured
  /// (0) with beams.
  Timing uncached;
  int64_t tokens = 0;  ///< of the outputs; those of other beams do not count
};

/// Decoding of random inputs; eos does not stop it. In evaluation mode, whatever the model's mode is.
GenerateBench bench_generate(T5& model, const GenerateBenchConfig& config);

struct OpBench {
  std::string name;  ///< as "update K=2 [2, 8, 512, 512] fp32 forward+backward"
  Timing fused;
  Timing reference;
};

/// Hands each to `report` once it is timed. In bf16 only where the processor multiplies it: elsewhere
/// the reference, ATen's, takes minutes.
void bench_ops(int64_t repeats, const std::function<void(const OpBench&)>& report);

}  // namespace altup
