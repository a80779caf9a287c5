// The CPU kernel of altup::likeliest as likeliest.cpp sees it; see kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// One row.
struct LikeliestArguments {
  const float* scores = nullptr;
  std::int64_t size = 0;
  std::int64_t valid = 0;  ///< at most `size`
  std::int64_t count = 0;  ///< at most `valid`
  bool normalise = false;
  float* values = nullptr;      ///< [count]
  std::int64_t* ids = nullptr;  ///< [count]
};

using LikeliestKernel = void (*)(const LikeliestArguments&);

namespace vector16 {
LikeliestKernel likeliest_kernel();
}
namespace vector32 {
LikeliestKernel likeliest_kernel();
}
namespace vector64 {
LikeliestKernel likeliest_kernel();
}

}  // namespace altup::internal
