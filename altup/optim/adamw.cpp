// AdamW (Loshchilov & Hutter 2019), with PyTorch's order of operations:
//
//   m = β1 m + (1 - β1) g        v = β2 v + (1 - β2) g²
//   w = (1 - rate · decay) w - rate / (1 - β1^t) · m / (√(v / (1 - β2^t)) + ε)
//
// The product and the subtraction are rounded one after the other, as there: one subtraction of
// both terms would drift from PyTorch's trajectory five times as far.
//
// t is the optimiser's step, one for all parameters; PyTorch counts for each parameter the steps in
// which it had a gradient, which is the same unless some parameter sits out.
#include <ATen/Parallel.h>

#include <cmath>

#include "altup/optim/moments.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup {
namespace {

struct AdamWStep {
  double rate = 0;              ///< over 1 - β1^t
  double keep = 1;              ///< 1 - rate · decay
  double root_correction2 = 1;  ///< √(1 - β2^t)
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
};

void update_composed(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& m,
                     const at::Tensor& v, const AdamWStep& step) {
  const at::Tensor w = parameter.to(gradient.scalar_type());
  m.mul_(step.beta1).add_(gradient, 1.0 - step.beta1);
  v.mul_(step.beta2).addcmul_(gradient, gradient, 1.0 - step.beta2);
  const at::Tensor denominator = v.sqrt().div_(step.root_correction2).add_(step.epsilon);
  parameter.copy_(w * step.keep - m / denominator * step.rate);
}

/// The same in one pass, for contiguous fp32 tensors on the CPU.
void update_fused(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& m,
                  const at::Tensor& v, const AdamWStep& step) {
  constexpr int64_t kGrain = 16384;
  float* w = parameter.mutable_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* first = m.mutable_data_ptr<float>();
  float* second = v.mutable_data_ptr<float>();
  const auto beta1 = static_cast<float>(step.beta1);
  const auto beta2 = static_cast<float>(step.beta2);
  const auto mixing1 = static_cast<float>(1.0 - step.beta1);
  const auto mixing2 = static_cast<float>(1.0 - step.beta2);
  const auto rate = static_cast<float>(step.rate);
  const auto keep = static_cast<float>(step.keep);
  const auto correction = static_cast<float>(1.0 / step.root_correction2);
  const auto epsilon = static_cast<float>(step.epsilon);
  at::parallel_for(0, parameter.numel(), kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      first[i] = beta1 * first[i] + mixing1 * g[i];
      second[i] = beta2 * second[i] + mixing2 * g[i] * g[i];
      const float denominator = std::sqrt(second[i]) * correction + epsilon;
      w[i] = keep * w[i] - rate * (first[i] / denominator);
    }
  });
}

class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerConfig& config, NamedTensors parameters)
      : config_(config), parameters_(std::move(parameters)) {
    for (const auto& [name, parameter] : parameters_) {
      const auto options =
          at::TensorOptions().device(parameter.device()).dtype(moment_type(parameter));
      first_.push_back(at::zeros(parameter.sizes(), options));
      second_.push_back(at::zeros(parameter.sizes(), options));
    }
  }

  void step(double learning_rate) override {
    torch::NoGradGuard no_grad;
    ++step_;
    const auto t = static_cast<double>(step_);
    AdamWStep update;
    const double correction1 = 1.0 - std::pow(config_.beta1, t);
    update.root_correction2 = std::sqrt(1.0 - std::pow(config_.beta2, t));
    update.beta1 = config_.beta1;
    update.beta2 = config_.beta2;
    update.epsilon = config_.epsilon;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto& [name, parameter] = parameters_[i];
      const at::Tensor gradient = read_gradient(name, parameter);
      if (!gradient.defined()) continue;
      update.rate = learning_rate / correction1;
      if (is_coefficient(name, parameter)) update.rate *= config_.coefficient_rate;
      update.keep = is_exempt(name, parameter) ? 1.0 : 1.0 - learning_rate * config_.weight_decay;
      const auto run = has_plain_memory(parameter, gradient) ? update_fused : update_composed;
      run(parameter, gradient, first_[i], second_[i], update);
    }
  }

  NamedTensors state() const override {
    NamedTensors state{{"step", step_tensor(step_)}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      state.emplace_back(parameters_[i].first + ".m", first_[i]);
      state.emplace_back(parameters_[i].first + ".v", second_[i]);
    }
    return state;
  }

  void load_state(const NamedTensors& state) override {
    const NamedTensors own = this->state();
    load_moments(own, state);
    step_ = own.front().second.item<int64_t>();
  }

 private:
  OptimizerConfig config_;
  NamedTensors parameters_;
  std::vector<at::Tensor> first_;
  std::vector<at::Tensor> second_;
  int64_t step_ = 0;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerConfig& config, NamedTensors parameters) {
  return std::make_unique<AdamW>(config, std::move(parameters));
}

}  // namespace altup
