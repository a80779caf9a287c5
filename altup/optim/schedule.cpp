#include "altup/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace altup {

double learning_rate_at(Schedule schedule, double base, int64_t step, int64_t warmup,
                        int64_t total) {
  step = std::max<int64_t>(step, 1);
  if (schedule == Schedule::kRsqrt) {
    return base / std::sqrt(static_cast<double>(std::max(step, warmup)));
  }
  if (step < warmup) return base * static_cast<double>(step) / static_cast<double>(warmup);
  if (schedule == Schedule::kConstant) return base;

  // How much of the way from the end of the warm-up to `total` is done.
  const auto length = static_cast<double>(std::max<int64_t>(total - warmup, 1));
  const double done = std::clamp(static_cast<double>(step - warmup) / length, 0.0, 1.0);
  if (schedule == Schedule::kLinear) return base * (1.0 - done);
  return base * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace altup
