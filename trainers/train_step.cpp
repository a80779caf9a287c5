#include "trainers/train_step.h"

#include <algorithm>
#include <cmath>

#include "altup/modules/routing.h"
#include "altup/ops/ops.h"
#include "altup/util/random.h"
#include "altup/util/text.h"
#include "trainers/batch_tensors.h"
#include "trainers/evaluator.h"
#include "trainers/runtime.h"

namespace altup {
namespace {

// Dropout of a step is a function of (seed, step), so a resumed run needs no random state.
void seed_dropout(int64_t seed, int64_t step) {
  constexpr uint64_t kDropoutStream = 0xD209;
  torch::manual_seed(
      CounterRng(static_cast<uint64_t>(seed), kDropoutStream, static_cast<uint64_t>(step))
          .next_u64() >>
      1);
}

double gradient_norm(const std::vector<torch::Tensor>& parameters) {
  double sum = 0.0;
  for (const auto& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    const double norm = torch::linalg_vector_norm(parameter.grad()).item<double>();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

bool is_finite(const torch::Tensor& tensor) {
  return torch::isfinite(tensor).all().item<bool>();
}

std::string first_bad_parameter(T5& model) {
  for (const auto& item : model->named_parameters()) {
    if (!is_finite(item.value())) return item.key();
  }
  return "";
}

// The one that the backward pass came to first: it spoils those of all parameters before it.
std::string first_bad_gradient(T5& model) {
  std::string bad;
  for (const auto& item : model->named_parameters()) {
    const auto& gradient = item.value().grad();
    if (gradient.defined() && !is_finite(gradient)) bad = item.key();
  }
  return bad;
}

// Goes through the model once more and notes the first part whose output is not finite.
std::string first_bad_module(T5& model, const BatchTensors& tensors, Precision precision) {
  torch::NoGradGuard no_grad;
  const AutocastGuard autocast(precision, model->shared->weight.device());
  std::string bad;
  const auto note = [&bad](const std::string& name, const torch::Tensor& output) {
    if (bad.empty() && !is_finite(output)) bad = name;
  };
  model->encoder->watch = [&](const auto& part, const auto& output) {
    note("encoder." + part, output);
  };
  model->decoder->watch = [&](const auto& part, const auto& output) {
    note("decoder." + part, output);
  };
  const auto logits =
      model->forward(tensors.input_ids, tensors.input_mask, tensors.decoder_ids, tensors.offsets);
  model->encoder->watch = nullptr;
  model->decoder->watch = nullptr;
  note("lm_head", logits);
  return bad;
}

// A bad parameter spoils what comes after it, and a bad activation every gradient, so they are
// looked for in this order.
[[noreturn]] void report_not_finite(T5& model, const BatchTensors& tensors, Precision precision,
                                    int64_t step, double loss) {
  std::string where = std::isfinite(loss) ? "the norm of the gradient" : "the loss itself";
  const auto parameter = first_bad_parameter(model);
  if (!parameter.empty()) {
    where = "the parameter " + parameter;
  } else if (const auto module = first_bad_module(model, tensors, precision); !module.empty()) {
    where = "the output of " + module;
  } else if (const auto gradient = first_bad_gradient(model); !gradient.empty()) {
    where = "the gradient of " + gradient;
  }
  throw std::runtime_error(
      str("step ", step, ": the loss is ", loss, "; the first place that is not finite is ", where,
          ". Earlier checkpoints are kept; a lower learning rate, warm-up or train.gradient_clip "
          "may help"));
}

// Mean of the micro-batches' routing statistics, each weighted by its share of the targets, on the
// device until all are there.
class RoutingMean {
 public:
  void add(const torch::Tensor& statistics, double share) {
    if (!statistics.defined()) return;
    sum_ = sum_.defined() ? sum_ + statistics * share : statistics * share;
  }
  std::map<std::string, double> by_name() const {
    std::map<std::string, double> values;
    if (!sum_.defined()) return values;
    const auto sum = sum_.cpu();
    for (size_t i = 0; i < kRoutingStatistics.size(); ++i) {
      const double value = sum[static_cast<int64_t>(i)].item<double>();
      if (!std::isnan(value)) values.emplace(kRoutingStatistics[i], value);
    }
    return values;
  }

 private:
  torch::Tensor sum_;
};

}  // namespace

StepResult train_step(T5& model, int64_t pieces, Optimizer& optimizer, const Batch& batch,
                      int64_t step, const RunConfig& config, Precision precision) {
  const auto device = model->shared->weight.device();
  const int64_t micro =
      config.train.micro_batch_size > 0 ? config.train.micro_batch_size : batch.size;
  StepResult result;
  result.target_tokens = batch.target_tokens();
  result.tokens = batch.input_tokens() + result.target_tokens;
  result.learning_rate = learning_rate_at(config.optimizer.schedule, config.optimizer.learning_rate,
                                          step, config.optimizer.warmup_steps, config.train.steps);

  seed_dropout(config.train.seed, step);
  model->train();
  // Every micro-batch's loss is divided by the target tokens of the whole batch.
  const CrossEntropyOptions options{.scale = 1.0 / static_cast<double>(result.target_tokens),
                                    .z_loss = config.train.z_loss,
                                    .label_smoothing = config.train.label_smoothing};
  RoutingMean routing;
  BatchTensors tensors;  // of the last micro-batch, after the loop
  for (int64_t first = 0; first < batch.size; first += micro) {
    tensors = to_tensors(batch, first, std::min(micro, batch.size - first), config, device);
    LinearCrossEntropy sum;
    {
      AutocastGuard autocast(precision, device);
      sum = model->loss(tensors.input_ids, tensors.input_mask, tensors.decoder_ids, tensors.targets,
                        tensors.weights, options, tensors.offsets);
    }
    const auto counted = span_weights(tensors.targets, tensors.weights, pieces);
    result.correct += (counted * (sum.predictions == tensors.targets)).sum().item<double>();
    result.span_tokens += counted.sum().item<double>();
    routing.add(model->routing_statistics(),
                static_cast<double>(tensors.target_tokens) * options.scale);
    (sum.loss * options.scale).backward();
    result.loss += sum.loss.item<double>() * options.scale;
    if (!std::isfinite(result.loss))
      report_not_finite(model, tensors, precision, step, result.loss);
  }

  result.routing = routing.by_name();
  const auto parameters = model->parameters();
  result.gradient_norm = gradient_norm(parameters);
  if (!std::isfinite(result.gradient_norm))
    report_not_finite(model, tensors, precision, step, result.loss);
  if (config.train.gradient_clip > 0 && result.gradient_norm > config.train.gradient_clip) {
    torch::NoGradGuard no_grad;
    for (const auto& parameter : parameters) {
      if (parameter.grad().defined())
        parameter.grad().mul_(config.train.gradient_clip / result.gradient_norm);
    }
  }
  optimizer.step(result.learning_rate);
  for (const auto& parameter : parameters) parameter.mutable_grad() = torch::Tensor();
  return result;
}

}  // namespace altup
