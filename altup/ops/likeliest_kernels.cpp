// altup::likeliest for one vector width. Most scores are below the last of the best so far: whole
// blocks of them are passed over by their maximum.
#include "altup/ops/likeliest_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

constexpr std::int64_t kBlock = 8 * kLanes;

ALTUP_INLINE Vector larger(Vector a, Vector b) {
  return a > b ? a : b;
}

/// Puts `value` behind those that are at least as large, of which the first `filled` are set.
ALTUP_INLINE void insert(const LikeliestArguments& args, std::int64_t filled, float value,
                         std::int64_t id) {
  std::int64_t place = filled;
  for (; place > 0 && value > args.values[place - 1]; --place) {
    args.values[place] = args.values[place - 1];
    args.ids[place] = args.ids[place - 1];
  }
  args.values[place] = value;
  args.ids[place] = id;
}

void forward(const LikeliestArguments& args) {
  for (std::int64_t id = 0; id < args.count; ++id) insert(args, id, args.scores[id], id);
  const float& last = args.values[args.count - 1];
  const auto look_at = [&](std::int64_t id) ALTUP_INLINE_LAMBDA {
    if (args.scores[id] > last) insert(args, args.count - 1, args.scores[id], id);
  };
  std::int64_t id = args.count;
  for (; id + kBlock <= args.valid; id += kBlock) {
    Vector largest = Simd<float>::load(args.scores + id);
    for (std::int64_t at = kLanes; at < kBlock; at += kLanes) {
      largest = larger(Simd<float>::load(args.scores + id + at), largest);
    }
    if (!(max_of_lanes(largest) > last)) continue;
    for (std::int64_t i = 0; i < kBlock; ++i) look_at(id + i);
  }
  for (; id < args.valid; ++id) look_at(id);
  if (!args.normalise) return;

  float top = args.values[0];  // ids that are not valid have their share
  for (std::int64_t i = args.valid; i < args.size; ++i) {
    top = args.scores[i] > top ? args.scores[i] : top;
  }
  double sum = 0;
  // Parts, since a sum of many floats would lose digits.
  constexpr std::int64_t kPart = 256 * kLanes;
  for (std::int64_t first = 0; first < args.size; first += kPart) {
    const std::int64_t size = first + kPart < args.size ? kPart : args.size - first;
    Vector part{};
    along(size, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      Vector power = exp(load<kWhole>(args.scores + first + at, count) - top);
      if constexpr (!kWhole) {
        for (std::int64_t lane = count; lane < kLanes; ++lane) power[lane] = 0.0F;
      }
      part += power;
    });
    sum += sum_of_lanes(part);
  }
  const float log_sum = static_cast<float>(__builtin_log(sum));
  for (std::int64_t i = 0; i < args.count; ++i) args.values[i] = args.values[i] - top - log_sum;
}

}  // namespace

LikeliestKernel likeliest_kernel() {
  return forward;
}

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
