#include "altup/modules/sequence_altup.h"

#include <vector>

#include "altup/ops/ops.h"

namespace altup {
namespace {

// How many positions of `length` are computed.
int64_t count_strided(int64_t length, int64_t stride) {
  return (length + stride - 1) / stride;
}

// The first token of each row, [B, 1] int64; 0 where there is none.
torch::Tensor first_tokens(const torch::Tensor& mask) {
  return mask.to(torch::kInt64).argmax(1, /*keepdim=*/true);
}

StridedPositions positions_of_rows(int64_t rows, int64_t length, const torch::Tensor& mask,
                                   int64_t stride, const torch::TensorOptions& options) {
  const int64_t count = count_strided(length, stride);
  const auto row = torch::arange(rows, options).unsqueeze(1);  // [B, 1]
  const auto start = mask.defined() ? first_tokens(mask) : torch::zeros_like(row);
  const auto in_row = start + torch::arange(0, length, stride, options);  // [B, S']
  const auto inside = in_row.clamp_max(length - 1);
  const auto anchor = (torch::arange(length, options) - start).clamp_min(0).floor_divide(stride);
  StridedPositions positions;
  positions.places = inside + row * length;
  positions.anchors = (anchor + row * count).flatten();
  if (mask.defined()) {
    positions.mask = mask.gather(1, inside).logical_and(in_row < length);
  }
  return positions;
}

StridedPositions positions_of_sequences(const torch::Tensor& offsets, int64_t stride,
                                        const torch::TensorOptions& options) {
  std::vector<int64_t> places;
  std::vector<int64_t> anchors;
  const auto* offset = offsets.const_data_ptr<int64_t>();
  for (int64_t i = 0; i + 1 < offsets.numel(); ++i) {
    for (int64_t at = offset[i]; at < offset[i + 1]; ++at) {
      if ((at - offset[i]) % stride == 0) places.push_back(at);
      anchors.push_back(static_cast<int64_t>(places.size()) - 1);
    }
  }
  StridedPositions positions;
  positions.places = torch::tensor(places, options.device(torch::kCPU)).to(options.device());
  positions.places = positions.places.unsqueeze(0);
  positions.anchors = torch::tensor(anchors, options.device(torch::kCPU)).to(options.device());
  positions.offsets = strided_offsets(offsets, stride);
  return positions;
}

}  // namespace

StridedPositions strided_positions(const torch::Tensor& x, const torch::Tensor& mask,
                                   const torch::Tensor& offsets, int64_t stride) {
  TORCH_CHECK(stride >= 1, "a stride of ", stride, "; expected at least 1");
  const auto options = torch::TensorOptions().dtype(torch::kInt64).device(x.device());
  if (!offsets.defined()) {
    return positions_of_rows(x.size(0), x.size(1), mask, stride, options);
  }
  TORCH_CHECK(x.size(0) == 1 && !mask.defined() && offsets[-1].item<int64_t>() == x.size(1),
              "an unpadded batch is one row without a mask, as long as its offsets say; got ",
              x.sizes(), " and offsets up to ", offsets[-1].item<int64_t>());
  return positions_of_sequences(offsets, stride, options);
}

torch::Tensor take_strided(const torch::Tensor& x, const StridedPositions& positions) {
  const auto& places = positions.places;
  return x.flatten(0, 1)
      .index_select(0, places.flatten())
      .view({places.size(0), places.size(1), x.size(2)});
}

torch::Tensor put_strided(const torch::Tensor& x, const torch::Tensor& computed,
                          const StridedPositions& positions) {
  // Of a row with fewer tokens than positions, places behind its end stand for none: a position is
  // computed where its anchor is itself.
  const auto& anchors = positions.anchors;
  const auto own = positions.places.flatten().index_select(0, anchors) ==
                   torch::arange(anchors.size(0), anchors.options());  // [B·S]
  const auto anchored = computed.flatten(0, 1).index_select(0, anchors);
  return torch::where(own.unsqueeze(1), anchored, x.flatten(0, 1)).view(x.sizes());
}

torch::Tensor pool_strided(const torch::Tensor& x, const torch::Tensor& mask,
                           const StridedPositions& positions) {
  const auto sum_type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const auto& places = positions.places;
  auto rows = x.flatten(0, 1).to(sum_type);  // [B·S, d]
  auto weights = torch::ones({rows.size(0), 1}, rows.options());
  if (mask.defined()) {
    weights = mask.reshape({-1, 1}).to(sum_type);
    rows = rows * weights;
  }
  const auto add_up = [&](const torch::Tensor& of) {
    return torch::zeros({places.numel(), of.size(1)}, of.options())
        .index_add(0, positions.anchors, of);
  };
  const auto means = add_up(rows) / add_up(weights).clamp_min(1);  // [B·S', d]
  return means.to(x.scalar_type()).view({places.size(0), places.size(1), x.size(2)});
}

torch::Tensor pooled_mask(const torch::Tensor& mask, int64_t stride) {
  if (!mask.defined()) return mask;
  const auto positions = strided_positions(mask, mask, {}, stride);
  return torch::zeros({positions.places.numel()}, torch::dtype(torch::kInt64).device(mask.device()))
             .index_add(0, positions.anchors, mask.flatten().to(torch::kInt64))
             .view(positions.places.sizes()) > 0;
}

torch::Tensor strided_offsets(const torch::Tensor& offsets, int64_t stride) {
  const auto counts = (offsets.diff() + (stride - 1)).floor_divide(stride);
  return torch::cat({torch::zeros({1}, offsets.options()), counts.cumsum(0)});
}

SequenceUpdateImpl::SequenceUpdateImpl() {
  prediction_coefs = register_parameter("prediction_coefs", torch::empty({2}));
  correction_coefs = register_parameter("correction_coefs", torch::empty({1}));
  reset_parameters();
}

void SequenceUpdateImpl::reset_parameters() {
  torch::NoGradGuard no_grad;
  prediction_coefs[0] = 1.0;
  prediction_coefs[1] = 0.0;
  correction_coefs.fill_(1.0);
}

torch::Tensor SequenceUpdateImpl::forward(const torch::Tensor& x, const torch::Tensor& x_tilde,
                                          const StridedPositions& positions) {
  return sequence_update(x.flatten(0, 1), x_tilde.flatten(0, 1), positions.places.flatten(),
                         positions.anchors, prediction_coefs, correction_coefs)
      .view(x.sizes());
}

}  // namespace altup
