// Taking the time of two things in turn, so that what else the machine does meets both alike.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "altup/ops/ops.h"
#include "trainers/bench.h"
#include "trainers/statistics.h"

namespace altup {

inline double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline Timing summarise(const std::vector<double>& seconds) {
  if (seconds.empty()) return {};
  return {median(seconds), *std::min_element(seconds.begin(), seconds.end())};
}

// Runs both bodies once to warm up, then `repeats` times in turn.
inline std::pair<Timing, Timing> interleave(int64_t repeats, const std::function<void()>& first,
                                            const std::function<void()>& second) {
  std::vector<double> first_seconds;
  std::vector<double> second_seconds;
  for (int64_t i = -1; i < repeats; ++i) {
    const double a = seconds_of(first);
    const double b = second ? seconds_of(second) : 0.0;
    if (i < 0) continue;
    first_seconds.push_back(a);
    if (second) second_seconds.push_back(b);
  }
  return {summarise(first_seconds), summarise(second_seconds)};
}

class ReferenceKernels {
 public:
  ReferenceKernels() : before_(use_reference_kernels()) { set_use_reference_kernels(true); }
  ~ReferenceKernels() { set_use_reference_kernels(before_); }
  ReferenceKernels(const ReferenceKernels&) = delete;
  ReferenceKernels& operator=(const ReferenceKernels&) = delete;

 private:
  bool before_;
};

}  // namespace altup
