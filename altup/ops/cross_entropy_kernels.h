// The CPU kernel of altup::linear_cross_entropy as cross_entropy_cpu.cpp sees it; see
// kernel_types.h.
#pragma once

#include <cstdint>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

/// Rows of logits, one for each token.
template <typename Scalar>
struct CrossEntropyArguments {
  std::int64_t vocabulary = 0;
  Scalar* logits = nullptr;  // [rows, vocabulary]; with `gradient`, replaced by it
  bool gradient = false;
  float scale = 0;  // of the gradient
  float z_loss = 0;
  float label_smoothing = 0;
  const std::int64_t* targets = nullptr;  // [rows]
  const float* weights = nullptr;         // [rows]

  float* loss = nullptr;                // [rows], weighted
  float* nll = nullptr;                 // [rows], weighted
  std::int64_t* predictions = nullptr;  // [rows]: the first of the largest logits
};

// Each works on the rows [begin, end). Defined for float and BFloat16Bits.
namespace vector16 {
template <typename Scalar>
void cross_entropy_rows(const CrossEntropyArguments<Scalar>&, std::int64_t begin, std::int64_t end);
}
namespace vector32 {
template <typename Scalar>
void cross_entropy_rows(const CrossEntropyArguments<Scalar>&, std::int64_t begin, std::int64_t end);
}
namespace vector64 {
template <typename Scalar>
void cross_entropy_rows(const CrossEntropyArguments<Scalar>&, std::int64_t begin, std::int64_t end);
}

}  // namespace altup::internal
