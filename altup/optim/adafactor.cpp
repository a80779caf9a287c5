// Adafactor over all parameters: which of them are factored, and the state. The arithmetic of one
// parameter is in adafactor_update.h. The experts of a mixture, [E, R, C] in one tensor, are updated
// as E matrices: each is factored, clipped and scaled by itself.
#include <algorithm>
#include <cmath>

#include "altup/optim/adafactor_update.h"
#include "altup/optim/moments.h"

namespace altup {
namespace {

class Adafactor : public Optimizer {
 public:
  Adafactor(const OptimizerConfig& config, NamedTensors parameters)
      : config_(config), parameters_(std::move(parameters)) {
    for (const auto& [name, parameter] : parameters_) {
      const auto options =
          at::TensorOptions().device(parameter.device()).dtype(moment_type(parameter));
      SecondMoment moment;
      if (is_factored(config_, name, parameter)) {
        // A matrix, or one for each expert: [R, C] or [E, R, C].
        moment.row = at::zeros(parameter.sizes().slice(0, parameter.dim() - 1), options);
        auto columns = parameter.sizes().vec();
        columns.erase(columns.end() - 2);
        moment.column = at::zeros(columns, options);
      } else {
        moment.full = at::zeros(parameter.sizes(), options);
      }
      moments_.push_back(std::move(moment));
    }
  }

  void step(double learning_rate) override {
    torch::NoGradGuard no_grad;
    ++step_;
    AdafactorStep update;
    update.decay = 1.0 - std::pow(static_cast<double>(step_), -config_.decay_exponent);
    update.clipping_threshold = config_.clipping_threshold;
    update.scale_by_parameter = config_.scale_by_parameter;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto& [name, parameter] = parameters_[i];
      const at::Tensor gradient = read_gradient(name, parameter);
      if (!gradient.defined() || parameter.numel() == 0) continue;
      update.rate = is_coefficient(name, parameter) ? learning_rate * config_.coefficient_rate
                                                    : learning_rate;
      update.weight_decay = is_exempt(name, parameter) ? 0.0 : config_.weight_decay;
      const auto run = has_plain_memory(parameter, gradient) ? adafactor_update_fused
                                                             : adafactor_update_composed;
      if (parameter.dim() < 3) {
        run(parameter, gradient, moments_[i], update);
        continue;
      }
      for (int64_t expert = 0; expert < parameter.size(0); ++expert) {
        run(parameter[expert], gradient[expert], moments_[i].of_expert(expert), update);
      }
    }
  }

  NamedTensors state() const override {
    NamedTensors state{{"step", step_tensor(step_)}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const std::string& name = parameters_[i].first;
      const SecondMoment& moment = moments_[i];
      if (moment.factored()) {
        state.emplace_back(name + ".v_row", moment.row);
        state.emplace_back(name + ".v_col", moment.column);
      } else {
        state.emplace_back(name + ".v", moment.full);
      }
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
  std::vector<SecondMoment> moments_;
  int64_t step_ = 0;
};

}  // namespace

bool is_factored(const OptimizerConfig& config, const std::string& name,
                 const at::Tensor& parameter) {
  return (parameter.dim() == 2 || parameter.dim() == 3) && !is_exempt(name, parameter) &&
         std::min(parameter.size(-2), parameter.size(-1)) >= config.min_factored_size;
}

std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, NamedTensors parameters) {
  return std::make_unique<Adafactor>(config, std::move(parameters));
}

}  // namespace altup
