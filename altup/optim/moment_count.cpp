#include "altup/optim/moment_count.h"

#include "altup/optim/moments.h"

namespace altup {

int64_t count_moments(const OptimizerConfig& config, const NamedTensors& parameters) {
  int64_t count = 0;
  for (const auto& [name, parameter] : parameters) {
    if (config.name == OptimizerName::kAdamW) {
      count += 2 * parameter.numel();
    } else if (is_factored(config, name, parameter)) {
      count += parameter.numel() / parameter.size(-1) + parameter.numel() / parameter.size(-2);
    } else {
      count += parameter.numel();
    }
  }
  return count;
}

}  // namespace altup
