// altup::sequence_update on CPU: checks the indices, brings the tensors into the form of the kernels
// and splits the rows among threads, by anchor in the backward pass. Each anchor leaves its share of
// the coefficients' gradients, which are added in order, in double: the result is the same for any
// number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "altup/ops/cpu_dispatch.h"
#include "altup/ops/reference.h"
#include "altup/ops/registration.h"
#include "altup/ops/sequence_update.h"
#include "altup/ops/sequence_update_kernels.h"

#ifndef _OPENMP
#error "at::parallel_for runs on one thread in a file compiled without OpenMP."
#endif

namespace altup::internal {
namespace {

/// Numbers that are worth another thread.
constexpr int64_t kGrain = 16384;

bool has_kernel(const at::Tensor& x, const at::Tensor& x_tilde) {
  return c10::promoteTypes(x.scalar_type(), x_tilde.scalar_type()) == at::kFloat;
}

void check_range(const at::Tensor& index, int64_t size, const char* name) {
  const auto* value = index.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    TORCH_CHECK_INDEX(value[i] >= 0 && value[i] < size, "altup::sequence_update: ", name,
                      " hold the index ", value[i], ", out of range of ", size, " rows");
  }
}

/// The tensors of a call in the form of the kernels, and the arguments that point to them.
struct Prepared {
  Prepared(const at::Tensor& x_given, const at::Tensor& x_tilde_given,
           const at::Tensor& places_given, const at::Tensor& anchors_given,
           const at::Tensor& prediction, const at::Tensor& correction)
      : x(x_given.to(at::kFloat).contiguous()),
        x_tilde(x_tilde_given.to(at::kFloat).contiguous()),
        places(places_given.contiguous()),
        anchors(anchors_given.contiguous()) {
    check_range(places, x.size(0), "places");
    check_range(anchors, x_tilde.size(0), "anchors");
    const auto p = prediction.to(at::kFloat).contiguous();
    const auto g = correction.to(at::kFloat).contiguous();
    args.width = x.size(1);
    args.x = x.const_data_ptr<float>();
    args.x_tilde = x_tilde.const_data_ptr<float>();
    args.places = places.const_data_ptr<int64_t>();
    args.anchors = anchors.const_data_ptr<int64_t>();
    args.a1 = p.const_data_ptr<float>()[0];
    args.a2 = p.const_data_ptr<float>()[1];
    args.b = g.const_data_ptr<float>()[0];
  }

  /// Where the rows of each anchor begin, [M + 1], if they stand together, in the order of the
  /// anchors, and every anchor that has rows has itself.
  std::optional<std::vector<int64_t>> first_rows() const {
    std::vector<int64_t> first(static_cast<size_t>(x_tilde.size(0)) + 1, 0);
    for (int64_t n = 0; n < anchors.numel(); ++n) {
      if (n > 0 && args.anchors[n] < args.anchors[n - 1]) return std::nullopt;
      ++first[static_cast<size_t>(args.anchors[n]) + 1];
    }
    for (size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
    for (size_t i = 0; i + 1 < first.size(); ++i) {
      const int64_t place = args.places[i];
      if (first[i] < first[i + 1] && (place < first[i] || place >= first[i + 1])) {
        return std::nullopt;
      }
    }
    return first;
  }

  const at::Tensor x, x_tilde, places, anchors;
  SequenceUpdateArguments args;
};

int64_t rows_of_grain(int64_t width) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
}

at::Tensor forward_cpu(const at::Tensor& x, const at::Tensor& x_tilde, const at::Tensor& places,
                       const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                       const at::Tensor& correction_coefs) {
  check_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  if (!has_kernel(x, x_tilde)) {
    return reference::sequence_update(x, x_tilde, places, anchors, prediction_coefs,
                                      correction_coefs);
  }
  Prepared prepared(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  auto y = at::empty(x.sizes(), prepared.x.options());
  prepared.args.y = y.mutable_data_ptr<float>();
  const auto kernel = ALTUP_OF_THIS_CPU(sequence_update_kernels()).forward;
  at::parallel_for(0, x.size(0), rows_of_grain(x.size(1)),
                   [&](int64_t begin, int64_t end) { kernel(prepared.args, begin, end); });
  return y;
}

SequenceUpdateGradients backward_cpu(const at::Tensor& grad, const at::Tensor& x,
                                     const at::Tensor& x_tilde, const at::Tensor& places,
                                     const at::Tensor& anchors, const at::Tensor& prediction_coefs,
                                     const at::Tensor& correction_coefs) {
  const auto composed = [&] {
    return reference::sequence_update_backward(grad, x, x_tilde, places, anchors, prediction_coefs,
                                               correction_coefs);
  };
  check_sequence_update(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  if (!has_kernel(x, x_tilde)) return composed();
  TORCH_CHECK(grad.sizes() == x.sizes(), "altup::sequence_update_backward: grad ", grad.sizes(),
              " must have the shape of x ", x.sizes());
  Prepared prepared(x, x_tilde, places, anchors, prediction_coefs, correction_coefs);
  const auto first_rows = prepared.first_rows();
  if (!first_rows.has_value()) return composed();

  const int64_t computed = x_tilde.size(0);
  const auto dy = grad.to(at::kFloat).contiguous();
  const auto dx = at::empty(x.sizes(), prepared.x.options());
  const auto dx_tilde = at::empty(x_tilde.sizes(), prepared.x.options());
  std::vector<double> sums(static_cast<size_t>(computed) * kSequenceUpdateSums);
  auto& args = prepared.args;
  args.dy = dy.const_data_ptr<float>();
  args.first_rows = first_rows->data();
  args.dx = dx.mutable_data_ptr<float>();
  args.dx_tilde = dx_tilde.mutable_data_ptr<float>();
  const auto kernel = ALTUP_OF_THIS_CPU(sequence_update_kernels()).backward;
  const int64_t rows_of_anchor = computed > 0 ? std::max<int64_t>(1, x.size(0) / computed) : 1;
  at::parallel_for(0, computed, rows_of_grain(x.size(1) * rows_of_anchor),
                   [&](int64_t begin, int64_t end) { kernel(args, begin, end, sums.data()); });

  double of_rows = 0;
  double of_anchors = 0;
  double of_innovations = 0;
  for (size_t i = 0; i < sums.size(); i += kSequenceUpdateSums) {
    of_rows += sums[i];
    of_anchors += sums[i + 1];
    of_innovations += sums[i + 2];
  }
  const double b = args.b;
  const auto numbers = at::TensorOptions().dtype(at::kDouble);
  const auto d_prediction = at::tensor({of_rows - b * of_anchors, (1 - b) * of_anchors}, numbers);
  const auto d_correction = at::tensor({of_innovations}, numbers);
  return {dx.to(x.scalar_type()), dx_tilde.to(x_tilde.scalar_type()),
          d_prediction.to(prediction_coefs.scalar_type()),
          d_correction.to(correction_coefs.scalar_type())};
}

TORCH_LIBRARY_IMPL(altup, CPU, m) {
  if (!is_first_copy()) return;
  m.impl("sequence_update", forward_cpu);
  m.impl("sequence_update_backward", backward_cpu);
}

}  // namespace
}  // namespace altup::internal
