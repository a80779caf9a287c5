#include "trainers/memory_estimate.h"

#include <algorithm>

#include "altup/models/model_size.h"
#include "altup/models/t5.h"
#include "altup/optim/moment_count.h"
#include "trainers/step_operations.h"

namespace altup {
namespace {

constexpr double kFp32 = 4.0;
constexpr double kBf16 = 2.0;

double weight_bytes(const T5Config& config) {
  return kFp32 * static_cast<double>(count_parameters(config).total);
}

double moment_bytes(const T5Config& model, const OptimizerConfig& optimizer) {
  const auto parameters = named_parameters(*T5(model, /*initialise=*/false));
  return kFp32 * static_cast<double>(count_moments(optimizer, parameters));
}

/// What is kept, in the order of the first operation of each part.
std::vector<MemoryPart> by_part(const Operations& operations) {
  std::vector<MemoryPart> parts;
  for (const auto& operation : operations) {
    if (operation.kept == 0) continue;
    auto found = std::find_if(parts.begin(), parts.end(),
                              [&](const MemoryPart& part) { return part.name == operation.part; });
    if (found == parts.end()) found = parts.insert(parts.end(), {operation.part, 0});
    found->bytes += operation.kept;
  }
  return parts;
}

}  // namespace

TrainingMemory estimate_training_memory(const T5Config& model, const OptimizerConfig& optimizer,
                                        const StepShape& shape) {
  const Operations operations = step_operations(model, shape);
  const LossMemory loss = loss_memory(model, shape);
  const bool accumulates = shape.micro_batches > 1;
  TrainingMemory memory;
  memory.weights = memory.gradients = weight_bytes(model);
  memory.optimizer = moment_bytes(model, optimizer);
  memory.activations = sum_of(operations, &Operation::kept);
  memory.activations_by_part = by_part(operations);

  // The loss is the last operation forward and the first one backward. A tied head's gradient waits
  // for the embedding's.
  const double bytes = kProgramBytes + memory.weights + memory.optimizer + memory.activations +
                       (accumulates ? memory.gradients : 0.0);
  const Operation head = {.part = "loss",
                          .gradient = loss.head_gradient,
                          .temporary = loss.temporary,
                          .gradient_waits = model.tie_embeddings};
  Operations all = operations;
  all.push_back(head);
  const Peak peak = walk_back(all, bytes, accumulates);
  memory.peak = peak.bytes;
  memory.temporaries = peak.temporary;
  memory.peak_during = peak.during;
  return memory;
}

InferenceMemory estimate_inference_memory(const T5Config& model, const StepShape& shape) {
  const double e = shape.product_bytes();
  const auto b = static_cast<double>(shape.batch);
  const auto n = static_cast<double>(shape.input_tokens());
  const auto inner = static_cast<double>(model.num_heads * model.d_kv);
  const auto blocks = static_cast<double>(model.num_blocks());
  const auto width = static_cast<double>(model.embedding_width());
  const auto vocabulary = static_cast<double>(model.vocab_size);
  const double block = kFp32 * n * static_cast<double>(model.d_model);
  InferenceMemory memory;
  memory.weights = weight_bytes(model);
  if (shape.bf16) {  // of all that is multiplied with
    memory.lowered_weights =
        kBf16 / kFp32 *
        (memory.weights - (model.tie_embeddings ? 0.0 : kFp32 * vocabulary * width));
  }
  // AttentionCache has room for the tokens that are expected, up to 512, and from there on doubles.
  constexpr int64_t kLargestFirst = 512;
  int64_t capacity = std::min(shape.target_length, kLargestFirst);
  while (capacity < shape.target_length) capacity *= 2;
  const int64_t seen = shape.memory_length(model);
  memory.caches = 2 * e * inner * b * static_cast<double>(capacity + seen) *
                  static_cast<double>(model.num_decoder_layers);
  // Encoding holds the embedded tokens, the state, and of a layer its sum, what its feed-forward
  // reads and the two or three tensors of that; or else what it computed, and the next state.
  const double wide = e * n * static_cast<double>(model.d_ff);
  const double layer = block + e / kFp32 * block +
                       (model.feed_forward == FeedForwardKind::kGatedGelu ? 3 : 2) * wide;
  const double encoding =
      kFp32 * n * width + blocks * block + std::max(layer, block * (1 + blocks));
  // A token's logits, and at the first one what keys and values are made of, and a layer's values.
  const double token =
      kFp32 * b * vocabulary +
      e * b * static_cast<double>(seen) * (static_cast<double>(model.memory_width()) + inner);
  memory.working = std::max(encoding, token);
  memory.peak = kProgramBytes + memory.weights + memory.lowered_weights +
                std::max(encoding, memory.caches + token);
  return memory;
}

int64_t largest_micro_batch(const T5Config& model, const OptimizerConfig& optimizer,
                            StepShape shape, int64_t batch, double bytes) {
  for (int64_t count = 1; count <= batch; ++count) {
    if (batch % count != 0) continue;
    shape.batch = batch / count;
    shape.micro_batches = count;
    if (estimate_training_memory(model, optimizer, shape).peak <= bytes) return shape.batch;
  }
  return 0;
}

}  // namespace altup
