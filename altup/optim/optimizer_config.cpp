#include "altup/optim/optimizer_config.h"

#include <cmath>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

/// The largest rate that the schedule ever gives.
double peak_rate(const OptimizerConfig& config) {
  return config.schedule == Schedule::kRsqrt
             ? learning_rate_at(config.schedule, config.learning_rate, 1, config.warmup_steps, 1)
             : config.learning_rate;
}

void check_adamw(const OptimizerConfig& config) {
  for (const auto& [key, beta] : {std::pair{"beta1", config.beta1}, {"beta2", config.beta2}}) {
    if (beta >= 1) {
      throw UserError(str("optimizer.", key, " is ", beta, "; expected less than 1"));
    }
  }
  if (config.epsilon <= 0) {
    throw UserError(str("optimizer.epsilon is ", config.epsilon,
                        "; expected more than 0: embedding rows that are never seen would be 0/0"));
  }
}

void check_adafactor(const OptimizerConfig& config) {
  if (config.clipping_threshold <= 0) {
    throw UserError(str("optimizer.clipping_threshold is ", config.clipping_threshold,
                        "; expected more than 0 (a large value switches clipping off)"));
  }
}

}  // namespace

void OptimizerConfig::validate() const {
  // The default base of 1.0 belongs to rsqrt (1 / sqrt(10,000) = 0.01). Left in place beside
  // another schedule it would replace the weights at each step, without an error.
  const double peak = peak_rate(*this);
  if (peak >= 1) {
    throw UserError(str("optimizer.learning_rate is ", learning_rate, ", which with schedule \"",
                        enum_name(schedule), "\" and warmup_steps = ", warmup_steps,
                        " reaches a rate of ", peak,
                        "; expected a rate below 1 (rsqrt divides by sqrt(warmup_steps))"));
  }
  if (peak * coefficient_rate >= 1) {
    throw UserError(str("optimizer.coefficient_rate is ", coefficient_rate,
                        ", which times a rate of ", peak, " is ", peak * coefficient_rate,
                        "; expected a product below 1"));
  }
  if (name == OptimizerName::kAdamW) check_adamw(*this);
  if (name == OptimizerName::kAdafactor) check_adafactor(*this);
}

std::vector<std::string> OptimizerConfig::unread_keys() const {
  const OptimizerConfig defaults;
  std::vector<std::string> keys;
  const auto check = [&](const char* key, auto field) {
    if (this->*field != defaults.*field) keys.push_back(str("optimizer.", key));
  };
  if (name == OptimizerName::kAdafactor) {
    check("beta1", &OptimizerConfig::beta1);
    check("beta2", &OptimizerConfig::beta2);
    check("epsilon", &OptimizerConfig::epsilon);
  } else {
    check("decay_exponent", &OptimizerConfig::decay_exponent);
    check("clipping_threshold", &OptimizerConfig::clipping_threshold);
    check("scale_by_parameter", &OptimizerConfig::scale_by_parameter);
    check("min_factored_size", &OptimizerConfig::min_factored_size);
  }
  return keys;
}

}  // namespace altup
