// The arithmetic of altup::update for one vector width, ALTUP_VECTOR_BYTES; the formulas are at the
// top of altup_update.cpp. Each pass reads every input once and writes every output once, which is
// what the operator costs: there are a few operations per number that comes from memory.
#include "altup/ops/altup_update_kernels.h"
#include "altup/ops/simd.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

template <bool kStreams, bool kWhole, typename Scalar>
ALTUP_INLINE void write(typename Simd<Scalar>::Vector vector, Scalar* to, std::int64_t count) {
  if constexpr (kStreams && kWhole) {
    stream(vector, to);
  } else {
    store<kWhole>(vector, to, count);
  }
}

// --- Forward
// ---------------------------------------------------------------------------------------
//
// y^i = x̂^i + g_i (x̃ − x̂^a) = Σ_j m_ij x^j + g_i x̃  with  m_ij = p_ij − g_i p_aj. Summed in this
// order, p = I, g = 1 and equal blocks give x̃ without rounding.

template <int K, bool kStreams, bool kWhole, typename Scalar, typename Sum>
ALTUP_INLINE void forward_step(const UpdateArguments<Scalar>& args, const Sum (&mix)[K][K],
                               std::int64_t at, std::int64_t count) {
  using Vector = typename Simd<Scalar>::Vector;
  Vector x[K];
#pragma GCC unroll 4
  for (int j = 0; j < K; ++j) x[j] = load<kWhole>(args.x + j * args.x_stride + at, count);
  const Vector x_tilde = load<kWhole>(args.x_tilde + at, count);
#pragma GCC unroll 4
  for (int i = 0; i < K; ++i) {
    Vector y = mix[i][0] * x[0];
#pragma GCC unroll 4
    for (int j = 1; j < K; ++j) y += mix[i][j] * x[j];
    y += args.g[i] * x_tilde;
    write<kStreams, kWhole>(y, args.y + i * args.block_size + at, count);
  }
}

template <int K, bool kStreams, typename Scalar>
void forward_as(const UpdateArguments<Scalar>& original, std::int64_t begin, std::int64_t end) {
  using Sum = SumType<Scalar>;
  const UpdateArguments<Scalar> args = original;
  Sum mix[K][K];
  for (int i = 0; i < K; ++i) {
    for (int j = 0; j < K; ++j) {
      mix[i][j] = args.p[i * K + j] - args.g[i] * args.p[args.active_block * K + j];
    }
  }
  constexpr int kLanes = Simd<Scalar>::kLanes;
  std::int64_t at = begin;
  for (; at + kLanes <= end; at += kLanes) forward_step<K, kStreams, true>(args, mix, at, kLanes);
  if (at < end) forward_step<K, kStreams, false>(args, mix, at, end - at);
}

template <int K, typename Scalar>
void forward(const UpdateArguments<Scalar>& args, std::int64_t begin, std::int64_t end) {
  const auto run = args.streams ? forward_as<K, true, Scalar> : forward_as<K, false, Scalar>;
  run(args, begin, end);
}

// --- Backward
// --------------------------------------------------------------------------------------

/// The products of a piece of a row, still apart by lane.
template <int K, typename Vector>
struct LaneSums {
  Vector dp[K][K] = {};
  Vector dg[K] = {};
};

template <int K, bool kStreams, bool kWhole, typename Scalar, typename Sum, typename Vector>
ALTUP_INLINE void backward_step(const UpdateArguments<Scalar>& args, const Sum (&p)[K][K],
                                const Sum (&g)[K], const Sum (&is_active)[K],
                                LaneSums<K, Vector>& sums, std::int64_t at, std::int64_t count) {
  Vector dy[K];
  Vector x[K];
  Vector e{};
  Vector innovation = load<kWhole>(args.x_tilde + at, count);
#pragma GCC unroll 4
  for (int i = 0; i < K; ++i) {
    dy[i] = load<kWhole>(args.dy + i * args.dy_stride + at, count);
    x[i] = load<kWhole>(args.x + i * args.x_stride + at, count);
    e += g[i] * dy[i];
    innovation -= args.p[args.active_block * K + i] * x[i];
  }
  write<kStreams, kWhole>(e, args.dx_tilde + at, count);
#pragma GCC unroll 4
  for (int i = 0; i < K; ++i) {
    sums.dg[i] += dy[i] * innovation;
    dy[i] -= is_active[i] * e;  // now dx̂^i
#pragma GCC unroll 4
    for (int j = 0; j < K; ++j) sums.dp[i][j] += dy[i] * x[j];
  }
#pragma GCC unroll 4
  for (int j = 0; j < K; ++j) {
    Vector dx = p[0][j] * dy[0];
#pragma GCC unroll 4
    for (int i = 1; i < K; ++i) dx += p[i][j] * dy[i];
    write<kStreams, kWhole>(dx, args.dx + j * args.block_size + at, count);
  }
}

template <int K, bool kStreams, typename Scalar>
void backward_as(const UpdateArguments<Scalar>& original, std::int64_t begin, std::int64_t end,
                 double* sums) {
  using Sum = SumType<Scalar>;
  const UpdateArguments<Scalar> args = original;
  Sum p[K][K];
  Sum g[K];
  Sum is_active[K];
  for (int i = 0; i < K; ++i) {
    g[i] = args.g[i];
    is_active[i] = i == args.active_block ? 1 : 0;
    for (int j = 0; j < K; ++j) p[i][j] = args.p[i * K + j];
  }
  constexpr int kLanes = Simd<Scalar>::kLanes;
  LaneSums<K, typename Simd<Scalar>::Vector> lanes;
  std::int64_t at = begin;
  for (; at + kLanes <= end; at += kLanes) {
    backward_step<K, kStreams, true>(args, p, g, is_active, lanes, at, kLanes);
  }
  if (at < end) backward_step<K, kStreams, false>(args, p, g, is_active, lanes, at, end - at);

  for (int i = 0; i < K; ++i) {
    for (int j = 0; j < K; ++j) sums[i * K + j] = sum_of_lanes(lanes.dp[i][j]);
    sums[K * K + i] = sum_of_lanes(lanes.dg[i]);
  }
}

template <int K, typename Scalar>
void backward(const UpdateArguments<Scalar>& args, std::int64_t begin, std::int64_t end,
              double* sums) {
  const auto run = args.streams ? backward_as<K, true, Scalar> : backward_as<K, false, Scalar>;
  run(args, begin, end, sums);
}

}  // namespace

template <typename Scalar>
UpdateKernels<Scalar> update_kernels(int num_blocks) {
  static_assert(kMaxFusedBlocks == 4);
  switch (num_blocks) {
    case 1:
      return {forward<1, Scalar>, backward<1, Scalar>};
    case 2:
      return {forward<2, Scalar>, backward<2, Scalar>};
    case 3:
      return {forward<3, Scalar>, backward<3, Scalar>};
    case 4:
      return {forward<4, Scalar>, backward<4, Scalar>};
    default:
      return {};
  }
}

template UpdateKernels<float> update_kernels<float>(int);
template UpdateKernels<double> update_kernels<double>(int);
template UpdateKernels<BFloat16Bits> update_kernels<BFloat16Bits>(int);

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
