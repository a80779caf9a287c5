// What operators ask of their arguments beside shapes of their own. Not a public header.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <initializer_list>

namespace altup::internal {

/// Throws c10::Error where the defined ones of `tensors` are not on one device: a kernel would read
/// the others' addresses as its own.
inline void check_one_device(const char* name, std::initializer_list<at::Tensor> tensors) {
  const at::Tensor* first = nullptr;
  for (const auto& tensor : tensors) {
    if (!tensor.defined()) continue;
    if (first == nullptr) first = &tensor;
    TORCH_CHECK(tensor.device() == first->device(), name,
                ": all tensors must be on one device, got ", first->device(), " and ",
                tensor.device());
  }
}

/// Throws c10::Error where `tensor`, an argument of the operator `name`, is not of these `sizes`.
inline void check_sizes(const char* name, const char* argument, const at::Tensor& tensor,
                        c10::SymIntArrayRef sizes) {
  TORCH_CHECK(tensor.dim() == static_cast<int64_t>(sizes.size()), name, ": ", argument, " ",
              tensor.sym_sizes(), " must be ", sizes);
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    TORCH_SYM_CHECK(tensor.sym_size(i).sym_eq(sizes[static_cast<size_t>(i)]), name, ": ", argument,
                    " ", tensor.sym_sizes(), " must be ", sizes);
  }
}

/// A fake, batched or wrapped tensor, of which only dispatched operators may be asked.
inline bool is_traced(const at::Tensor& x) {
  const auto keys = x.key_set();
  return keys.has(c10::DispatchKey::Python) || keys.has(c10::DispatchKey::Functionalize) ||
         keys.has(c10::DispatchKey::FuncTorchBatched) || !x.has_storage() ||
         x.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
}

}  // namespace altup::internal
