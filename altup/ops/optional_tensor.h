// An argument of an operator that may be left out. Not a public header.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace altup::internal {

using OptionalTensor = std::optional<at::Tensor>;

inline bool given(const OptionalTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

/// Of C++, where an undefined tensor stands for none.
inline OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

}  // namespace altup::internal
