// What both optimisers promise: how they treat gradients, tiny decays, and saving and loading.
#include <gmock/gmock.h>

#include <cmath>

#include "altup/util/error.h"
#include "tests/optim/optim_testing.h"

namespace altup {
namespace {

using testing::expect_close;
using ::testing::HasSubstr;
using testing::transposed_copy;
using testing::with_gradient;

class EachOptimizer : public ::testing::TestWithParam<OptimizerName> {
 protected:
  static OptimizerConfig config() {
    OptimizerConfig config;
    config.name = GetParam();
    return config;
  }
};

INSTANTIATE_TEST_SUITE_P(, EachOptimizer,
                         ::testing::Values(OptimizerName::kAdafactor, OptimizerName::kAdamW),
                         [](const auto& test) { return std::string(enum_name(test.param)); });

/// A factored matrix, a vector and a coefficient.
NamedTensors make_parameters() {
  torch::manual_seed(5);
  return {{"matrix", torch::randn({130, 140})},
          {"vector", torch::randn({50})},
          {"altup.prediction_coefs", torch::eye(2)}};
}

NamedTensors clone(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) copies.emplace_back(name, tensor.clone());
  return copies;
}

/// Steps number first..last, with gradients that depend on the number alone.
void run(Optimizer& optimizer, const NamedTensors& parameters, int first, int last) {
  for (int step = first; step <= last; ++step) {
    torch::manual_seed(100 + step);
    for (const auto& [name, tensor] : parameters) with_gradient(tensor, torch::randn_like(tensor));
    optimizer.step(0.01);
  }
}

TEST_P(EachOptimizer, ContinuesBitExactlyFromItsState) {
  const NamedTensors parameters = make_parameters();
  const auto optimizer = make_optimizer(config(), parameters);
  run(*optimizer, parameters, 1, 3);
  const NamedTensors state = clone(optimizer->state());
  const NamedTensors copies = clone(parameters);
  run(*optimizer, parameters, 4, 6);

  const auto resumed = make_optimizer(config(), copies);
  resumed->load_state(state);
  run(*resumed, copies, 4, 6);
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(torch::equal(parameters[i].second, copies[i].second)) << parameters[i].first;
  }
  const NamedTensors expected = optimizer->state();
  const NamedTensors actual = resumed->state();
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].first, expected[i].first);
    EXPECT_TRUE(torch::equal(actual[i].second, expected[i].second)) << expected[i].first;
  }
}

TEST_P(EachOptimizer, SavesTheStepAsAnInt64Scalar) {
  const NamedTensors parameters = make_parameters();
  const auto optimizer = make_optimizer(config(), parameters);
  run(*optimizer, parameters, 1, 3);
  const auto [name, step] = optimizer->state().front();
  EXPECT_EQ(name, "step");
  EXPECT_EQ(step.dim(), 0);
  EXPECT_EQ(step.scalar_type(), at::kLong);
  EXPECT_EQ(step.item<int64_t>(), 3);
}

TEST_P(EachOptimizer, RefusesAStateThatIsNotItsOwn) {
  const NamedTensors parameters = make_parameters();
  const auto optimizer = make_optimizer(config(), parameters);
  run(*optimizer, parameters, 1, 2);
  const NamedTensors good = clone(optimizer->state());
  run(*optimizer, parameters, 3, 3);
  const NamedTensors before = clone(optimizer->state());

  const auto refusal = [&](const NamedTensors& state) -> std::string {
    try {
      optimizer->load_state(state);
    } catch (const UserError& error) {
      return error.what();
    }
    return "accepted";
  };
  NamedTensors bad = good;
  bad.pop_back();
  EXPECT_THAT(refusal(bad), HasSubstr("\"" + good.back().first + "\" is missing"));
  bad = good;
  bad.emplace_back("stray.v", torch::zeros({1}));
  EXPECT_THAT(refusal(bad), HasSubstr("\"stray.v\" is not known"));
  bad = good;
  bad.push_back(good.back());
  EXPECT_THAT(refusal(bad), HasSubstr("is there twice"));
  bad = good;
  bad.back().second = torch::zeros({5});
  EXPECT_THAT(refusal(bad), HasSubstr("is Float[5]; expected Float[2, 2]"));
  bad = good;
  bad.back().second = bad.back().second.to(at::kBFloat16);
  EXPECT_THAT(refusal(bad), HasSubstr("is BFloat16[2, 2]; expected Float[2, 2]"));

  const NamedTensors after = optimizer->state();
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(torch::equal(after[i].second, before[i].second)) << "changed " << before[i].first;
  }
}

TEST_P(EachOptimizer, TinyDecayIsNotLost) {
  // rate · decay = 1e-5; a thousand steps take 1 % off the weights.
  const at::Tensor w = torch::full({130, 140}, 3.0F);
  with_gradient(w, torch::zeros({130, 140}));
  auto settings = config();
  settings.weight_decay = 1e-3;
  const auto optimizer = make_optimizer(settings, {{"w", w}});
  for (int step = 0; step < 1000; ++step) optimizer->step(1e-2);
  expect_close(w, torch::full({130, 140}, 3.0 * std::pow(1 - 1e-5, 1000)), 2e-5);
}

TEST_P(EachOptimizer, CoefficientsMoveAtTheirOwnRate) {
  auto settings = config();
  settings.coefficient_rate = 1;
  // How far the first step moves a parameter, from 0.5 everywhere.
  const auto distance = [&settings](const std::string& name, at::IntArrayRef sizes) {
    const auto parameter = with_gradient(torch::full(sizes, 0.5), torch::ones(sizes));
    make_optimizer(settings, {{name, parameter}})->step(0.1);
    return (parameter - 0.5).abs().max().item<double>();
  };
  const std::string p = "altup.0.prediction_coefs";
  const std::string g = "altup.0.correction_coefs";
  const double whole = distance("wi.weight", {2, 2});
  EXPECT_NEAR(distance(p, {2, 2}), whole, 1e-6);

  settings.coefficient_rate = 0.25;
  EXPECT_DOUBLE_EQ(distance("wi.weight", {2, 2}), whole);
  EXPECT_NEAR(distance(p, {2, 2}), 0.25 * whole, 1e-6);
  EXPECT_NEAR(distance(g, {2}), 0.25 * whole, 1e-6);
  // Sequence-AltUp's.
  EXPECT_NEAR(distance(p, {2}), 0.25 * whole, 1e-6);
  EXPECT_NEAR(distance(g, {1}), 0.25 * whole, 1e-6);
  // What makes coefficients of the token is a matrix like others.
  EXPECT_NEAR(distance(p, {4, 2}), whole, 1e-6);
  EXPECT_NEAR(distance(g, {2, 2}), whole, 1e-6);

  settings.coefficient_rate = 0;
  EXPECT_EQ(distance(p, {2, 2}), 0.0);
}

TEST_P(EachOptimizer, ReadsABf16GradientAsFp32) {
  const at::Tensor a = make_parameters()[0].second;
  const at::Tensor b = a.clone();
  const at::Tensor gradient = torch::randn_like(a).to(at::kBFloat16);
  with_gradient(a, gradient);
  with_gradient(b, gradient.to(at::kFloat));
  make_optimizer(config(), {{"w", a}})->step(0.01);
  make_optimizer(config(), {{"w", b}})->step(0.01);
  EXPECT_TRUE(torch::equal(a, b));
  EXPECT_EQ(a.scalar_type(), at::kFloat);
}

TEST_P(EachOptimizer, LeavesGradientsAsTheyAre) {
  for (const bool contiguous : {true, false}) {
    const at::Tensor w = torch::randn({130, 140});
    at::Tensor gradient = torch::randn({130, 140});
    if (!contiguous) gradient = transposed_copy(gradient);
    const at::Tensor before = gradient.clone();
    with_gradient(w, gradient);
    make_optimizer(config(), {{"w", w}})->step(0.01);
    EXPECT_TRUE(w.grad().is_same(gradient));
    EXPECT_TRUE(torch::equal(gradient, before));
    EXPECT_EQ(gradient.strides(), before.strides());
  }
}

TEST_P(EachOptimizer, LeavesAParameterWithoutGradientAlone) {
  const NamedTensors parameters = make_parameters();
  const NamedTensors before = clone(parameters);
  auto settings = config();
  settings.weight_decay = 0.1;
  const auto optimizer = make_optimizer(settings, parameters);
  with_gradient(parameters[1].second, torch::ones({50}));
  optimizer->step(0.01);
  EXPECT_TRUE(torch::equal(parameters[0].second, before[0].second));
  EXPECT_FALSE(torch::equal(parameters[1].second, before[1].second));
}

TEST_P(EachOptimizer, WorksOnParametersThatRequireGradients) {
  const at::Tensor w = torch::ones({3, 3}).requires_grad_();
  (w * 2).sum().backward();
  make_optimizer(config(), {{"w", w}})->step(0.01);
  EXPECT_LT(w.max().item<float>(), 1.0F);
}

TEST_P(EachOptimizer, OtherTypesGiveTheSameSteps) {
  const at::Tensor single = make_parameters()[0].second;
  const at::Tensor twice = single.to(at::kDouble);
  const at::Tensor half = single.to(at::kBFloat16);
  auto settings = config();
  settings.weight_decay = 0.1;
  const auto optimizer =
      make_optimizer(settings, {{"single", single}, {"twice", twice}, {"half", half}});
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = torch::randn_like(single);
    with_gradient(single, gradient);
    with_gradient(twice, gradient.to(at::kDouble));
    with_gradient(half, gradient);
    optimizer->step(0.01);
  }
  expect_close(single.to(at::kDouble), twice, 2e-6);
  expect_close(half.to(at::kFloat), single, 2e-2);
}

TEST_P(EachOptimizer, RefusesATensorListedTwice) {
  const at::Tensor w = torch::ones({2});
  EXPECT_THROW(make_optimizer(config(), {{"a", w}, {"b", w}}), c10::Error);
  EXPECT_THROW(make_optimizer(config(), {{"a", w}, {"a", torch::ones({2})}}), c10::Error);
}

TEST_P(EachOptimizer, RefusesAGradientOfAnotherShape) {
  const at::Tensor w = torch::ones({2, 3});
  with_gradient(w, torch::ones({3, 2}));
  EXPECT_THROW(make_optimizer(config(), {{"w", w}})->step(0.01), c10::Error);
}

}  // namespace
}  // namespace altup
