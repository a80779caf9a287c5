// The fused operators of AltUp: their C++ face. Each is also registered with PyTorch's dispatcher
// as `altup::NAME` (schemas in ops.cpp), so the same code serves Python, torch.compile and
// TorchScript once libaltup_ops.so is loaded. This room includes nothing else of the project.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#define ALTUP_API __attribute__((visibility("default")))

namespace altup {

/// Predict and correct (Baykal et al., NeurIPS 2023, Algorithm 1) in one pass over the state:
///
///     x̂^i = Σ_j p_ij x^j                     i = 1..K
///     y^i = x̂^i + g_i (x̃ − x̂^a)              a = active_block
///
///   x                  [K, B, T, d]  state, floating point, any strides. A block stride of 0 (one
///   block expanded
///                                    to K, as at the start of Recycled-AltUp) is read in place,
///                                    never copied
///   x_tilde            [B, T, d]     what the layer made of x^a
///   prediction_coefs   [K, K]        p
///   correction_coefs   [K]           g
///   active_block       in [0, K)
///
/// Returns y [K, B, T, d], contiguous, of the wider type of x and x_tilde. Sums are done in fp32
/// (double for double) whatever the activations' type; the coefficients may be of any floating type
/// and are never rounded to the activations'. Gradients have their input's type. With p = I, g = 1
/// and equal blocks every y^i is x̃ bit for bit: Recycled-AltUp starts as the dense model. On CPU,
/// fp32, double and bf16 with K <= 4 have a fused kernel, whose results do not depend on the number
/// of threads; all else is composed of ATen operators.
///
/// Autograd: twice differentiable. Autocast: the state is not lowered.
/// Throws c10::Error, with the offending shapes, types or index.
ALTUP_API at::Tensor update(const at::Tensor& x, const at::Tensor& x_tilde,
                            const at::Tensor& prediction_coefs, const at::Tensor& correction_coefs,
                            int64_t active_block);

/// Chooses what the functions of this header run: the registered operators (the default) or, when
/// set, their twins in reference.h, composed of plain ATen operators. Process-wide; may be called
/// from any thread.
ALTUP_API void set_use_reference_kernels(bool use_reference);
ALTUP_API bool use_reference_kernels();

}  // namespace altup
