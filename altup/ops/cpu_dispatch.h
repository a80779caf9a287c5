// From tensors to kernels: picks the kernels of the widest vectors that this processor has and
// PyTorch itself uses (so that ATEN_CPU_CAPABILITY holds for both), and the pointers they take.
#pragma once

#include <ATen/Version.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <type_traits>

#include "altup/ops/kernel_types.h"

namespace altup::internal {

enum class VectorWidth { k16, k32, k64 };

inline VectorWidth vector_width_of_this_cpu() {
  static const VectorWidth width = [] {
    const std::string capability = at::get_cpu_capability();
    return capability == "AVX512" ? VectorWidth::k64
           : capability == "AVX2" ? VectorWidth::k32
                                  : VectorWidth::k16;
  }();
  return width;
}

/// `call` in the namespace of this processor's width: ALTUP_OF_THIS_CPU(kernels<float>()).
#if defined(__x86_64__)
#define ALTUP_OF_THIS_CPU(...)                                                            \
  (::altup::internal::vector_width_of_this_cpu() == ::altup::internal::VectorWidth::k64   \
       ? vector64::__VA_ARGS__                                                            \
   : ::altup::internal::vector_width_of_this_cpu() == ::altup::internal::VectorWidth::k32 \
       ? vector32::__VA_ARGS__                                                            \
       : vector16::__VA_ARGS__)
#else
#define ALTUP_OF_THIS_CPU(...) (vector16::__VA_ARGS__)
#endif

/// PyTorch's name for a kernel's type of number.
template <typename Scalar>
using Element = std::conditional_t<std::is_same_v<Scalar, BFloat16Bits>, c10::BFloat16, Scalar>;

template <typename Scalar>
const Scalar* pointer(const at::Tensor& tensor) {
  return reinterpret_cast<const Scalar*>(tensor.const_data_ptr<Element<Scalar>>());
}
template <typename Scalar>
Scalar* mutable_pointer(const at::Tensor& tensor) {
  return reinterpret_cast<Scalar*>(tensor.mutable_data_ptr<Element<Scalar>>());
}

}  // namespace altup::internal
