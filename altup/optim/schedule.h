// Learning-rate schedules. Steps count from 1.
#pragma once

#include <cstdint>

#include "altup/util/fields.h"

namespace altup {

/// kRsqrt: base / sqrt(max(step, warmup)), T5's. The others climb linearly from 0 to base over
/// `warmup` steps; kConstant then stays, kLinear falls to 0 at `total`, kCosine falls to 0 along
/// half a cosine.
enum class Schedule { kRsqrt, kConstant, kLinear, kCosine };

template <>
struct EnumNames<Schedule> {
  static constexpr std::array<std::pair<std::string_view, Schedule>, 4> kNames = {
      {{"rsqrt", Schedule::kRsqrt},
       {"constant", Schedule::kConstant},
       {"linear", Schedule::kLinear},
       {"cosine", Schedule::kCosine}}};
};

/// `total` is the number of steps of the run, which kLinear and kCosine need.
double learning_rate_at(Schedule schedule, double base, int64_t step, int64_t warmup,
                        int64_t total);

}  // namespace altup
