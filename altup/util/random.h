// Counter-based random numbers (Philox 4x32-10, Salmon et al., SC 2011): what is drawn is a pure
// function of a key, so an example is corrupted alike wherever, whenever and by whichever thread it
// is read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace altup {

/// Draws numbers for one key. Two generators with the same (seed, stream, index) give the same
/// numbers.
class CounterRng {
 public:
  explicit CounterRng(uint64_t seed, uint64_t stream = 0, uint64_t index = 0);

  uint32_t next_u32();
  uint64_t next_u64();
  /// Uniform in [0, bound), without modulo bias; bound > 0.
  uint64_t below(uint64_t bound);
  /// Uniform in [0, 1), with 53 bits.
  double uniform();

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

/// A permutation of 0..n-1 that depends on the key alone (Fisher-Yates).
std::vector<uint32_t> random_permutation(uint32_t n, CounterRng rng);

}  // namespace altup
