// Matrix products on CPU: ours, or the library's that ATen calls. Not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include "altup/ops/ops.h"

namespace altup::internal {

/// Whether product_out() of this type is not left to ATen here: see set_product_kernels().
bool has_product_kernel(at::ScalarType type);

/// c = a b, or with `add` c += a b; a [M, K], b [K, N], c [M, N] of one type on the CPU, c with dense
/// rows. The sums do not depend on the number of threads.
void product_out(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add = false);

/// The same of a new tensor, a b.
at::Tensor product(const at::Tensor& a, const at::Tensor& b);

/// The registered operator, through the dispatcher.
at::Tensor dispatch_linear(const at::Tensor& x, const at::Tensor& weight);

}  // namespace altup::internal
