#include "altup/models/block_ends.h"

#include <bit>

namespace altup {

torch::Tensor enter_blocks(const torch::Tensor& embedded, const T5Config& config) {
  const int64_t batch = embedded.size(0);
  const int64_t length = embedded.size(1);
  switch (config.altup.variant) {
    case Variant::kNone:
    case Variant::kSequence:
    case Variant::kStrideSkip:
    case Variant::kAveragePool:
      return embedded.unsqueeze(0);
    case Variant::kAltUp:
      return embedded.view({batch, length, config.altup.blocks, config.d_model})
          .permute({2, 0, 1, 3})
          .contiguous();
    case Variant::kRecycled:
      return embedded.unsqueeze(0).expand({config.altup.blocks, -1, -1, -1});
    case Variant::kSum:
      return embedded.view({batch, length, config.altup.blocks, config.d_model})
          .sum(2)
          .unsqueeze(0);
  }
  TORCH_CHECK(false, "unknown variant");
}

torch::Tensor leave_blocks(const torch::Tensor& state, bool wide) {
  const int64_t blocks = state.size(0);
  if (blocks == 1) return state[0];
  if (!wide) {
    // Of equal blocks it has to be that block, bit for bit: K times a number over K may not be it.
    if (std::has_single_bit(static_cast<uint64_t>(blocks))) return state.mean(0);
    return state[0] + (state - state[0]).mean(0);
  }
  return state.permute({1, 2, 0, 3})
      .reshape({state.size(1), state.size(2), blocks * state.size(3)});
}

}  // namespace altup
