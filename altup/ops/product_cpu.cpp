// Which rows and columns of a large fp32 product are worked on when (Goto and van de Geijn 2008): of
// B a chunk of columns, kDepth deep, is packed by all threads and stays in the third-level cache; a
// thread then packs kRows rows of A into its second-level cache, and walks over the panels of B,
// each of which fits the first. The order of an element's sum follows from K alone.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/product.h"
#include "altup/ops/product_kernels.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

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

int64_t ceil_div(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}
int64_t round_up(int64_t n, int64_t multiple) {
  return ceil_div(n, multiple) * multiple;
}

/// The library that ATen calls is made for Intel's processors, on which it is hard to beat; on an AMD
/// Zen 3 these kernels were faster where both were timed alone (see docs/performance.md).
bool library_is_slow_here() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") && vector_width_of_this_cpu() != VectorWidth::k16;
#else
  return false;
#endif
}

/// A transposed left factor (a weight's gradient) has to be gathered from as many pages as the
/// product is deep: there the library is as fast.
bool left_is_by_rows(const at::Tensor& a) {
  return choice.load() == ProductKernelChoice::kOwn || a.stride(1) == 1;
}

bool readable(const at::Tensor& x) {
  return x.stride(0) == 1 || x.stride(1) == 1;
}
MatrixView view(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.stride(0), x.stride(1)};
}

/// The rows or the columns of a chunk, cut into one part a thread: whichever is more even.
struct Parts {
  int64_t rows;     // of a part; all of them where columns are cut
  int64_t columns;  // of a part; all of them where rows are cut
  int64_t count;

  Parts(int64_t all_rows, int64_t all_columns, const ProductKernels& kernels) {
    const int64_t threads = std::max<int64_t>(at::get_num_threads(), 1);
    const int64_t part_rows = round_up(ceil_div(all_rows, threads), kernels.tile_rows);
    const int64_t part_columns = round_up(ceil_div(all_columns, threads), kernels.tile_columns);
    // Where columns are cut every thread packs all of A.
    const double by_rows = static_cast<double>(part_rows) * static_cast<double>(all_columns);
    const double by_columns =
        static_cast<double>(all_rows) * (static_cast<double>(part_columns) + 16.0);
    const bool cut_rows = by_rows <= by_columns;
    rows = cut_rows ? part_rows : all_rows;
    columns = cut_rows ? all_columns : part_columns;
    count = cut_rows ? ceil_div(all_rows, rows) : ceil_div(all_columns, columns);
  }
};

void own_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  const auto kernels = ALTUP_OF_THIS_CPU(product_kernels());
  const int64_t m = a.size(0);
  const int64_t depth = a.size(1);
  const int64_t n = b.size(1);
  const int64_t block_depth = ceil_div(depth, ceil_div(depth, kDepth));
  const auto left = view(a);
  const auto right = view(b);
  auto* to = c.mutable_data_ptr<float>();
  const int64_t chunk_columns = std::min(n, kColumns);
  const auto packed =
      at::empty({round_up(chunk_columns, kernels.tile_columns) * block_depth}, a.options());
  auto* panels = packed.mutable_data_ptr<float>();
  for (int64_t n0 = 0; n0 < n; n0 += chunk_columns) {
    const int64_t columns = std::min(chunk_columns, n - n0);
    const Parts parts(m, columns, kernels);
    for (int64_t k0 = 0; k0 < depth; k0 += block_depth) {
      const int64_t steps = std::min(block_depth, depth - k0);
      at::parallel_for(0, ceil_div(columns, kernels.tile_columns), 1,
                       [&](int64_t begin, int64_t end) {
                         const int64_t first = begin * kernels.tile_columns;
                         const int64_t last = std::min(columns, end * kernels.tile_columns);
                         kernels.pack_right(right.from(k0, n0 + first), steps, last - first,
                                            panels + first * steps);
                       });
      at::parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
        const at::AutoDispatchBelowADInplaceOrView guard;
        const auto buffer = at::empty({round_up(kRows, kernels.tile_rows) * steps}, a.options());
        auto* tiles = buffer.mutable_data_ptr<float>();
        for (int64_t part = begin; part < end; ++part) {
          const int64_t row_begin = parts.rows < m ? part * parts.rows : 0;
          const int64_t row_end = std::min(m, row_begin + parts.rows);
          const int64_t column_begin = parts.columns < columns ? part * parts.columns : 0;
          const int64_t column_end = std::min(columns, column_begin + parts.columns);
          for (int64_t row = row_begin; row < row_end; row += kRows) {
            const int64_t rows = std::min(kRows, row_end - row);
            kernels.pack_left(left.from(row, k0), rows, steps, tiles);
            kernels.multiply(tiles, panels + column_begin * steps, rows, column_end - column_begin,
                             steps, add || k0 > 0, to + row * c.stride(0) + n0 + column_begin,
                             c.stride(0));
          }
        }
      });
    }
  }
}

}  // namespace

bool has_product_kernel(at::ScalarType type) {
  if (type != at::kFloat) return false;
  const auto chosen = choice.load();
  return chosen == ProductKernelChoice::kOwn ||
         (chosen == ProductKernelChoice::kAuto && library_is_slow_here());
}

void product_out(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  if (has_product_kernel(a.scalar_type()) && c.numel() > 0 && a.size(1) > 0 && c.stride(1) == 1 &&
      readable(a) && readable(b) && left_is_by_rows(a)) {
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

}  // namespace internal
}  // namespace altup
