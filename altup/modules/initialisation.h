// How parameters are drawn, so that models of one seed that differ in some widths start with the same
// weights wherever they have the same ones: each parameter takes one number of torch's generator,
// whatever its size, and is filled from a generator of its own with that seed. A model of two blocks
// and a dense one are then paired: of one seed, they differ in what is compared, and in no luck of the
// draw.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace altup {

/// Fills `weight` [rows, columns] with normal numbers of mean 0. Columns are drawn `block` at a time (0:
/// all at once), so that the first block of a wide weight is that of a narrow one, but for the
/// deviation. On the CPU, whatever the weight's device.
void draw_normal(const at::Tensor& weight, double deviation, int64_t block = 0);

/// While it lives, what is drawn from torch's generator depends on one number that it took at its
/// start, and not how much: what comes after a part of a model does not depend on the parameters in it.
class RandomBranch {
 public:
  RandomBranch();
  ~RandomBranch();
  RandomBranch(const RandomBranch&) = delete;
  RandomBranch& operator=(const RandomBranch&) = delete;

 private:
  at::Generator generator_;
  at::Tensor after_;  // the generator's state, for its end
};

}  // namespace altup
