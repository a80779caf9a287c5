#include "trainers/step_time.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>

#include "altup/ops/ops.h"
#include "trainers/timing.h"

namespace altup {
namespace {

/// The median of a few runs after one that warms up; fewer where one takes long.
double time_of(const std::function<void()>& body) {
  constexpr double kLong = 0.1;  // seconds
  constexpr int kFew = 2, kMore = 6;
  body();
  std::vector<double> seconds{seconds_of(body)};
  const int more = seconds[0] > kLong ? kFew : kMore;
  for (int i = 0; i < more; ++i) seconds.push_back(seconds_of(body));
  return median(seconds);
}

torch::Tensor random(at::IntArrayRef sizes, bool bf16) {
  return torch::randn(sizes).to(bf16 ? torch::kBFloat16 : torch::kFloat).requires_grad_();
}

/// Seconds of `forward_passes` calls and one backward pass.
double time_training(const std::function<torch::Tensor()>& op,
                     const torch::autograd::variable_list& inputs, int64_t forward_passes) {
  const auto gradient = torch::ones_like(op());
  const double both = time_of([&] { torch::autograd::grad({op()}, inputs, {gradient}); });
  if (forward_passes == 1) return both;
  const double forward = time_of([&] {
    const torch::NoGradGuard no_grad;
    op();
  });
  return both + static_cast<double>(forward_passes - 1) * forward;
}

/// Seconds of all runs in a step.
double time_linear(const LinearWork& work, int64_t forward_passes, bool bf16) {
  constexpr int64_t kLargestRows = 2048;  // more run at the same rate
  const int64_t rows = std::min(work.rows, kLargestRows);
  const auto x = random({rows, work.in}, bf16);
  const auto weight = random({work.out, work.in}, bf16);
  const double seconds =
      time_training([&] { return altup::linear(x, weight); }, {x, weight}, forward_passes);
  return seconds * static_cast<double>(work.times) * static_cast<double>(work.rows) /
         static_cast<double>(rows);
}

double time_attention(const AttentionWork& work, int64_t forward_passes, bool bf16) {
  constexpr int64_t kHeadsOfThread = 4;
  const int64_t enough = kHeadsOfThread * at::get_num_threads();
  const int64_t batch = std::min(work.batch, (enough + work.heads - 1) / work.heads);
  const auto q = random({batch, work.queries, work.heads, work.width}, bf16);
  const auto k = random({batch, work.keys, work.heads, work.width}, bf16);
  const auto v = random({batch, work.keys, work.heads, work.width}, bf16);
  torch::autograd::variable_list inputs{q, k, v};
  AttentionOptions options;
  options.causal = work.causal;
  if (work.biased) {
    options.relative_bias = random({work.heads, work.queries + work.keys - 1}, /*bf16=*/false);
    options.zero_distance = work.queries - 1;
    inputs.push_back(options.relative_bias);
  }
  const double seconds =
      time_training([&] { return attention(q, k, v, options); }, inputs, forward_passes);
  return seconds * static_cast<double>(work.times) * static_cast<double>(work.batch) /
         static_cast<double>(batch);
}

/// Bytes read and written by a sum of two tensors that no cache holds.
double measure_bandwidth() {
  constexpr int64_t kNumbers = 32 << 20;
  const auto a = torch::ones({kNumbers});
  const auto b = torch::ones({kNumbers});
  auto sum = torch::zeros({kNumbers});
  return 3 * 4.0 * static_cast<double>(kNumbers) / time_of([&] { at::add_out(sum, a, b); });
}

/// By at::exp on a tensor that stays in the cache.
double measure_exponentials() {
  constexpr int64_t kNumbers = 1 << 18;
  constexpr int kRepeats = 32;
  const auto x = torch::rand({kNumbers});
  auto y = torch::empty_like(x);
  const double seconds = time_of([&] {
    for (int i = 0; i < kRepeats; ++i) at::exp_out(y, x);
  });
  return static_cast<double>(kRepeats * kNumbers) / seconds;
}

double over(double work, double rate) {
  return rate > 0 ? work / rate : 0.0;
}

}  // namespace

StepTime predict_step(const StepWork& work, const MachineRates& rates) {
  return {.linears = over(work.linear_flops(), rates.linear_flops),
          .attention = over(work.attention_flops(), rates.attention_flops),
          .traffic = over(work.bytes(), rates.bytes),
          .exponentials = over(work.exponentials, rates.exponentials)};
}

MachineRates measure_rates(const StepWork& work) {
  double linears = 0;
  for (const auto& linear : work.linears) {
    linears += time_linear(linear, work.forward_passes_of(linear), work.bf16);
  }
  double attentions = 0;
  for (const auto& attention : work.attentions) {
    attentions += time_attention(attention, work.forward_passes, work.bf16);
  }
  return {.linear_flops = over(work.linear_flops(), linears),
          .attention_flops = over(work.attention_flops(), attentions),
          .bytes = measure_bandwidth(),
          .exponentials = measure_exponentials()};
}

}  // namespace altup
