// What the operators cost, fused and composed of ATen operators, in the same run. GB (a second)
// counts each input and output once: what a perfect kernel would move, so it compares with the
// machine's memory bandwidth. (Composed operators move more than that; their figure says how far
// they are from perfect.)
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "altup/ops/ops.h"

namespace altup {
namespace {

constexpr int64_t kBatch = 8, kTokens = 512, kWidth = 512;
constexpr int kThreads = 2;

struct Inputs {
  Inputs(int64_t num_blocks, at::ScalarType type)
      : x(at::randn({num_blocks, kBatch, kTokens, kWidth}).to(type)),
        x_tilde(at::randn({kBatch, kTokens, kWidth}).to(type)),
        p(at::eye(num_blocks) + 0.1),
        g(at::ones({num_blocks})) {}

  void require_gradients() {
    for (auto tensor : {x, x_tilde, p, g}) tensor.requires_grad_();
  }
  /// Bytes of `blocks` blocks of the state.
  double bytes(int64_t blocks) const { return double(blocks) * x_tilde.nbytes(); }

  at::Tensor x, x_tilde, p, g;
};

void set_bandwidth(benchmark::State& state, double bytes) {
  state.counters["GB"] = benchmark::Counter(
      1e-9 * bytes, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void update_forward(benchmark::State& state, bool composed, int64_t num_blocks,
                    at::ScalarType type) {
  set_use_reference_kernels(composed);
  const Inputs in(num_blocks, type);
  const at::NoGradGuard no_grad;
  for (auto _ : state) {
    benchmark::DoNotOptimize(update(in.x, in.x_tilde, in.p, in.g, 1));
  }
  set_bandwidth(state, in.bytes(2 * num_blocks + 1));  // x, x̃ → y
}

void update_forward_backward(benchmark::State& state, bool composed, int64_t num_blocks,
                             at::ScalarType type) {
  set_use_reference_kernels(composed);
  Inputs in(num_blocks, type);
  in.require_gradients();
  const auto dy = at::randn(in.x.sizes()).to(type);
  for (auto _ : state) {
    const auto y = update(in.x, in.x_tilde, in.p, in.g, 1);
    benchmark::DoNotOptimize(torch::autograd::grad({y}, {in.x, in.x_tilde, in.p, in.g}, {dy}));
  }
  set_bandwidth(state, in.bytes(5 * num_blocks + 3));  // and dy, x, x̃ → dx, dx̃
}

void register_benchmarks() {
  const std::vector<std::pair<std::string, decltype(&update_forward)>> passes = {
      {"forward", update_forward}, {"forward_backward", update_forward_backward}};
  for (const auto& [pass, run] : passes) {
    for (const int64_t num_blocks : {2, 4}) {
      for (const auto type : {at::kFloat, at::kBFloat16}) {
        for (const bool composed : {false, true}) {
          const auto name = "update/" + pass + "/K=" + std::to_string(num_blocks) + "/" +
                            (type == at::kFloat ? "fp32" : "bf16") + "/" +
                            (composed ? "composed" : "fused");
          benchmark::RegisterBenchmark(name.c_str(), run, composed, num_blocks, type)
              ->Unit(benchmark::kMillisecond)
              ->UseRealTime();
        }
      }
    }
  }
}

}  // namespace
}  // namespace altup

int main(int argc, char** argv) {
  // As the program does: freed memory is kept, so that page faults are not what is measured.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000 << 20);
  at::set_num_threads(altup::kThreads);
  altup::register_benchmarks();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
