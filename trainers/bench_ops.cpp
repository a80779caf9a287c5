// The operators, each beside its twin, on the shapes of a T5-small training step.
#include <torch/csrc/autograd/autograd.h>

#include "altup/ops/ops.h"
#include "altup/util/text.h"
#include "trainers/bench.h"
#include "trainers/timing.h"

namespace altup {
namespace {

using Tensors = std::vector<torch::Tensor>;
using Operator = std::function<Tensors(const Tensors&)>;

struct Case {
  std::string name;  // with the shape
  Operator op;
  Tensors inputs;  // those that are leaves with gradients get them
};

torch::Tensor leaf(const torch::Tensor& tensor, torch::ScalarType type) {
  return tensor.to(type).requires_grad_();
}

// Activations are of `type`; coefficients, norms' weights, biases and the residual stream fp32.
std::vector<Case> cases(torch::ScalarType type) {
  constexpr int64_t kBatch = 8, kInput = 512, kTarget = 114, kWidth = 512, kInner = 1024;
  constexpr int64_t kHeads = 6, kHeadWidth = 64, kVocabulary = 32128;
  const auto random = [&](at::IntArrayRef sizes) { return leaf(torch::randn(sizes), type); };
  std::vector<Case> list;
  for (const int64_t blocks : {2, 4}) {
    list.push_back(
        {altup::str("update K=", blocks, " [", blocks, ", 8, 512, 512]"),
         [](const Tensors& in) { return Tensors{update(in[0], in[1], in[2], in[3], 0)}; },
         {random({blocks, kBatch, kInput, kWidth}), random({kBatch, kInput, kWidth}),
          torch::eye(blocks).requires_grad_(), torch::ones({blocks}).requires_grad_()}});
  }
  list.push_back({"update K=2 [2, 8, 512, 512], coefficients of each token",
                  [](const Tensors& in) { return Tensors{update(in[0], in[1], in[2], in[3], 0)}; },
                  {random({2, kBatch, kInput, kWidth}), random({kBatch, kInput, kWidth}),
                   leaf(torch::randn({kBatch, kInput, 2, 2}), torch::kFloat),
                   leaf(torch::randn({kBatch, kInput, 2}), torch::kFloat)}});
  if (type == torch::kFloat) {  // the residual stream
    constexpr int64_t kStride = 4;
    const auto places = torch::arange(0, kBatch * kInput, kStride);
    const auto anchors = torch::arange(kBatch * kInput).floor_divide(kStride);
    list.push_back({"sequence_update [4096, 512], stride 4",
                    [places, anchors](const Tensors& in) {
                      return Tensors{sequence_update(in[0], in[1], places, anchors, in[2], in[3])};
                    },
                    {random({kBatch * kInput, kWidth}), random({kBatch * kInput / kStride, kWidth}),
                     random({2}), random({1})}});
  }
  const auto ones = torch::ones({kWidth}).requires_grad_();
  list.push_back({"add_rms_norm [8, 512, 512]",
                  [](const Tensors& in) {
                    const auto [sum, y] = add_rms_norm(in[0], in[1], in[2], 1e-6);
                    return Tensors{sum, y};
                  },
                  {leaf(torch::randn({kBatch, kInput, kWidth}), torch::kFloat),
                   random({kBatch, kInput, kWidth}), ones}});
  list.push_back({"gated_gelu [8, 512, 1024]",
                  [](const Tensors& in) { return Tensors{gated_gelu(in[0], in[1])}; },
                  {random({kBatch, kInput, kInner}), random({kBatch, kInput, kInner})}});
  list.push_back(
      {"attention [8, 512, 6, 64], bias with gradient",
       [](const Tensors& in) {
         return Tensors{
             attention(in[0], in[1], in[2], {.relative_bias = in[3], .zero_distance = kInput - 1})};
       },
       {random({kBatch, kInput, kHeads, kHeadWidth}), random({kBatch, kInput, kHeads, kHeadWidth}),
        random({kBatch, kInput, kHeads, kHeadWidth}),
        leaf(torch::randn({kHeads, 2 * kInput - 1}), torch::kFloat)}});
  // bfloat16 products are ATen's on both sides.
  const std::vector<std::pair<int64_t, int64_t>> projections = {
      {kWidth, kHeads * kHeadWidth}, {kWidth, kInner}, {kInner, kWidth}};
  for (const auto& [in, out] : projections) {
    if (type != torch::kFloat) break;
    list.push_back({altup::str("linear [", kBatch * kInput, ", ", in, "] -> ", out),
                    [](const Tensors& t) { return Tensors{altup::linear(t[0], t[1])}; },
                    {random({kBatch * kInput, in}), random({out, in})}});
  }
  const auto targets = torch::randint(kVocabulary, {kBatch * kTarget}, torch::kInt64);
  const auto weights = torch::ones({kBatch * kTarget});
  list.push_back({"linear_cross_entropy [912, 512] x [32128, 512]",
                  [targets, weights](const Tensors& in) {
                    return Tensors{linear_cross_entropy(in[0], in[1], targets, weights).loss};
                  },
                  {random({kBatch * kTarget, kWidth}),
                   leaf(torch::randn({kVocabulary, kWidth}) / 22.0, torch::kFloat)}});
  return list;
}

}  // namespace

void bench_ops(int64_t repeats, const std::function<void(const OpBench&)>& report) {
  std::vector<torch::ScalarType> types = {torch::kFloat};
  if (multiplies_bf16()) types.push_back(torch::kBFloat16);
  for (const auto type : types) {
    for (const auto& [name, op, inputs] : cases(type)) {
      Tensors gradients;
      for (const auto& output : op(inputs)) gradients.push_back(torch::ones_like(output));
      const auto forward = [&op = op, &inputs = inputs] {
        torch::NoGradGuard no_grad;
        op(inputs);
      };
      const auto both = [&op = op, &inputs = inputs, &gradients] {
        torch::autograd::grad(op(inputs), inputs, gradients);
      };
      const auto measure = [&, &name = name](const std::string& what,
                                             const std::function<void()>& body) {
        OpBench result{.name = altup::str(name, type == torch::kFloat ? " fp32 " : " bf16 ", what),
                       .fused = {},
                       .reference = {}};
        std::tie(result.fused, result.reference) = interleave(repeats, body, [&] {
          const ReferenceKernels reference;
          body();
        });
        report(result);
      };
      measure("forward", forward);
      measure("forward+backward", both);
    }
  }
}

}  // namespace altup
