// Which rows and columns of a large fp32 product are worked on when (Goto and van de Geijn 2008): of
// B a chunk, some blocks of kDepth deep, is packed by all threads and stays in the third-level cache; a
// thread then takes kRows rows of A, packs a block of them into its second-level cache, walks over that
// block's panels of B, each of which fits the first, and goes on to the next block while it still has
// these rows of C. The order of an element's sum follows from K alone.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/in_turn.h"
#include "altup/ops/product.h"
#include "altup/ops/product_kernels.h"

namespace altup {
namespace {

std::atomic<ProductKernelChoice> choice{ProductKernelChoice::kAuto};

}  // namespace

void set_product_kernels(ProductKernelChoice new_choice) {
  choice = new_choice;
}

namespace internal {
namespace {

constexpr int64_t kDepth = 512;
constexpr int64_t kRows = 96;
constexpr int64_t kColumns = 2048;
/// Numbers of B that a chunk of several blocks has at most.
constexpr int64_t kChunk = 512 * 1024;

int64_t ceil_div(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}
int64_t round_up(int64_t n, int64_t multiple) {
  return ceil_div(n, multiple) * multiple;
}

/// The library that ATen calls is made for Intel's processors, on which it is hard to beat; on AMD's
/// Zen 3 and Zen 4 these kernels were faster where both were timed alone (see docs/performance.md).
bool library_is_slow_here() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") && vector_width_of_this_cpu() != VectorWidth::k16;
#else
  return false;
#endif
}

/// A transposed left factor (a weight's gradient) has to be gathered from as many pages as the
/// product is deep: with AVX2 the library is as fast there, and with AVX-512 where the product is no
/// deeper than a block.
bool gains_from_ours(const at::Tensor& a) {
  return choice.load() == ProductKernelChoice::kOwn || a.stride(1) == 1 ||
         (vector_width_of_this_cpu() == VectorWidth::k64 && a.size(1) > kDepth);
}

bool readable(const at::Tensor& x) {
  return x.stride(0) == 1 || x.stride(1) == 1;
}
MatrixView view(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.stride(0), x.stride(1)};
}

/// Whether threads share out the rows of a chunk, or its columns: whichever is more even. Where columns
/// are cut every thread packs all of A.
bool cuts_rows(int64_t rows, int64_t columns, const ProductKernels& kernels) {
  const int64_t threads = std::max<int64_t>(at::get_num_threads(), 1);
  const int64_t part_rows = round_up(ceil_div(rows, threads), kernels.tile_rows);
  const int64_t part_columns = round_up(ceil_div(columns, threads), kernels.tile_columns);
  return static_cast<double>(part_rows) * static_cast<double>(columns) <=
         static_cast<double>(rows) * (static_cast<double>(part_columns) + 16.0);
}

/// B [depth, columns] into panels, block after block: a block's panels begin where those of the steps
/// before it end.
void pack_chunk(const ProductKernels& kernels, MatrixView b, int64_t depth, int64_t columns,
                int64_t block_depth, float* panels) {
  const int64_t panel_count = ceil_div(columns, kernels.tile_columns);
  const int64_t padded = panel_count * kernels.tile_columns;
  at::parallel_for(0, ceil_div(depth, block_depth) * panel_count, 1,
                   [&](int64_t begin, int64_t end) {
                     while (begin < end) {
                       const int64_t k = begin / panel_count * block_depth;
                       const int64_t steps = std::min(block_depth, depth - k);
                       const int64_t panel = begin % panel_count;
                       const int64_t count = std::min(panel_count - panel, end - begin);
                       const int64_t first = panel * kernels.tile_columns;
                       const int64_t last = std::min(columns, first + count * kernels.tile_columns);
                       kernels.pack_right(b.from(k, first), steps, last - first,
                                          panels + k * padded + first * steps);
                       begin += count;
                     }
                   });
}

void own_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  const auto kernels = ALTUP_OF_THIS_CPU(product_kernels());
  const int64_t m = a.size(0);
  const int64_t depth = a.size(1);
  const int64_t n = b.size(1);
  const int64_t block_depth = ceil_div(depth, ceil_div(depth, kDepth));
  const int64_t chunk_columns = std::min(n, kColumns);
  const int64_t chunk_panels = round_up(chunk_columns, kernels.tile_columns);
  const int64_t chunk_depth =
      std::min(depth, block_depth * std::max<int64_t>(1, kChunk / (chunk_panels * block_depth)));
  const auto left = view(a);
  const auto right = view(b);
  auto* to = c.mutable_data_ptr<float>();
  const auto packed = at::empty({chunk_panels * chunk_depth}, a.options());
  auto* panels = packed.mutable_data_ptr<float>();
  for (int64_t n0 = 0; n0 < n; n0 += chunk_columns) {
    const int64_t columns = std::min(chunk_columns, n - n0);
    const int64_t padded = round_up(columns, kernels.tile_columns);
    const bool by_rows = cuts_rows(m, columns, kernels);
    const int64_t grain =
        by_rows ? kernels.tile_rows * std::max<int64_t>(1, kRows / 4 / kernels.tile_rows)
                : round_up(ceil_div(columns, at::get_num_threads()), kernels.tile_columns);
    for (int64_t k0 = 0; k0 < depth; k0 += chunk_depth) {
      const int64_t steps = std::min(chunk_depth, depth - k0);
      pack_chunk(kernels, right.from(k0, n0), steps, columns, block_depth, panels);
      const auto multiply = [&](Piece rows, Piece across, float* tiles) {
        for (int64_t row = rows.begin; row < rows.end; row += kRows) {
          const int64_t count = std::min(kRows, rows.end - row);
          for (int64_t k = 0; k < steps; k += block_depth) {
            const int64_t block = std::min(block_depth, steps - k);
            kernels.pack_left(left.from(row, k0 + k), count, block, tiles);
            kernels.multiply(tiles, panels + k * padded + across.begin * block, count,
                             across.end - across.begin, block, add || k0 + k > 0,
                             to + row * c.stride(0) + n0 + across.begin, c.stride(0));
          }
        }
      };
      in_turn(by_rows ? m : columns, grain, by_rows ? kRows : columns, [&](const auto& next) {
        const at::AutoDispatchBelowADInplaceOrView guard;
        const auto tiles =
            at::empty({round_up(std::min(m, kRows), kernels.tile_rows) * block_depth}, a.options());
        auto* to_multiply = tiles.template mutable_data_ptr<float>();
        for (Piece piece{}; next(piece);) {
          if (by_rows) {
            multiply(piece, {0, columns}, to_multiply);
          } else {
            multiply({0, m}, piece, to_multiply);
          }
        }
      });
    }
  }
}

}  // namespace

bool has_product_kernel(at::ScalarType type) {
  const auto chosen = choice.load();
  if (type == at::kBFloat16) return chosen != ProductKernelChoice::kLibrary && !multiplies_bf16();
  return type == at::kFloat && (chosen == ProductKernelChoice::kOwn ||
                                (chosen == ProductKernelChoice::kAuto && library_is_slow_here()));
}

void product_out(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  if (a.scalar_type() == at::kBFloat16 && has_product_kernel(at::kBFloat16)) {
    // What an instruction for bf16 does: exact products, summed in fp32, rounded at the end.
    const auto sums = product(a.to(at::kFloat), b.to(at::kFloat));
    if (add) {
      c.add_(sums);
    } else {
      c.copy_(sums);
    }
    return;
  }
  if (has_product_kernel(a.scalar_type()) && c.numel() > 0 && a.size(1) > 0 && c.stride(1) == 1 &&
      readable(a) && readable(b) && gains_from_ours(a)) {
    own_product(c, a, b, add);
    return;
  }
  auto result = c;
  if (add) {
    result.addmm_(a, b);
  } else {
    at::mm_out(result, a, b);
  }
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const auto c = at::empty({a.size(0), b.size(1)}, a.options());
  product_out(c, a, b);
  return c;
}

}  // namespace internal
}  // namespace altup
