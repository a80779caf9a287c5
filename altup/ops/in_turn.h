// Work handed out to threads in turn: a thread that was held up takes less of it, where equal shares
// would have the others wait.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {

/// A piece of 0 … count - 1.
struct Piece {
  std::int64_t begin, end;
};

/// Calls body(next) once on each thread, where next(piece) says whether there is another piece of
/// 0 … count - 1. Pieces begin at multiples of `grain` and are at most `largest` long, or one grain;
/// towards the end they shrink, down to one grain (guided self-scheduling, Polychronopoulos and
/// Kuck 1987). Inside another parallel region all pieces are this thread's.
template <typename Body>
void in_turn(std::int64_t count, std::int64_t grain, std::int64_t largest, const Body& body) {
  const std::int64_t pieces = (count + grain - 1) / grain;
  const std::int64_t threads =
      at::in_parallel_region() ? 1 : std::min<std::int64_t>(at::get_num_threads(), pieces);
  const std::int64_t most = std::max<std::int64_t>(1, largest / grain);
  std::atomic<std::int64_t> taken{0};  // grains
  const auto next = [&](Piece& piece) {
    std::int64_t begin = taken.load(std::memory_order_relaxed), size = 0;
    do {
      if (begin >= pieces) return false;
      size = std::clamp<std::int64_t>((pieces - begin) / (2 * threads), 1, most);
    } while (!taken.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed));
    piece = {begin * grain, std::min(count, (begin + size) * grain)};
    return true;
  };
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto thread = begin; thread < end; ++thread) body(next);
  });
}

}  // namespace altup::internal
