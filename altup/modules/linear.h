// A projection without bias, y = x W^T. Unlike torch::nn::Linear it does not initialise its weight:
// the module that owns it knows the right deviation, and a model that is about to be loaded or only
// counted needs none.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <initializer_list>
#include <vector>

namespace altup {

/// A weight [out, in] as whole numbers of 8 bits times one factor an output.
struct Int8Weight {
  torch::Tensor values;  ///< [out, in] int8, or undefined
  torch::Tensor scale;   ///< [out] fp32
};

/// Rounds to the nearest multiple of the row's largest magnitude / 127.
Int8Weight quantise(const torch::Tensor& weight);

/// A parameter in autocast's type, by the copy that autocast keeps of it, also in c10::InferenceMode;
/// itself where autocast is off. A view has no copy that is kept: lower the whole, then take the part.
torch::Tensor lowered(const torch::Tensor& weight);

/// y = x W^T. x [..., in], weight [out, in] -> [..., out]. In c10::InferenceMode, on CPU: with `int8`
/// in the place of `weight` where it is given; a step of decoding, up to 64 rows, by
/// altup::linear_few_rows; and more rows not lowered by autocast where the processor would emulate
/// bf16. In all three cases the result is fp32 also under autocast.
torch::Tensor project(const torch::Tensor& x, const torch::Tensor& weight,
                      const Int8Weight& int8 = {});

class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out) {
    weight = register_parameter("weight", torch::empty({out, in}));
  }
  /// [..., in] -> [..., out]
  torch::Tensor forward(const torch::Tensor& x) { return project(x, weight, int8_); }
  /// From now on a copy of the weight in int8 is used in c10::InferenceMode, on CPU; it does
  /// not follow later changes of the weight.
  void quantise() { int8_ = altup::quantise(weight); }
  bool is_quantised() const { return int8_.values.defined(); }
  const Int8Weight& int8() const { return int8_; }

  torch::Tensor weight;  // [out, in]

 private:
  Int8Weight int8_;
};
TORCH_MODULE(Linear);

/// What each of `linears`, all quantised or none, makes of x; decoding steps go over x once.
std::vector<torch::Tensor> project(const torch::Tensor& x, std::initializer_list<Linear> linears);

}  // namespace altup
