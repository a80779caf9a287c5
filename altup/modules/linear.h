// A projection without bias, y = x W^T. Unlike torch::nn::Linear it does not initialise its weight:
// the module that owns it knows the right deviation, and a model that is about to be loaded or only
// counted needs none.
#pragma once

#include <torch/torch.h>

#include "altup/ops/ops.h"

namespace altup {

class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out) {
    weight = register_parameter("weight", torch::empty({out, in}));
  }
  /// [..., in] -> [..., out]
  torch::Tensor forward(const torch::Tensor& x) { return altup::linear(x, weight); }

  torch::Tensor weight;  // [out, in]
};
TORCH_MODULE(Linear);

}  // namespace altup
