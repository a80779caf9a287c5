// Every schema on one screen, and the C++ face of the operators: a thin call through the
// dispatcher.
#include "altup/ops/ops.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <atomic>

#include "altup/ops/altup_update.h"
#include "altup/ops/attention.h"
#include "altup/ops/cross_entropy.h"
#include "altup/ops/decoding.h"
#include "altup/ops/gated_gelu.h"
#include "altup/ops/product.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"
#include "altup/ops/rms_norm.h"
#include "altup/ops/sequence_update.h"

// A fragment, since a second copy of the library may not so much as open a TORCH_LIBRARY.
TORCH_LIBRARY_FRAGMENT(altup, m) {
  if (!altup::internal::is_first_copy()) return;
  m.def(
      "update(Tensor x, Tensor x_tilde, Tensor prediction_coefs, Tensor correction_coefs, "
      "int active_block) -> Tensor");
  m.def(
      "update_backward(Tensor grad, Tensor x, Tensor x_tilde, Tensor prediction_coefs, "
      "Tensor correction_coefs, int active_block) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "sequence_update(Tensor x, Tensor x_tilde, Tensor places, Tensor anchors, "
      "Tensor prediction_coefs, Tensor correction_coefs) -> Tensor");
  m.def(
      "sequence_update_backward(Tensor grad, Tensor x, Tensor x_tilde, Tensor places, "
      "Tensor anchors, Tensor prediction_coefs, Tensor correction_coefs) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "rms_norm(Tensor x, Tensor weight, float epsilon, ScalarType? dtype=None) -> "
      "(Tensor y, Tensor rstd)");
  m.def(
      "add_rms_norm(Tensor x, Tensor delta, Tensor weight, float epsilon) -> "
      "(Tensor sum, Tensor y, Tensor rstd)");
  m.def(
      "rms_norm_backward(Tensor dy, Tensor? dsum, Tensor sum, Tensor weight, Tensor rstd, "
      "ScalarType? narrow) -> (Tensor dx, Tensor ddelta, Tensor dweight)");
  m.def(
      "attention(Tensor q, Tensor k, Tensor v, Tensor? relative_bias=None, int zero_distance=0, "
      "bool causal=False, Tensor? key_bias=None, Tensor? query_offsets=None, "
      "Tensor? key_offsets=None, float dropout=0.0, int seed=0) -> (Tensor out, Tensor lse)");
  m.def(
      "attention_backward(Tensor dout, Tensor q, Tensor k, Tensor v, Tensor? relative_bias, "
      "int zero_distance, bool causal, Tensor? key_bias, Tensor? query_offsets, "
      "Tensor? key_offsets, float dropout, int seed, Tensor out, Tensor lse, bool bias_gradient) "
      "-> (Tensor dq, Tensor dk, Tensor dv, Tensor drelative_bias)");
  m.def("linear(Tensor x, Tensor weight) -> Tensor");
  m.def(
      "cached_attention(Tensor q, Tensor keys, Tensor values, int length, Tensor sources, "
      "Tensor? bias=None, Tensor? key_bias=None) -> Tensor");
  m.def(
      "append_to_cache(Tensor(a!) keys, Tensor(b!) values, Tensor new_keys, Tensor new_values, "
      "int length) -> ()");
  m.def("linear_few_rows(Tensor x, Tensor weight, Tensor? scale=None) -> Tensor");
  m.def("linear_few_rows.several(Tensor x, Tensor[] weights, Tensor[] scales) -> Tensor[]");
  m.def(
      "likeliest(Tensor scores, int count, int valid, bool normalise) -> (Tensor values, Tensor "
      "ids)");
  m.def("gated_gelu(Tensor gate, Tensor value) -> Tensor");
  m.def("gated_gelu_backward(Tensor dy, Tensor gate, Tensor value) -> (Tensor, Tensor)");
  m.def(
      "linear_cross_entropy(Tensor x, Tensor weight, Tensor targets, Tensor token_weights, "
      "float scale=1.0, float z_loss=0.0, float label_smoothing=0.0, bool gradient=True) -> "
      "(Tensor loss, Tensor nll, Tensor predictions, Tensor dx, Tensor dweight)");
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

internal::OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? internal::OptionalTensor(tensor) : std::nullopt;
}

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

at::Tensor sequence_update(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                           const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                           const at::Tensor& correction_coefs) {
  const auto implementation =
      use_reference_kernels() ? reference::sequence_update : internal::dispatch_sequence_update;
  return implementation(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (use_reference_kernels()) return reference::rms_norm(x, weight, epsilon);
  return std::get<0>(internal::dispatch_rms_norm(x, weight, epsilon, std::nullopt));
}

std::tuple<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x, const at::Tensor& delta,
                                                const at::Tensor& weight, double epsilon) {
  if (use_reference_kernels()) return reference::add_rms_norm(x, delta, weight, epsilon);
  auto [sum, y, rstd] = internal::dispatch_add_rms_norm(x, delta, weight, epsilon);
  return {sum, y};
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options) {
  if (use_reference_kernels()) return reference::attention(q, k, v, options);
  return std::get<0>(internal::dispatch_attention(q, k, v, internal::terms_of(options)));
}

bool multiplies_bf16() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight) {
  // Packing the weight costs as much as a few rows' product.
  constexpr int64_t kFewestRows = 32;
  const auto type = at::autocast::is_autocast_enabled(at::kCPU)
                        ? at::autocast::get_autocast_dtype(at::kCPU)
                        : x.scalar_type();
  const bool own = x.is_cpu() && x.dim() > 0 && x.numel() >= kFewestRows * x.size(-1) &&
                   internal::has_product_kernel(type) && !use_reference_kernels();
  return own ? internal::dispatch_linear(x, weight) : at::linear(x, weight);
}

at::Tensor gated_gelu(const at::Tensor& gate, const at::Tensor& value) {
  const auto implementation =
      use_reference_kernels() ? reference::gated_gelu : internal::dispatch_gated_gelu;
  return implementation(gate, value);
}

LinearCrossEntropy linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                        const at::Tensor& targets, const at::Tensor& token_weights,
                                        const CrossEntropyOptions& options) {
  if (use_reference_kernels()) {
    return reference::linear_cross_entropy(x, weight, targets, token_weights, options);
  }
  const bool gradient = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
  auto [loss, nll, predictions, dx, dweight] =
      internal::dispatch_linear_cross_entropy(x, weight, targets, token_weights, options.scale,
                                              options.z_loss, options.label_smoothing, gradient);
  return {loss, nll, predictions};
}

at::Tensor linear_few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
  if (use_reference_kernels()) return reference::linear_few_rows(x, weight, scale);
  return internal::dispatch_linear_few_rows(x, weight, optional(scale));
}

std::vector<at::Tensor> linear_few_rows(const at::Tensor& x, at::TensorList weights,
                                        at::TensorList scales) {
  const auto implementation =
      use_reference_kernels() ? reference::linears_few_rows : internal::dispatch_linears_few_rows;
  return implementation(x, weights, scales);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                            int64_t length, const at::Tensor& sources, const at::Tensor& bias,
                            const at::Tensor& key_bias) {
  if (use_reference_kernels()) {
    return reference::cached_attention(q, keys, values, length, sources, bias, key_bias);
  }
  return internal::dispatch_cached_attention(q, keys, values, length, sources, optional(bias),
                                             optional(key_bias));
}

void append_to_cache(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& new_keys,
                     const at::Tensor& new_values, int64_t length) {
  internal::dispatch_append_to_cache(keys, values, new_keys, new_values, length);
}

std::tuple<at::Tensor, at::Tensor> likeliest(const at::Tensor& scores, int64_t count, int64_t valid,
                                             bool normalise) {
  const auto implementation =
      use_reference_kernels() ? reference::likeliest : internal::dispatch_likeliest;
  return implementation(scores, count, valid, normalise);
}

}  // namespace altup
