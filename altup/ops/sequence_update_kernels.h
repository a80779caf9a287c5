// The CPU kernels of altup::sequence_update as sequence_update_cpu.cpp sees them; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// Rows of `width` floats, as the residual stream is fp32; names as in sequence_update.cpp.
struct SequenceUpdateArguments {
  std::int64_t width = 0;
  const float* x = nullptr;
  const float* x_tilde = nullptr;
  const std::int64_t* places = nullptr;
  const std::int64_t* anchors = nullptr;
  float a1 = 0;
  float a2 = 0;
  float b = 0;

  float* y = nullptr;  // forward

  const float* dy = nullptr;  // backward
  /// Rows [first_rows[i], first_rows[i + 1]) have the anchor i, whose place is one of them.
  const std::int64_t* first_rows = nullptr;
  float* dx = nullptr;
  float* dx_tilde = nullptr;
};

/// Numbers that the backward kernel writes for each anchor: Σ <dy_n, x_n>, <s, x_n'> and
/// <s, x̃_n' − (a1 + a2) x_n'>.
inline constexpr int kSequenceUpdateSums = 3;

struct SequenceUpdateKernels {
  /// On rows [begin, end).
  void (*forward)(const SequenceUpdateArguments&, std::int64_t begin, std::int64_t end) = nullptr;
  /// On the rows of anchors [begin, end); `sums`: of all anchors.
  void (*backward)(const SequenceUpdateArguments&, std::int64_t begin, std::int64_t end,
                   double* sums) = nullptr;
};

namespace vector16 {
SequenceUpdateKernels sequence_update_kernels();
}
namespace vector32 {
SequenceUpdateKernels sequence_update_kernels();
}
namespace vector64 {
SequenceUpdateKernels sequence_update_kernels();
}

}  // namespace altup::internal
