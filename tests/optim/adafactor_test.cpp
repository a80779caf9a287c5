// The golden numbers were computed by hand from the formulas of adafactor_update.h, in double
// precision.
#include <ATen/Parallel.h>

#include <cmath>
#include <fstream>

#include "altup/optim/adafactor_update.h"
#include "altup/util/text.h"
#include "tests/optim/optim_testing.h"

namespace altup {
namespace {

using testing::adafactor_config;
using testing::expect_close;
using testing::transposed_copy;
using testing::with_gradient;

at::Tensor moment(const Optimizer& optimizer, const std::string& name) {
  for (const auto& [key, tensor] : optimizer.state()) {
    if (key == name) return tensor;
  }
  return {};
}

TEST(Adafactor, UnfactoredStepsAreThoseComputedByHand) {
  const at::Tensor w = torch::tensor({0.5F, -2.0F, 1.0F});
  const auto optimizer = make_optimizer(adafactor_config(), {{"w", w}});
  with_gradient(w, torch::tensor({0.1F, -0.2F, 0.4F}));
  optimizer->step(0.01);
  expect_close(w, torch::tensor({0.48677124F, -1.98677124F, 0.98677124F}), 1e-6);
  with_gradient(w, torch::tensor({0.3F, 0.0F, -0.1F}));
  optimizer->step(0.01);
  expect_close(w, torch::tensor({0.47014071F, -1.98677124F, 0.99159637F}), 1e-6);
  expect_close(moment(*optimizer, "w.v"), torch::tensor({0.05594793F, 0.01702603F, 0.07384762F}),
               1e-7);
}

TEST(Adafactor, FactoredStepsAreThoseComputedByHand) {
  // Both paths; with weight decay 0.1, clipping inactive.
  for (const bool fused : {true, false}) {
    at::Tensor w = torch::tensor({{0.5F, -2.0F, 1.0F}, {0.25F, 0.75F, -1.5F}});
    if (!fused) w = transposed_copy(w);
    auto config = adafactor_config();
    config.min_factored_size = 2;
    config.weight_decay = 0.1;
    const auto optimizer = make_optimizer(config, {{"w", w}});
    with_gradient(w, torch::tensor({{0.1F, -0.2F, 0.4F}, {0.3F, 0.5F, -0.6F}}));
    optimizer->step(0.01);
    expect_close(w,
                 torch::tensor({{0.49183968F, -1.98900341F, 0.98556290F},
                                {0.23716280F, 0.73693091F, -1.48746030F}}),
                 1e-6);
    with_gradient(w, torch::tensor({{0.2F, 0.1F, -0.1F}, {-0.4F, 0.0F, 0.8F}}));
    optimizer->step(0.01);
    expect_close(w,
                 torch::tensor({{0.47583996F, -1.99557436F, 0.98856701F},
                                {0.24946726F, 0.73619398F, -1.49887902F}}),
                 1e-6);
    expect_close(moment(*optimizer, "w.v_row"), torch::tensor({0.04128254F, 0.25247831F}), 1e-7);
    expect_close(moment(*optimizer, "w.v_col"),
                 torch::tensor({0.07871746F, 0.06459112F, 0.29733270F}), 1e-7);
  }
}

/// [rows, columns], or [columns] of a single row, of function(i, j).
template <typename Function>
at::Tensor filled(int64_t rows, int64_t columns, const Function& function) {
  at::Tensor values = torch::empty({rows, columns});
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) values[i][j] = static_cast<float>(function(i, j));
  }
  return rows > 1 ? values : values[0];
}

// Its inputs are those of tests/python/test_adafactor_golden.py, which made the file.
TEST(Adafactor, TrajectoryIsPyTorchs) {
  std::ifstream golden("tests/golden/adafactor_pytorch.txt");
  int compared = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  auto config = adafactor_config();
  config.min_factored_size = 2;
  int last = 0;
  while (golden >> rows >> columns >> config.weight_decay >> config.clipping_threshold >> last) {
    SCOPED_TRACE(str(rows, " x ", columns, ", decay ", config.weight_decay, ", clipped at ",
                     config.clipping_threshold, ", step ", last));
    std::vector<float> expected(rows * columns);
    for (float& value : expected) golden >> value;
    for (const bool fused : {true, false}) {
      at::Tensor w =
          filled(rows, columns, [](auto i, auto j) { return std::sin(1 + 7 * i + 3 * j); });
      if (!fused && rows > 1) w = transposed_copy(w);
      const auto optimizer = make_optimizer(config, {{"w", w}});
      for (int step = 1; step <= last; ++step) {
        with_gradient(w, filled(rows, columns, [&](auto i, auto j) {
                        const auto exponent = static_cast<double>((2 * i + step) % 5 - 3);
                        const auto x = static_cast<double>(i);
                        const auto y = static_cast<double>(j);
                        return std::sin(0.37 * step + 1.3 * x + 0.71 * y) *
                               std::pow(10.0, exponent);
                      }));
        optimizer->step(0.05);
      }
      expect_close(w.flatten(), torch::tensor(expected), 2e-6);
    }
    ++compared;
  }
  EXPECT_EQ(compared, 24);
}

TEST(Adafactor, ClipsTheUpdateByItsRms) {
  // The first update is the gradient's sign, RMS 1: a threshold of 1/4 divides it by 4.
  for (const bool fused : {true, false}) {
    at::Tensor w = torch::ones({2, 2});
    if (!fused) w = transposed_copy(torch::ones({2, 2}));
    auto config = adafactor_config();
    config.clipping_threshold = 0.25;
    with_gradient(w, torch::tensor({{3.0F, -5.0F}, {0.1F, 7.0F}}));
    make_optimizer(config, {{"w", w}})->step(0.1);
    expect_close(w, torch::tensor({{0.975F, 1.025F}, {0.975F, 0.975F}}), 1e-6);
  }
}

TEST(Adafactor, WeightsAtZeroMoveByTheFloorOfTheScale) {
  const at::Tensor w = torch::zeros({4});
  with_gradient(w, torch::tensor({1.0F, -1.0F, 2.0F, -2.0F}));
  make_optimizer(adafactor_config(), {{"w", w}})->step(0.5);
  expect_close(w * 1000, torch::tensor({-0.5F, 0.5F, -0.5F, 0.5F}), 1e-6);
}

TEST(Adafactor, WithoutScalingTheUpdateIsTheRate) {
  const at::Tensor w = torch::full({4}, 10.0F);
  auto config = adafactor_config();
  config.scale_by_parameter = false;
  with_gradient(w, torch::tensor({1.0F, -1.0F, 2.0F, -2.0F}));
  make_optimizer(config, {{"w", w}})->step(0.5);
  expect_close(w, torch::tensor({9.5F, 10.5F, 9.5F, 10.5F}), 1e-6);
}

TEST(Adafactor, RowsAndColumnsMayChangePlaces) {
  torch::manual_seed(1);
  const at::Tensor wide = torch::randn({130, 260});
  const at::Tensor tall = wide.t().contiguous();
  const auto optimizer = make_optimizer(adafactor_config(), {{"wide", wide}, {"tall", tall}});
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = torch::randn({130, 260});
    with_gradient(wide, gradient);
    with_gradient(tall, gradient.t());  // not contiguous, either
    optimizer->step(0.01);
  }
  expect_close(tall.t(), wide, 2e-6);
}

/// Zero rows and columns, and rows of very different sizes, as an embedding's gradient has.
at::Tensor uneven_gradient(at::IntArrayRef shape) {
  at::Tensor gradient = torch::randn(shape) * 1e-3;
  if (gradient.dim() == 2) {
    gradient *= torch::logspace(-3, 3, shape[0]).unsqueeze(1);
    gradient.slice(0, 0, shape[0], 3).zero_();
  }
  return gradient;
}

TEST(Adafactor, FusedEqualsComposed) {
  torch::manual_seed(2);
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {1}, {7}, {16384 * 3 + 5}, {3, 5}, {128, 128}, {131, 203}, {700, 129}, {2, 130, 140}};
  for (const auto& shape : shapes) {
    SCOPED_TRACE(at::IntArrayRef(shape));
    const bool factored = shape.size() == 2 && shape[0] >= 128;
    const auto make_moment = [&] {
      SecondMoment moment;
      if (factored) {
        moment.row = torch::zeros({shape[0]});
        moment.column = torch::zeros({shape[1]});
      } else {
        moment.full = torch::zeros(shape);
      }
      return moment;
    };
    const at::Tensor fused = torch::randn(shape);
    const at::Tensor composed = fused.clone();
    const at::Tensor start = fused.clone();
    SecondMoment fused_moment = make_moment();
    SecondMoment composed_moment = make_moment();
    for (int t = 1; t <= 4; ++t) {
      AdafactorStep step;
      step.decay = 1.0 - std::pow(t, -0.8);
      step.rate = 0.05;
      step.weight_decay = 0.1;
      const at::Tensor gradient = uneven_gradient(shape);
      adafactor_update_fused(fused, gradient, fused_moment, step);
      adafactor_update_composed(composed, gradient, composed_moment, step);
    }
    EXPECT_GT(((fused - start) / start).abs().max().item<double>(), 1e-2);  // it did move
    expect_close(fused, composed, 2e-6);
  }
}

TEST(Adafactor, FusedDoesNotDependOnTheThreads) {
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> results;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    torch::manual_seed(3);
    const at::Tensor matrix = torch::randn({333, 257});
    const at::Tensor vector = torch::randn({100'003});
    const auto optimizer =
        make_optimizer(adafactor_config(), {{"matrix", matrix}, {"vector", vector}});
    for (int step = 0; step < 3; ++step) {
      with_gradient(matrix, torch::randn({333, 257}));
      with_gradient(vector, torch::randn({100'003}));
      optimizer->step(0.01);
    }
    results.push_back(torch::cat({matrix.flatten(), vector}));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(results[0], results[1]));
  EXPECT_TRUE(torch::equal(results[0], results[2]));
}

TEST(Adafactor, EmbeddingRowsWithoutGradientStayAndNeverGiveNan) {
  // The gradient of the row that is seen is so large that 1e-30 over its mean square is no fp32
  // number.
  for (const bool fused : {true, false}) {
    torch::manual_seed(4);
    const at::Tensor start = torch::randn({200, 128});
    at::Tensor w = start.clone();
    if (!fused) w = transposed_copy(start);
    const auto optimizer = make_optimizer(adafactor_config(), {{"embedding", w}});
    for (int step = 0; step < 20; ++step) {
      at::Tensor gradient = torch::zeros({200, 128});
      if (step >= 2) gradient[7].fill_(1e6);
      if (step == 15) gradient[9].normal_();
      with_gradient(w, gradient);
      optimizer->step(0.01);
    }
    EXPECT_TRUE(w.isfinite().all().item<bool>());
    EXPECT_TRUE(torch::equal(w.slice(0, 10), start.slice(0, 10)));
    EXPECT_FALSE(torch::equal(w[7], start[7]));
    EXPECT_FALSE(torch::equal(w[9], start[9]));
  }
}

// Factored and not, on both paths: what happens to one expert is what happens to a matrix alone.
TEST(Adafactor, TheExpertsOfAMixtureAreMatricesOfTheirOwn) {
  for (const int64_t rows : {130, 7}) {
    for (const bool fused : {true, false}) {
      torch::manual_seed(5);
      at::Tensor experts = torch::randn({3, rows, 140});
      experts[1].mul_(100);  // another RMS than the others'
      if (!fused) experts = experts.transpose(1, 2).contiguous().transpose(1, 2);
      NamedTensors alone;
      for (int64_t e = 0; e < 3; ++e) {
        const at::Tensor matrix = experts[e].clone(at::MemoryFormat::Preserve);
        EXPECT_EQ(matrix.is_contiguous(), fused);
        alone.emplace_back(altup::str("expert_", e), matrix);
      }
      auto config = adafactor_config();
      config.weight_decay = 0.1;
      const auto together = make_optimizer(config, {{"experts.wi", experts}});
      const auto apart = make_optimizer(config, alone);
      for (int step = 0; step < 3; ++step) {
        at::Tensor gradient = torch::randn({3, rows, 140});
        gradient[2].mul_(step == 1 ? 0.0 : 1e-3);  // an expert that no token came to
        with_gradient(experts, gradient);
        for (int64_t e = 0; e < 3; ++e) {
          with_gradient(alone[static_cast<size_t>(e)].second, gradient[e].clone());
        }
        together->step(0.01);
        apart->step(0.01);
      }
      for (int64_t e = 0; e < 3; ++e) {
        const auto& matrix = alone[static_cast<size_t>(e)].second;
        EXPECT_TRUE(torch::equal(experts[e], matrix)) << e;
        const auto name = altup::str("expert_", e);
        if (rows >= 128) {
          EXPECT_TRUE(torch::equal(moment(*together, "experts.wi.v_row")[e],
                                   moment(*apart, name + ".v_row")));
          EXPECT_TRUE(torch::equal(moment(*together, "experts.wi.v_col")[e],
                                   moment(*apart, name + ".v_col")));
        } else {
          EXPECT_TRUE(
              torch::equal(moment(*together, "experts.wi.v")[e], moment(*apart, name + ".v")));
        }
      }
    }
  }
}

TEST(Adafactor, CoefficientsAndVectorsAreNeitherFactoredNorDecayed) {
  const at::Tensor p = torch::full({200, 200}, 2.0F);
  const at::Tensor g = torch::full({200, 200}, 2.0F);
  const at::Tensor norm = torch::full({200}, 2.0F);
  const at::Tensor matrix = torch::full({200, 200}, 2.0F);
  const at::Tensor small = torch::full({127, 200}, 2.0F);
  auto config = adafactor_config();
  config.weight_decay = 0.5;
  const NamedTensors parameters = {{"layer.0.altup.prediction_coefs", p},
                                   {"layer.0.altup.correction_coefs", g},
                                   {"norm.weight", norm},
                                   {"wi.weight", matrix},
                                   {"small.weight", small}};
  const auto optimizer = make_optimizer(config, parameters);
  for (const auto& [name, tensor] : parameters) with_gradient(tensor, torch::zeros_like(tensor));
  optimizer->step(0.1);

  std::vector<std::string> names;
  for (const auto& [name, tensor] : optimizer->state()) names.push_back(name);
  const std::vector<std::string> expected = {"step",
                                             "layer.0.altup.prediction_coefs.v",
                                             "layer.0.altup.correction_coefs.v",
                                             "norm.weight.v",
                                             "wi.weight.v_row",
                                             "wi.weight.v_col",
                                             "small.weight.v"};
  EXPECT_EQ(names, expected);
  for (const auto& kept : {p, g, norm}) EXPECT_TRUE((kept == 2.0).all().item<bool>());
  for (const auto& decayed : {matrix, small}) {
    expect_close(decayed, torch::full_like(decayed, 1.9F), 1e-6);
  }
}

}  // namespace
}  // namespace altup
