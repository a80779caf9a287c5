#include "altup/modules/mixture_of_experts.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "altup/modules/initialisation.h"
#include "altup/modules/without_autocast.h"
#include "altup/ops/ops.h"

namespace altup {
namespace {

// torch::bmm, in fp32 where bf16 products would be emulated.
torch::Tensor grouped_product(const torch::Tensor& a, const torch::Tensor& b) {
  if (!a.is_cpu() || a.scalar_type() != torch::kBFloat16 || multiplies_bf16()) {
    return torch::bmm(a, b);
  }
  const WithoutAutocast in_fp32(at::kCPU);
  return torch::bmm(a.to(torch::kFloat), b.to(torch::kFloat)).to(torch::kBFloat16);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// x_e W_e^T for every expert e. torch::bmm has the same value; its gradient of W comes transposed,
// and every step would turn the gradients of all experts.
class GroupedLinear : public torch::autograd::Function<GroupedLinear> {
 public:
  // x [E, C, in], weight [E, out, in], of one type -> [E, C, out]
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight) {
    context->save_for_backward({x, weight});
    return grouped_product(x, weight.transpose(1, 2));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto& gradient = gradients[0];
    return {grouped_product(gradient, saved[1]),
            grouped_product(gradient.transpose(1, 2), saved[0])};
  }
};

torch::Tensor grouped_linear(const torch::Tensor& x, const torch::Tensor& weight) {
  const auto same = lowered(weight);
  return GroupedLinear::apply(x.to(same.scalar_type()), same);
}

// The products of a weight [E, out, in], expert by expert.
class ExpertProducts {
 public:
  ExpertProducts(const torch::Tensor& weight, const Int8Weight& int8) : int8_(int8) {
    if (!weight.defined()) return;
    // Where bf16 would be emulated, project() looks to it what is lowered; int8 needs no bf16 beside it.
    const bool by_autocast = !int8.values.defined() && (!weight.is_cpu() || multiplies_bf16());
    // unbind, not an index for each expert: its backward pass makes the weight's gradient once.
    weights_ = (by_autocast ? lowered(weight) : weight).unbind(0);
  }
  torch::Tensor of(size_t expert, const torch::Tensor& x) const {
    if (!int8_.values.defined()) return project(x, weights_[expert]);
    const auto e = static_cast<int64_t>(expert);
    return project(x, weights_[expert], {int8_.values[e], int8_.scale[e]});
  }

 private:
  std::vector<torch::Tensor> weights_;
  const Int8Weight& int8_;
};

torch::ScalarType router_type(const torch::Tensor& x) {
  return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

}  // namespace

ExpertsImpl::ExpertsImpl(const MixtureConfig& config) : config_(config) {
  const auto weight = [&](const char* name, int64_t out, int64_t in) {
    return register_parameter(name, torch::empty({config.experts, out, in}));
  };
  if (config.gated_gelu) {
    wi_0 = weight("wi_0", config.d_ff, config.d_model);
    wi_1 = weight("wi_1", config.d_ff, config.d_model);
  } else {
    wi = weight("wi", config.d_ff, config.d_model);
  }
  wo = weight("wo", config.d_model, config.d_ff);
}

void ExpertsImpl::reset_parameters() {
  const double in = 1.0 / std::sqrt(static_cast<double>(config_.d_model));
  const double inner = 1.0 / std::sqrt(static_cast<double>(config_.d_ff));
  for (int64_t e = 0; e < config_.experts; ++e) {
    for (auto* weight : {&wi_0, &wi_1, &wi}) {
      if (weight->defined()) draw_normal((*weight)[e], in);
    }
    draw_normal(wo[e], inner);
  }
}

void ExpertsImpl::quantise() {
  const auto quantised = [](const torch::Tensor& weight) -> Int8Weight {
    if (!weight.defined()) return {};
    const auto rows = altup::quantise(weight.flatten(0, 1));
    return {rows.values.view(weight.sizes()), rows.scale.view({weight.size(0), weight.size(1)})};
  };
  int8_in_0_ = quantised(config_.gated_gelu ? wi_0 : wi);
  int8_in_1_ = quantised(wi_1);
  int8_out_ = quantised(wo);
}

torch::Tensor ExpertsImpl::drop(const torch::Tensor& hidden) const {
  return is_training() && config_.dropout > 0 ? torch::dropout(hidden, config_.dropout, true)
                                              : hidden;
}

torch::Tensor ExpertsImpl::forward(const torch::Tensor& x) {
  if (c10::InferenceMode::is_enabled()) {
    if (x.size(1) == 0) return x;
    const std::vector<int64_t> counts(static_cast<size_t>(x.size(0)), x.size(1));
    return forward_rows(x.flatten(0, 1), counts).view(x.sizes());
  }
  const auto hidden = config_.gated_gelu
                          ? gated_gelu(grouped_linear(x, wi_0), grouped_linear(x, wi_1))
                          : torch::relu(grouped_linear(x, wi));  // [E, C, d_ff]
  return grouped_linear(drop(hidden), wo);
}

torch::Tensor ExpertsImpl::forward_rows(const torch::Tensor& x,
                                        const std::vector<int64_t>& counts) {
  const ExpertProducts in_0(config_.gated_gelu ? wi_0 : wi, int8_in_0_);
  const ExpertProducts in_1(wi_1, int8_in_1_);
  const ExpertProducts out(wo, int8_out_);
  std::vector<torch::Tensor> outputs;
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] == 0) continue;
    const auto rows = x.narrow(0, first, counts[e]);
    first += counts[e];
    const auto gate = in_0.of(e, rows);
    const auto hidden = config_.gated_gelu ? gated_gelu(gate, in_1.of(e, rows)) : torch::relu(gate);
    outputs.push_back(out.of(e, drop(hidden)));
  }
  return torch::cat(outputs, 0);
}

MixtureOfExpertsImpl::MixtureOfExpertsImpl(const MixtureConfig& config) : config_(config) {
  TORCH_CHECK(config.experts >= 1, "a mixture needs at least one expert, got ", config.experts);
  router = register_module("router", Linear(config.d_model, config.experts));
  experts = register_module("experts", Experts(config));
}

void MixtureOfExpertsImpl::reset_parameters() {
  // The experts first: the first of them starts as the feed-forward of a dense model of the same seed.
  experts->reset_parameters();
  draw_normal(router->weight, std::sqrt(0.1 / static_cast<double>(config_.d_model)));
}

torch::Tensor MixtureOfExpertsImpl::forward(const torch::Tensor& x, const RoutedTokens& tokens,
                                            Routing* routing) {
  const auto rows = x.reshape({-1, x.size(-1)});
  const auto real = tokens.places.defined() ? rows.index_select(0, tokens.places) : rows;  // [N, d]
  if (real.size(0) == 0) return torch::zeros_like(x);
  const auto logits = router_logits(real);  // [N, E]
  const auto probabilities = logits.softmax(1);
  torch::Tensor output;  // [N, d]
  if (config_.expert_choice || is_training()) {
    const auto assignment =
        config_.expert_choice
            ? assign_expert_choice(probabilities, tokens)
            : assign_switch(probabilities,
                            expert_capacity(real.size(0), config_.experts, config_.capacity_factor),
                            config_.batch_prioritised);
    output = run_assigned(real, assignment);
    if (routing != nullptr && is_training()) {
      *routing = describe(logits, probabilities, assignment);
    }
  } else {
    output = run_all(real, probabilities);
  }
  if (tokens.places.defined()) {
    output = torch::zeros(rows.sizes(), output.options()).index_copy(0, tokens.places, output);
  }
  return output.view(x.sizes());
}

torch::Tensor MixtureOfExpertsImpl::router_logits(const torch::Tensor& x) {
  const WithoutAutocast without_autocast(x.device().type());
  auto input = x.to(router_type(x));
  if (is_training() && config_.jitter > 0) {
    input = input * torch::empty_like(input).uniform_(1 - config_.jitter, 1 + config_.jitter);
  }
  return torch::linear(input, router->weight);
}

// Places that nobody has compute token 0, times 0.
torch::Tensor MixtureOfExpertsImpl::run_assigned(const torch::Tensor& x,
                                                 const Assignment& assignment) {
  const auto places = assignment.tokens.flatten();  // [E·C]
  const auto dispatched =
      x.index_select(0, places).view({config_.experts, assignment.tokens.size(1), x.size(1)});
  const auto computed = experts->forward(dispatched);  // [E, C, d]
  const auto weighted = computed * assignment.gates.unsqueeze(2).to(computed.scalar_type());
  return torch::zeros(x.sizes(), weighted.options()).index_add(0, places, weighted.flatten(0, 1));
}

torch::Tensor MixtureOfExpertsImpl::run_all(const torch::Tensor& x,
                                            const torch::Tensor& probabilities) {
  const auto [gates, chosen] = probabilities.max(1);
  const auto order = torch::argsort(chosen, /*stable=*/true, 0, /*descending=*/false);
  const auto counts = preferred_counts(probabilities).cpu();
  const auto* count = counts.const_data_ptr<int64_t>();
  const auto computed =
      experts->forward_rows(x.index_select(0, order), {count, count + config_.experts});
  const auto weighted =
      computed * gates.index_select(0, order).unsqueeze(1).to(computed.scalar_type());
  return torch::zeros(x.sizes(), weighted.options()).index_copy(0, order, weighted);
}

Routing MixtureOfExpertsImpl::describe(const torch::Tensor& logits,
                                       const torch::Tensor& probabilities,
                                       const Assignment& assignment) const {
  const auto tokens = static_cast<double>(probabilities.size(0));
  Routing routing;
  const auto z_loss = router_z_loss(logits);
  routing.loss = z_loss * config_.router_z_loss;
  auto balance = torch::full_like(z_loss.detach(), std::numeric_limits<double>::quiet_NaN());
  if (!config_.expert_choice) {
    balance = load_balance_loss(probabilities);
    routing.loss = routing.loss + balance * config_.load_balance_loss;
  }
  const torch::NoGradGuard no_grad;
  const auto entropy = -at::special_xlogy(probabilities, probabilities).sum(1).mean();
  // Of a token that an expert took, a gate is above 0.
  const auto taken = torch::zeros({probabilities.size(0)}, probabilities.options())
                         .scatter_reduce(0, assignment.tokens.flatten(), assignment.gates.flatten(),
                                         "amax", /*include_self=*/true);
  const auto dropped = (taken == 0).to(torch::kFloat).mean() * 100.0;
  const auto load =
      config_.expert_choice
          ? torch::full({config_.experts}, assignment.tokens.size(1), z_loss.options())
          : preferred_counts(probabilities).to(z_loss.scalar_type());
  const auto shares = load * (static_cast<double>(config_.experts) / tokens);
  routing.statistics = torch::stack({balance.detach(), z_loss.detach(), entropy,
                                     dropped.to(z_loss.scalar_type()), shares.max(), shares.min()})
                           .to(torch::kFloat);
  return routing;
}

}  // namespace altup
