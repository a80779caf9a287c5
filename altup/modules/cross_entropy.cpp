#include "altup/modules/cross_entropy.h"

namespace altup {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Written as one function rather than left to autograd, because the logits are the largest tensor
// of a step: this keeps them and one number a row, and the gradient is made with one temporary
// instead of five.
class CrossEntropyFunction : public torch::autograd::Function<CrossEntropyFunction> {
 public:
  static variable_list forward(AutogradContext* context, const torch::Tensor& logits,
                               const torch::Tensor& targets, const torch::Tensor& weights,
                               double z_loss, double smoothing) {
    const auto wide = logits.to(torch::kFloat);
    const auto log_z = torch::logsumexp(wide, -1);                             // [N]
    const auto nll = log_z - wide.gather(1, targets.unsqueeze(1)).squeeze(1);  // [N]
    auto loss = (1.0 - smoothing) * nll + z_loss * log_z.square();
    if (smoothing > 0) loss = loss + smoothing * (log_z - wide.mean(-1));
    context->save_for_backward({logits, targets, weights, log_z});
    context->saved_data["z_loss"] = z_loss;
    context->saved_data["smoothing"] = smoothing;
    const auto nll_sum = torch::dot(nll, weights);
    context->mark_non_differentiable({nll_sum});
    return {torch::dot(loss, weights), nll_sum};
  }

  // d loss / d l = softmax(l) (1 + 2 z log Z) − (1 − s) onehot(t) − s / V
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto& logits = saved[0];
    const auto& targets = saved[1];
    const auto& log_z = saved[3];
    const double z_loss = context->saved_data["z_loss"].toDouble();
    const double smoothing = context->saved_data["smoothing"].toDouble();
    const auto scale = saved[2] * gradients[0];                     // [N]
    auto gradient = logits.to(torch::kFloat) - log_z.unsqueeze(1);  // [N, V]
    gradient.exp_().mul_((scale * (1.0 + 2.0 * z_loss * log_z)).unsqueeze(1));
    gradient.scatter_add_(1, targets.unsqueeze(1), ((smoothing - 1.0) * scale).unsqueeze(1));
    if (smoothing > 0) {
      gradient.sub_((scale * (smoothing / static_cast<double>(logits.size(1)))).unsqueeze(1));
    }
    return {gradient.to(logits.scalar_type()), torch::Tensor(), torch::Tensor(), torch::Tensor(),
            torch::Tensor()};
  }
};

}  // namespace

CrossEntropySum cross_entropy_sum(const torch::Tensor& logits, const torch::Tensor& targets,
                                  const torch::Tensor& weights, const CrossEntropyConfig& config) {
  TORCH_CHECK(logits.dim() == 2 && targets.dim() == 1 && weights.sizes() == targets.sizes() &&
                  logits.size(0) == targets.size(0),
              "cross_entropy_sum takes logits [N, V], targets [N], weights [N]; got ",
              logits.sizes(), ", ", targets.sizes(), ", ", weights.sizes());
  const auto results = CrossEntropyFunction::apply(logits, targets, weights.to(torch::kFloat),
                                                   config.z_loss, config.label_smoothing);
  return {results[0], results[1]};
}

}  // namespace altup
