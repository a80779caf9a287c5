// altup::update on CPU: brings the tensors into the form of the kernels, splits the work among
// threads and picks the vector width of the processor. A row is cut into pieces of a fixed length;
// each piece leaves its share of the coefficients' gradients in a slot of its own, and the slots
// are added in order, in double. The result is therefore the same for any number of threads. With
// coefficients of each token, a piece is a token, and nothing is added up.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "altup/ops/altup_update.h"
#include "altup/ops/altup_update_kernels.h"
#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// Elements of a block worked on at a time. Short enough for the fp32 sums over one piece to be
/// accurate (they go on in double), long enough to hide the cost of adding up their lanes.
constexpr int64_t kPiece = 2048;
/// Fewer pieces than this are not worth waking another thread.
constexpr int64_t kPiecesPerThread = 16;
/// Results from this size on are written past the caches: with 32 MB of cache, and a norm of one
/// block behind, 8 MB were faster so, 4 MB as fast either way, and 2 MB slower.
constexpr int64_t kStreamedBytes = 8 << 20;

bool has_kernel(const at::Tensor& x, at::ScalarType type) {
  return x.size(0) <= kMaxFusedBlocks &&
         (type == at::kFloat || type == at::kDouble || type == at::kBFloat16);
}

/// `state` [K, B, T, d] with every block dense; how far the blocks lie apart does not matter, and a
/// block that is expanded to K stays so.
at::Tensor with_dense_blocks(const at::Tensor& state, at::ScalarType type) {
  if (state.stride(0) == 0) {
    return state.select(0, 0).to(type).contiguous().unsqueeze(0).expand_as(state);
  }
  const auto converted = state.to(type);
  return converted.select(0, 0).is_contiguous() ? converted : converted.contiguous();
}

/// The same for every token, of d elements and with coefficients of its own.
template <typename Scalar, typename Work>
void for_each_token(const UpdateArguments<Scalar>& all, int64_t d, const Work& work) {
  if (all.block_size == 0) return;
  const int64_t tokens_per_thread = at::divup(kPiecesPerThread * kPiece, d);
  at::parallel_for(0, all.block_size / d, tokens_per_thread, [&](int64_t first, int64_t last) {
    auto args = all;
    for (int64_t token = first; token < last; ++token) {
      args.p = all.p + token * all.num_blocks * all.num_blocks;
      args.g = all.g + token * all.num_blocks;
      work(args, token * d, (token + 1) * d, token);
    }
  });
}

/// The tensors of a call in the form of the kernels, and the arguments that point to them.
template <typename Scalar>
struct Prepared {
  Prepared(const at::Tensor& x_given, const at::Tensor& x_tilde_given, const at::Tensor& p_given,
           const at::Tensor& g_given, int64_t active_block)
      : x(with_dense_blocks(x_given, type)),
        x_tilde(x_tilde_given.to(type).contiguous()),
        p(p_given.to(sum_type).contiguous()),
        g(g_given.to(sum_type).contiguous()) {
    args.num_blocks = static_cast<int>(x.size(0));
    args.active_block = static_cast<int>(active_block);
    args.block_size = x_tilde.numel();
    args.x = pointer<Scalar>(x);
    args.x_stride = x.stride(0);
    args.x_tilde = pointer<Scalar>(x_tilde);
    args.p = p.const_data_ptr<SumType<Scalar>>();
    args.g = g.const_data_ptr<SumType<Scalar>>();
  }

  static constexpr auto type = c10::CppTypeToScalarType<Element<Scalar>>::value;
  static constexpr auto sum_type = c10::CppTypeToScalarType<SumType<Scalar>>::value;
  const at::Tensor x, x_tilde, p, g;
  UpdateArguments<Scalar> args;
};

/// Whether results go past the caches, to `blocks` [K, block_size] and `row` [block_size].
template <typename Scalar>
bool streams(const UpdateArguments<Scalar>& args, const Scalar* blocks, const Scalar* row) {
  constexpr uintptr_t kAligned = 64;
  const auto bytes = args.block_size * static_cast<int64_t>(sizeof(Scalar));
  return std::is_same_v<Scalar, float> && args.num_blocks * bytes >= kStreamedBytes &&
         (static_cast<uintptr_t>(bytes) | reinterpret_cast<uintptr_t>(blocks) |
          reinterpret_cast<uintptr_t>(row)) %
                 kAligned ==
             0;
}

/// Calls work(begin, end, piece) for every piece of a row.
template <typename Work>
void for_each_piece(int64_t row_size, const Work& work) {
  at::parallel_for(0, at::divup(row_size, kPiece), kPiecesPerThread,
                   [&](int64_t first, int64_t last) {
                     for (int64_t piece = first; piece < last; ++piece) {
                       work(piece * kPiece, std::min(row_size, (piece + 1) * kPiece), piece);
                     }
                     // What went past the caches is there for other threads, too.
                     std::atomic_thread_fence(std::memory_order_seq_cst);
                   });
}

template <typename Scalar>
at::Tensor update_cpu_as(const at::Tensor& x, const at::Tensor& x_tilde,
                         const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                         int64_t active_block) {
  Prepared<Scalar> prepared(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  auto& args = prepared.args;
  auto y = at::empty(x.sizes(), x.options().dtype(prepared.type));
  args.y = mutable_pointer<Scalar>(y);

  const auto kernel = ALTUP_OF_THIS_CPU(update_kernels<Scalar>(args.num_blocks)).forward;
  if (has_token_coefs(prediction_coefs)) {
    for_each_token(args, x.size(3), [&](const auto& of_token, int64_t begin, int64_t end, int64_t) {
      kernel(of_token, begin, end);
    });
    return y;
  }
  args.streams = streams<Scalar>(args, args.y, nullptr);
  for_each_piece(args.block_size,
                 [&](int64_t begin, int64_t end, int64_t) { kernel(args, begin, end); });
  return y;
}

template <typename Scalar>
UpdateGradients update_backward_cpu_as(const at::Tensor& grad, const at::Tensor& x,
                                       const at::Tensor& x_tilde,
                                       const at::Tensor& prediction_coefs,
                                       const at::Tensor& correction_coefs, int64_t active_block) {
  Prepared<Scalar> prepared(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  auto& args = prepared.args;
  const auto dy = with_dense_blocks(grad, prepared.type);
  const auto dx = at::empty(x.sizes(), x.options().dtype(prepared.type));
  const auto dx_tilde = at::empty(x_tilde.sizes(), dx.options());
  args.dy = pointer<Scalar>(dy);
  args.dy_stride = dy.stride(0);
  args.dx = mutable_pointer<Scalar>(dx);
  args.dx_tilde = mutable_pointer<Scalar>(dx_tilde);

  const bool of_tokens = has_token_coefs(prediction_coefs);
  const int64_t num_pieces =
      of_tokens ? x_tilde.size(0) * x_tilde.size(1) : at::divup(args.block_size, kPiece);
  const int64_t num_blocks = args.num_blocks;
  const int64_t num_sums = num_blocks * num_blocks + num_blocks;
  // dp, then dg, of every piece. A token may have no element.
  at::Tensor sums = at::zeros({num_pieces, num_sums}, x.options().dtype(at::kDouble));
  auto* const share = sums.mutable_data_ptr<double>();
  const auto kernel = ALTUP_OF_THIS_CPU(update_kernels<Scalar>(args.num_blocks)).backward;
  if (of_tokens) {
    for_each_token(args, x.size(3),
                   [&](const auto& of_token, int64_t begin, int64_t end, int64_t token) {
                     kernel(of_token, begin, end, share + token * num_sums);
                   });
  } else {
    args.streams = streams<Scalar>(args, args.dx, args.dx_tilde);
    for_each_piece(args.block_size, [&](int64_t begin, int64_t end, int64_t piece) {
      kernel(args, begin, end, share + piece * num_sums);
    });
    const at::Tensor total = at::zeros({num_sums}, sums.options());
    auto* const sum = total.mutable_data_ptr<double>();
    for (int64_t i = 0; i < sums.numel(); ++i) sum[i % num_sums] += share[i];
    sums = total;
  }
  const auto dp = sums.slice(-1, 0, num_blocks * num_blocks).reshape(prediction_coefs.sizes());
  const auto dg = sums.slice(-1, num_blocks * num_blocks).reshape(correction_coefs.sizes());
  const auto as = [](const at::Tensor& gradient, const at::Tensor& of) {
    return gradient.to(of.scalar_type()).contiguous();
  };
  return {as(dx, x), as(dx_tilde, x_tilde), as(dp, prediction_coefs), as(dg, correction_coefs)};
}

at::Tensor update_cpu(const at::Tensor& x, const at::Tensor& x_tilde,
                      const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                      int64_t active_block) {
  check_update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  const auto type = update_type(x, x_tilde);
  if (!has_kernel(x, type)) {
    return reference::update(x, x_tilde, prediction_coefs, correction_coefs, active_block);
  }
  const auto as = type == at::kFloat    ? update_cpu_as<float>
                  : type == at::kDouble ? update_cpu_as<double>
                                        : update_cpu_as<BFloat16Bits>;
  return as(x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

UpdateGradients update_backward_cpu(const at::Tensor& grad, const at::Tensor& x,
                                    const at::Tensor& x_tilde, const at::Tensor& prediction_coefs,
                                    const at::Tensor& correction_coefs, int64_t active_block) {
  check_update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs, active_block);
  const auto type = update_type(x, x_tilde);
  if (!has_kernel(x, type)) {
    return reference::update_backward(grad, x, x_tilde, prediction_coefs, correction_coefs,
                                      active_block);
  }
  const auto as = type == at::kFloat    ? update_backward_cpu_as<float>
                  : type == at::kDouble ? update_backward_cpu_as<double>
                                        : update_backward_cpu_as<BFloat16Bits>;
  return as(grad, x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("update", update_cpu);
  m.impl("update_backward", update_backward_cpu);
}

}  // namespace
}  // namespace altup::internal
