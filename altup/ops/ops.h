// The fused operators of AltUp: their C++ face. Each is also registered with PyTorch's dispatcher
// as `altup::NAME` (schemas in ops.cpp), so the same code serves Python, torch.compile and
// TorchScript once libaltup_ops.so is loaded. This room includes nothing else of the project.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

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
///   prediction_coefs   [K, K]        p, or [B, T, K, K], one for each token
///   correction_coefs   [K]           g, or then [B, T, K]
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

/// Predict and correct along a sequence (the same paper, Algorithm 2), of which M rows are computed
/// and the others follow them. With n' the anchor of row n, a computed row and its own anchor:
///
///     x̂_n = a1 x_n + a2 x_n'          y_n = x̂_n + b (x̃_n' − x̂_n')
///
///   x                  [N, d]   the sequence before the layer, floating point, any strides
///   x_tilde            [M, d]   what the layer made of its computed rows
///   places             [M]      int64: which rows of x these are
///   anchors            [N]      int64: of each row its anchor, as a row of x_tilde
///   prediction_coefs   [2]      a1, a2
///   correction_coefs   [1]      b
///
/// Returns y [N, d], contiguous, of the wider type of x and x_tilde; sums, types and autocast as in
/// update(). With a1 = 1, a2 = 0, b = 1 a computed row is x̃ bit for bit. On CPU, fp32 has a fused
/// kernel, whose results do not depend on the number of threads; its backward pass is for rows in the
/// order of their anchors, each among its own rows. All else is composed of ATen operators. Twice
/// differentiable; throws c10::Error.
ALTUP_API at::Tensor sequence_update(const at::Tensor& x, const at::Tensor& x_tilde,
                                     const at::Tensor& places, const at::Tensor& anchors,
                                     const at::Tensor& prediction_coefs,
                                     const at::Tensor& correction_coefs);

/// RMSNorm (Zhang & Sennrich 2019) over the last dimension, without a mean and without a bias:
///
///     y = x / sqrt(mean(x²) + epsilon) · weight
///
///   x       [..., d] floating point, any strides
///   weight  [d]      floating point
///
/// Returns y [..., d], contiguous, of the type of x; under autocast, of autocast's type. Sums are
/// done in fp32 (double for double). On CPU, an x and a weight in fp32 have a fused kernel, with y in
/// fp32 or bf16; all else is composed of ATen operators. Differentiable; throws c10::Error with the
/// offending shapes or types.
ALTUP_API at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

/// A residual connection and the norm that follows it: sum = x + delta, y = rms_norm(sum).
/// delta [..., d] has the shape of x; under autocast it may be of a narrower type than x. Returns
/// (sum, y): sum of the type of x, y of the type of delta.
ALTUP_API std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double epsilon);

/// The gate of T5 1.1's feed-forward layer (Shazeer 2020): gelu(gate) · value, with the tanh form of
/// GELU. Both [...] of one shape and floating type; returns [...], contiguous, of that type. On CPU,
/// fp32 and bf16 have a fused kernel. Differentiable; throws c10::Error.
ALTUP_API at::Tensor gated_gelu(const at::Tensor& gate, const at::Tensor& value);

struct CrossEntropyOptions {
  double scale =
      1.0;  ///< what the loss will be multiplied by; not 0, and known before the backward
            ///< pass
  double z_loss = 0.0;
  double label_smoothing = 0.0;
};

struct LinearCrossEntropy {
  at::Tensor loss;         ///< scalar, differentiable: the sum over tokens, without `scale`
  at::Tensor nll;          ///< scalar, no gradient: Σ token_weights (log Z − l_t), nats
  at::Tensor predictions;  ///< [N] int64: the piece with the largest logit
};

/// The output layer and the training loss in one: for each token the logits l = x W^T, log Z =
/// logsumexp(l), and with the target t, label smoothing s and z-loss z
///
///     loss = Σ token_weights ((1 − s)(log Z − l_t) + s (log Z − mean l) + z (log Z)²)
///
/// (z-loss: de Brébisson & Vincent 2016; T5X.) The logits of all tokens are never in memory at once;
/// their gradient is made together with the loss, already times options.scale, so `loss *
/// options.scale` is what to call backward() on.
///
///   x              [N, d]  floating point
///   weight         [V, d]  floating point; the product is done in the type of x
///   targets        [N]     int64, in [0, V)
///   token_weights  [N]     1: counts; 0: padding, which costs no gradient; they have none themselves
///
/// Under autocast the product is done in autocast's type. On CPU, fp32 and bf16 have a fused kernel.
/// Throws c10::Error.
ALTUP_API LinearCrossEntropy linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& targets,
                                                  const at::Tensor& token_weights,
                                                  const CrossEntropyOptions& options = {});

/// What attention() can add to the scores and how it divides the tokens.
struct AttentionOptions {
  /// [H, L], added to the scores by distance: column zero_distance + (key - query). May have a
  /// gradient; it has to reach the longest distances either way.
  at::Tensor relative_bias = {};
  int64_t zero_distance = 0;
  /// Hide keys behind their query.
  bool causal = false;
  /// [B, S], added to the scores of a key: 0, or a large negative number that hides padding. Has no
  /// gradient.
  at::Tensor key_bias = {};
  /// int64 [sequences + 1] on the CPU, both or none, with B = 1: queries [q_i, q_i+1) attend to keys
  /// [k_i, k_i+1) and to no other. Distances are then those within the sequence.
  at::Tensor query_offsets = {};
  at::Tensor key_offsets = {};
  /// Share of the weights that is dropped, the rest being scaled up; in [0, 1). The same seed drops
  /// the same weights.
  double dropout = 0.0;
  int64_t seed = 0;
};

/// Attention as in T5: softmax(q k^T + biases) v for every head, without a scaling of the scores.
///
///   q         [B, T, H, d]        floating point, any strides
///   k, v      [B, S, H, d]        of the type of q
///
/// Returns [B, T, H, d], contiguous, of the type of q. The weights are not kept: the backward pass
/// makes them again. Sums are done in fp32 (double for double). Under autocast the products are done
/// in its type. On CPU, fp32 and bf16 have a fused kernel, whose results do not depend on the number
/// of threads. Differentiable; throws c10::Error.
ALTUP_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options = {});

/// Whether this processor has instructions for bf16 products; elsewhere ATen's are emulated, some
/// twenty times slower than fp32. Every processor with AMX has AVX-512 bf16 too.
ALTUP_API bool multiplies_bf16();

/// y = x W^T, a projection without bias: x [..., in], weight [out, in], of one floating type, or
/// lowered to autocast's -> [..., out]. fp32 on the CPU runs our own kernel where
/// set_product_kernels() says so and there are rows enough, all else ATen's; bf16 on a CPU that does
/// not multiply it is multiplied in fp32 and rounded, which is what such an instruction does. The
/// sums of our kernel do not depend on the number of threads, nor on the other rows. Twice
/// differentiable; throws c10::Error.
ALTUP_API at::Tensor linear(const at::Tensor& x, const at::Tensor& weight);

/// Whose fp32 matrix products linear() and linear_cross_entropy() run on the CPU: our own, those of
/// the library that ATen calls, or (kAuto) ours on processors on which that library was seen to be
/// slow. Process-wide; may be called from any thread.
enum class ProductKernelChoice { kAuto, kOwn, kLibrary };
ALTUP_API void set_product_kernels(ProductKernelChoice choice);

// --- decoding: no gradients ------------------------------------------------------------------

/// A projection of the few rows of a step of decoding, y = x W^T · scale. A row's result does not
/// depend, bit for bit, on which other rows there are, nor on the number of threads.
///
///   x       [..., in]  floating point
///   weight  [out, in]  floating point, or int8 with
///   scale   [out]      what the weights of an output are multiples of; else undefined
///
/// Returns y [..., out], contiguous, of the type that sums over x are done in: fp32 (double for
/// double). Under autocast a floating-point weight is read in its type, half of the bytes; x and the
/// sums are not lowered. On CPU, weights in fp32, bf16 and int8 have a kernel that reads them once
/// for all rows; it pays up to some dozens of rows, with int8 for any number. With int8 weights each
/// row of x is rounded too, to whole numbers of 16 bits, or of fewer beyond 511 inputs so that their
/// sums fit 32 bits (of 14 at 2,048). Throws c10::Error.
ALTUP_API at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight,
                                     const at::Tensor& scale = {});

/// The same projections of x by several weights [out_i, in] of one type, with a scale for each or
/// for none, in one pass over x; returns y_i [..., out_i].
ALTUP_API std::vector<at::Tensor> linear_few_rows(const at::Tensor& x, at::TensorList weights,
                                                  at::TensorList scales = {});

/// Attention, without a scaling of the scores, of the newest tokens of R rows to the first `length`
/// tokens of a cache; the row of the cache that each is read from is looked up.
///
///   q             [R, T, H, d]            floating point
///   keys, values  [N, H, capacity, d]     of one floating type, may be narrower than q
///   sources       [R] or [R, ≥ length]    int64: the row of the cache, of a row's tokens or of each
///   bias          [1, H, T, length]       added to the scores; may be undefined
///   key_bias      [N, length]             added to the scores of a token of the cache; may be undefined
///
/// Returns [R, T, H · d], contiguous, in fp32 (double for double). On CPU, fp32 and bf16 caches have
/// a kernel, in which a row's result does not depend on the others. Throws c10::Error; that sources
/// are within the cache is for the caller to see to.
ALTUP_API at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& keys,
                                      const at::Tensor& values, int64_t length,
                                      const at::Tensor& sources, const at::Tensor& bias = {},
                                      const at::Tensor& key_bias = {});

/// Writes new_keys and new_values [R, T, H, d] behind the first `length` tokens of the first R rows
/// of keys and values [N, H, capacity, d], in their type.
ALTUP_API void append_to_cache(const at::Tensor& keys, const at::Tensor& values,
                               const at::Tensor& new_keys, const at::Tensor& new_values,
                               int64_t length);

/// The `count` highest of the first `valid` scores of each row of [R, V], the highest first: values
/// [R, count] of the type of scores, ids [R, count] int64. `normalise`: values are those of
/// log_softmax over the whole row. On CPU, fp32 has a kernel; of equal scores it takes that with the
/// lowest id first, and where scores are NaN the ids are valid all the same. Throws c10::Error.
ALTUP_API std::tuple<at::Tensor, at::Tensor> likeliest(const at::Tensor& scores, int64_t count,
                                                       int64_t valid, bool normalise);

/// Chooses what the functions of this header run: the registered operators (the default) or, when
/// set, their twins in reference.h, composed of plain ATen operators. Process-wide; may be called
/// from any thread.
ALTUP_API void set_use_reference_kernels(bool use_reference);
ALTUP_API bool use_reference_kernels();

}  // namespace altup
