// Pieces of work for threads: all of it, none of it twice, cut where it may be cut.
#include "altup/ops/in_turn.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <vector>

namespace altup::internal {
namespace {

/// Restores the number of threads.
class WithThreads {
 public:
  explicit WithThreads(int threads) : before_(at::get_num_threads()) {
    at::set_num_threads(threads);
  }
  ~WithThreads() { at::set_num_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

std::vector<Piece> pieces_of(int64_t count, int64_t grain, int64_t largest) {
  std::mutex mutex;
  std::vector<Piece> pieces;
  in_turn(count, grain, largest, [&](const auto& next) {
    for (Piece piece{}; next(piece);) {
      const std::lock_guard lock(mutex);
      pieces.push_back(piece);
    }
  });
  return pieces;
}

TEST(InTurn, HandsOutEachIndexOnce) {
  for (const int threads : {1, 2, 3}) {
    const WithThreads guard(threads);
    for (const int64_t count : {0, 1, 5, 24, 25, 96, 97, 1000}) {
      for (const int64_t grain : {1, 24}) {
        std::vector<int> times(count, 0);
        for (const auto& piece : pieces_of(count, grain, 96)) {
          EXPECT_EQ(piece.begin % grain, 0);
          EXPECT_GT(piece.end, piece.begin);
          EXPECT_LE(piece.end - piece.begin, 96);
          for (auto i = piece.begin; i < piece.end; ++i) ++times[i];
        }
        EXPECT_EQ(times, std::vector<int>(count, 1)) << count << " by " << grain;
      }
    }
  }
}

TEST(InTurn, AGrainMayBeLargerThanAllThereIs) {
  const auto pieces = pieces_of(3, 16, 3);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].end, 3);
}

TEST(InTurn, EndsWithSmallPieces) {
  const WithThreads guard(2);
  const auto pieces = pieces_of(4096, 24, 96);
  for (const auto& piece : pieces) {
    const auto size = piece.end - piece.begin;
    if (piece.begin < 4096 - 8 * 96) {
      EXPECT_EQ(size, 96);
    } else if (piece.begin >= 4096 - 4 * 24) {
      EXPECT_LE(size, 24);
    }
  }
}

TEST(InTurn, IsSerialInsideAnotherRegion) {
  const WithThreads guard(2);
  std::atomic<int64_t> bodies{0}, taken{0};
  at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    in_turn(10, 1, 10, [&](const auto& next) {
      ++bodies;
      for (Piece piece{}; next(piece);) taken += piece.end - piece.begin;
    });
  });
  EXPECT_EQ(bodies, 2);
  EXPECT_EQ(taken, 20);
}

}  // namespace
}  // namespace altup::internal
