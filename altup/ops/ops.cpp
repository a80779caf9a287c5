// Every schema on one screen, and the C++ face of the operators: a thin call through the
// dispatcher.
#include "altup/ops/ops.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <atomic>

#include "altup/ops/altup_update.h"
#include "altup/ops/reference.h"

// A fragment, since a second copy of the library may not so much as open a TORCH_LIBRARY.
TORCH_LIBRARY_FRAGMENT(altup, m) {
  if (!altup::internal::is_first_copy()) return;
  m.def(
      "update(Tensor x, Tensor x_tilde, Tensor prediction_coefs, Tensor correction_coefs, "
      "int active_block) -> Tensor");
  m.def(
      "update_backward(Tensor grad, Tensor x, Tensor x_tilde, Tensor prediction_coefs, "
      "Tensor correction_coefs, int active_block) -> (Tensor, Tensor, Tensor, Tensor)");
}

namespace altup {

bool internal::is_first_copy() {
  // Kept from the first question on, which any file of the library may ask: the order in which they
  // register is not known.
  static const bool is_first =
      !c10::Dispatcher::singleton().findSchema({"altup::update", ""}).has_value();
  return is_first;
}

namespace {

std::atomic<bool> use_reference_flag{false};

}  // namespace

void set_use_reference_kernels(bool use_reference) {
  use_reference_flag = use_reference;
}
bool use_reference_kernels() {
  return use_reference_flag;
}

at::Tensor update(const at::Tensor& x, const at::Tensor& x_tilde,
                  const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                  int64_t active_block) {
  const auto implementation =
      use_reference_kernels() ? reference::update : internal::dispatch_update;
  return implementation(x, x_tilde, prediction_coefs, correction_coefs, active_block);
}

}  // namespace altup
