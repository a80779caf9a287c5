// The arithmetic of altup::sequence_update for one vector width, ALTUP_VECTOR_BYTES; the formulas are
// at the top of sequence_update.cpp. Each pass reads every row once, and an anchor's with its first
// row only as far as it is in no cache.
#include "altup/ops/sequence_update_kernels.h"

#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

// A sum of vectors, lane by lane in double: in fp32 the many terms of an anchor, which cancel each
// other in part, would lose digits.
class PreciseSum {
 public:
  void add(const Vector& terms) {
    for (int lane = 0; lane < kLanes; ++lane) lanes_[lane] += terms[lane];
  }
  double total() const {
    double sum = 0;
    for (const double lane : lanes_) sum += lane;
    return sum;
  }

 private:
  double lanes_[kLanes] = {};
};

void forward(const SequenceUpdateArguments& args, std::int64_t begin, std::int64_t end) {
  const float mixed = args.a2 - args.b * (args.a1 + args.a2);
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t anchor = args.anchors[n];
    const float* const x = args.x + n * args.width;
    const float* const own = args.x + args.places[anchor] * args.width;
    const float* const x_tilde = args.x_tilde + anchor * args.width;
    float* const y = args.y + n * args.width;
    along(args.width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      // In this order: x and −x of an anchor vanish, and x̃ is what is left.
      Vector sum = args.a1 * load<kWhole>(x + at, count) + mixed * load<kWhole>(own + at, count);
      sum += args.b * load<kWhole>(x_tilde + at, count);
      store<kWhole, float>(sum, y + at, count);
    });
  }
}

void backward(const SequenceUpdateArguments& args, std::int64_t begin, std::int64_t end,
              double* sums) {
  const float mixed = args.a2 - args.b * (args.a1 + args.a2);
  const float both = args.a1 + args.a2;
  for (std::int64_t anchor = begin; anchor < end; ++anchor) {
    const std::int64_t first = args.first_rows[anchor];
    const std::int64_t last = args.first_rows[anchor + 1];
    const float* const own = args.x + args.places[anchor] * args.width;
    const float* const x_tilde = args.x_tilde + anchor * args.width;
    float* const dx_own = args.dx + args.places[anchor] * args.width;
    float* const dx_tilde = args.dx_tilde + anchor * args.width;
    PreciseSum of_rows;
    PreciseSum of_own;
    PreciseSum of_innovation;
    along(args.width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
      Vector s{};
      Vector of_column{};
      for (std::int64_t n = first; n < last; ++n) {
        const Vector dy = load<kWhole>(args.dy + n * args.width + at, count);
        of_column += dy * load<kWhole>(args.x + n * args.width + at, count);
        s += dy;
        store<kWhole, float>(args.a1 * dy, args.dx + n * args.width + at, count);
      }
      of_rows.add(of_column);
      store<kWhole, float>(args.b * s, dx_tilde + at, count);
      if (first == last) return;  // its place is another's
      const Vector x_own = load<kWhole>(own + at, count);
      of_own.add(s * x_own);
      of_innovation.add(s * (load<kWhole>(x_tilde + at, count) - both * x_own));
      const Vector so_far = load<kWhole>(static_cast<const float*>(dx_own) + at, count);
      store<kWhole, float>(so_far + mixed * s, dx_own + at, count);
    });
    double* const sum = sums + anchor * kSequenceUpdateSums;
    sum[0] = of_rows.total();
    sum[1] = of_own.total();
    sum[2] = of_innovation.total();
  }
}

}  // namespace

SequenceUpdateKernels sequence_update_kernels() {
  return {forward, backward};
}

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
