// Adafactor's update of one parameter (Shazeer & Stern 2018, as T5X runs it):
//
//   d    = 1 - t^-0.8                        decay of the second moment; 0 at the first step, t = 1
//   q    = g² + 1e-30
//   v    = d v + (1 - d) q                   or, for a factored matrix, only its row and column
//   means:
//     r  = d r + (1 - d) mean_j q_ij         c = d c + (1 - d) mean_i q_ij         v_ij = r_i c_j /
//     mean(r)
//   u    = g / √v
//   u    = u / max(1, RMS(u) / threshold)
//   w    = (1 - rate · decay) w - rate · max(1e-3, RMS(w)) · u
//
// RMS(w) is that of the weights before the step. T5X takes the larger side for its rows; since the
// mean of r is the mean of c, which side is called the row makes no difference.
#pragma once

#include <torch/types.h>

namespace altup {

/// Either `full`, of the parameter's shape, or `row` [R] and `column` [C]; of the experts of a
/// mixture, all with a first dimension for the expert.
struct SecondMoment {
  at::Tensor full;
  at::Tensor row;
  at::Tensor column;
  bool factored() const { return row.defined(); }
  /// A view of one expert's.
  SecondMoment of_expert(int64_t expert) const {
    if (factored()) return {.full = {}, .row = row[expert], .column = column[expert]};
    return {.full = full[expert], .row = {}, .column = {}};
  }
};

struct AdafactorStep {
  double decay = 0;  ///< d above
  double rate = 0;
  double weight_decay = 0;
  double clipping_threshold = 1;
  bool scale_by_parameter = true;
};

/// In plain ATen: any device, any floating type. `gradient` has the moments' type.
void adafactor_update_composed(const at::Tensor& parameter, const at::Tensor& gradient,
                               const SecondMoment& moment, const AdafactorStep& step);

/// The same in two passes over memory (three for a factored matrix) without temporaries, for
/// contiguous fp32 tensors on the CPU. The result does not depend on the number of threads.
void adafactor_update_fused(const at::Tensor& parameter, const at::Tensor& gradient,
                            const SecondMoment& moment, const AdafactorStep& step);

}  // namespace altup
