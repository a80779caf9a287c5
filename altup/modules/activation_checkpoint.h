// Activation checkpointing (Chen et al. 2016): a part of the network keeps only its inputs and is
// computed again in the backward pass. Memory for a layer falls to its inputs; time grows by one
// forward pass.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

namespace altup {

/// body(inputs). The second run sees the same random numbers (dropout) and the same autocast state,
/// and adds to the gradients of the parameters that `body` uses. All outputs are defined tensors.
std::vector<torch::Tensor> checkpoint_activation(
    std::function<std::vector<torch::Tensor>(const std::vector<torch::Tensor>&)> body,
    const std::vector<torch::Tensor>& inputs);

/// The same for a body with one output.
torch::Tensor checkpoint_activation(
    std::function<torch::Tensor(const std::vector<torch::Tensor>&)> body,
    const std::vector<torch::Tensor>& inputs);

}  // namespace altup
