#include "altup/optim/adafactor_update.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup {
namespace {

constexpr double kGradientFloor = 1e-30;  // added to g²; keeps rows without a gradient from 0/0
constexpr double kScaleFloor = 1e-3;      // least RMS(w), so that weights at zero can move

/// How much of u is subtracted from w, given the mean squares of w and of the unclipped u.
double update_scale(const AdafactorStep& step, double mean_square_w, double mean_square_u) {
  const double clip = std::max(1.0, std::sqrt(mean_square_u) / step.clipping_threshold);
  const double scale =
      step.scale_by_parameter ? std::max(kScaleFloor, std::sqrt(mean_square_w)) : 1.0;
  return step.rate * scale / clip;
}

// --- Sums that do not depend on the number of threads
// ---------------------------------------------------------- Work is cut into blocks by its size
// alone; each block sums in fp32 over fixed lanes, and the blocks' sums are added in their order in
// double.

constexpr int64_t kLanes =
    16;  // independent partial sums, which the compiler keeps in vector registers
constexpr int64_t kBlockSize = 16384;  // elements of a block of an unfactored parameter
constexpr int64_t kRowBlocks = 64;     // blocks of a factored one: each has column sums of its own

/// Σ term(i) for i in [begin, end).
template <class Term>
double lane_sum(int64_t begin, int64_t end, const Term& term) {
  std::array<float, kLanes> lanes{};
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (int64_t lane = 0; i < end; ++i, ++lane) lanes[lane] += term(i);
  return std::accumulate(lanes.begin(), lanes.end(), 0.0);
}

double total(const std::vector<double>& sums) {
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

/// body(block, begin, end) over [0, size) in blocks of `block_size`, in parallel.
template <class Body>
void for_blocks(int64_t size, int64_t block_size, const Body& body) {
  const int64_t blocks = (size + block_size - 1) / block_size;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      body(block, block * block_size, std::min(size, (block + 1) * block_size));
    }
  });
}

void update_full(float* w, const float* g, float* v, int64_t size, const AdafactorStep& step) {
  const auto decay = static_cast<float>(step.decay);
  const auto mixing = static_cast<float>(1.0 - step.decay);
  const auto floor = static_cast<float>(kGradientFloor);
  const int64_t blocks = (size + kBlockSize - 1) / kBlockSize;
  std::vector<double> squares_w(blocks);
  std::vector<double> squares_u(blocks);

  for_blocks(size, kBlockSize, [&](int64_t block, int64_t begin, int64_t end) {
    squares_w[block] = lane_sum(begin, end, [w](int64_t i) { return w[i] * w[i]; });
    for (int64_t i = begin; i < end; ++i) v[i] = decay * v[i] + mixing * (g[i] * g[i] + floor);
    squares_u[block] = lane_sum(begin, end, [g, v](int64_t i) { return g[i] * g[i] / v[i]; });
  });

  const auto count = static_cast<double>(size);
  const auto scale =
      static_cast<float>(update_scale(step, total(squares_w) / count, total(squares_u) / count));
  const auto shrink = static_cast<float>(step.rate * step.weight_decay);
  for_blocks(size, kBlockSize, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      w[i] -= shrink * w[i] + scale * (g[i] / std::sqrt(v[i]));
    }
  });
}

/// A factored matrix [rows, columns]; the moments r [rows] and c [columns] are updated in place.
class FactoredUpdate {
 public:
  FactoredUpdate(float* w, const float* g, int64_t rows, int64_t columns, const AdafactorStep& step)
      : w_(w), g_(g), rows_(rows), columns_(columns), step_(step) {}

  void run(float* r, float* c) {
    const double mean_square_w = accumulate(r, c);
    set_factors(r, c);
    const double mean_square_u = measure_update();
    apply(static_cast<float>(update_scale(step_, mean_square_w, mean_square_u)));
  }

 private:
  int64_t rows_per_block() const { return (rows_ + kRowBlocks - 1) / kRowBlocks; }
  double size() const { return static_cast<double>(rows_) * static_cast<double>(columns_); }

  /// First pass: r and c move towards the row and column means of g² + 1e-30. Returns the mean of
  /// w².
  double accumulate(float* r, float* c) {
    std::vector<double> squares_w(kRowBlocks);
    std::vector<float> column_sums(kRowBlocks * columns_);
    for_blocks(rows_, rows_per_block(), [&](int64_t block, int64_t begin, int64_t end) {
      float* __restrict sums = column_sums.data() + block * columns_;
      for (int64_t i = begin; i < end; ++i) {
        const float* g = g_ + i * columns_;
        const float* w = w_ + i * columns_;
        squares_w[block] += lane_sum(0, columns_, [w](int64_t j) { return w[j] * w[j]; });
        const double row = lane_sum(0, columns_, [g](int64_t j) { return g[j] * g[j]; });
        for (int64_t j = 0; j < columns_; ++j) sums[j] += g[j] * g[j];
        r[i] = mixed(r[i], row / static_cast<double>(columns_));
      }
    });
    for (int64_t j = 0; j < columns_; ++j) {
      double column = 0;
      for (int64_t block = 0; block < kRowBlocks; ++block) {
        column += column_sums[block * columns_ + j];
      }
      c[j] = mixed(c[j], column / static_cast<double>(rows_));
    }
    return total(squares_w) / size();
  }

  float mixed(float old, double mean_square) const {
    return static_cast<float>(step_.decay * old +
                              (1.0 - step_.decay) * (mean_square + kGradientFloor));
  }

  /// 1/√v_ij = row_factor_i · column_factor_j. In double: the ratio of a row that never had a
  /// gradient to the mean may fall below what fp32 holds, and 1/√0 times its zero gradient would be
  /// NaN.
  void set_factors(const float* r, const float* c) {
    const double mean = std::accumulate(r, r + rows_, 0.0) / static_cast<double>(rows_);
    row_factors_.resize(rows_);
    column_factors_.resize(columns_);
    for (int64_t i = 0; i < rows_; ++i) {
      row_factors_[i] = static_cast<float>(std::sqrt(mean / r[i]));
    }
    for (int64_t j = 0; j < columns_; ++j) {
      column_factors_[j] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c[j])));
    }
  }

  /// Second pass: the mean of u².
  double measure_update() const {
    std::vector<double> squares_u(kRowBlocks);
    const float* factors = column_factors_.data();
    for_blocks(rows_, rows_per_block(), [&](int64_t block, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* g = g_ + i * columns_;
        const double row = lane_sum(0, columns_, [g, factors](int64_t j) {
          const float u = g[j] * factors[j];
          return u * u;
        });
        const double factor = row_factors_[i];
        squares_u[block] += row * factor * factor;
      }
    });
    return total(squares_u) / size();
  }

  /// Third pass.
  void apply(float scale) {
    const auto shrink = static_cast<float>(step_.rate * step_.weight_decay);
    const float* factors = column_factors_.data();
    for_blocks(rows_, rows_per_block(), [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* g = g_ + i * columns_;
        float* __restrict w = w_ + i * columns_;
        const float row_scale = scale * row_factors_[i];
        for (int64_t j = 0; j < columns_; ++j) {
          w[j] -= shrink * w[j] + row_scale * (g[j] * factors[j]);
        }
      }
    });
  }

  float* w_;
  const float* g_;
  int64_t rows_;
  int64_t columns_;
  const AdafactorStep& step_;
  std::vector<float> row_factors_;
  std::vector<float> column_factors_;
};

}  // namespace

void adafactor_update_composed(const at::Tensor& parameter, const at::Tensor& gradient,
                               const SecondMoment& moment, const AdafactorStep& step) {
  torch::NoGradGuard no_grad;
  const at::Tensor w = parameter.to(gradient.scalar_type());
  const at::Tensor q = gradient.square() + kGradientFloor;
  at::Tensor u;
  if (moment.factored()) {
    moment.row.mul_(step.decay).add_(q.mean(1), 1.0 - step.decay);
    moment.column.mul_(step.decay).add_(q.mean(0), 1.0 - step.decay);
    // √(mean/r) taken as √mean · 1/√r, each of which fp32 holds, whatever r is.
    const at::Tensor row_factor = moment.row.mean().sqrt() * moment.row.rsqrt();
    u = gradient * row_factor.unsqueeze(1) * moment.column.rsqrt().unsqueeze(0);
  } else {
    moment.full.mul_(step.decay).add_(q, 1.0 - step.decay);
    u = gradient * moment.full.rsqrt();
  }
  // Stays on the device: no .item(), hence no synchronisation.
  const at::Tensor clip = (u.square().mean().sqrt() / step.clipping_threshold).clamp_min(1.0);
  at::Tensor scale = step.rate / clip;
  if (step.scale_by_parameter) scale = scale * w.square().mean().sqrt().clamp_min(kScaleFloor);
  parameter.sub_(w * (step.rate * step.weight_decay) + u * scale);
}

void adafactor_update_fused(const at::Tensor& parameter, const at::Tensor& gradient,
                            const SecondMoment& moment, const AdafactorStep& step) {
  auto* w = parameter.mutable_data_ptr<float>();
  const auto* g = gradient.const_data_ptr<float>();
  if (moment.factored()) {
    FactoredUpdate update(w, g, parameter.size(0), parameter.size(1), step);
    update.run(moment.row.mutable_data_ptr<float>(), moment.column.mutable_data_ptr<float>());
  } else {
    update_full(w, g, moment.full.mutable_data_ptr<float>(), parameter.numel(), step);
  }
}

}  // namespace altup
