#include "altup/modules/initialisation.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <algorithm>
#include <mutex>

namespace altup {
namespace {

uint64_t take_number(const at::Generator& generator) {
  auto* source = at::check_generator<at::CPUGeneratorImpl>(generator);
  const std::lock_guard<std::mutex> lock(source->mutex_);
  return source->random64();
}

}  // namespace

void draw_normal(const at::Tensor& weight, double deviation, int64_t block) {
  const torch::NoGradGuard no_grad;
  const auto own =
      at::make_generator<at::CPUGeneratorImpl>(take_number(at::detail::getDefaultCPUGenerator()));
  const int64_t columns = weight.size(1);
  const int64_t width = block > 0 ? std::min(block, columns) : columns;
  TORCH_CHECK(columns % width == 0, "a weight of ", columns, " columns in blocks of ", width);
  for (int64_t begin = 0; begin < columns; begin += width) {
    // Apart, since what is drawn into part of a tensor is drawn another way than into a whole one.
    const auto drawn =
        torch::empty({weight.size(0), width}, torch::TensorOptions(weight.scalar_type()));
    weight.narrow(1, begin, width).copy_(drawn.normal_(0.0, deviation, own));
  }
}

RandomBranch::RandomBranch() : generator_(at::detail::getDefaultCPUGenerator()) {
  const uint64_t seed = take_number(generator_);
  const std::lock_guard<std::mutex> lock(generator_.mutex());
  after_ = generator_.get_state();
  generator_.set_current_seed(seed);
}

RandomBranch::~RandomBranch() {
  const std::lock_guard<std::mutex> lock(generator_.mutex());
  generator_.set_state(after_);
}

}  // namespace altup
