// Names and shapes of the parameters are the format of checkpoints. tests/golden/parameters_*.txt
// holds those of every size and variant; after a change that is meant, write them anew with
//   ALTUP_UPDATE_GOLDEN=1 build/test_models --gtest_filter='Sizes/*'
// The models are built but never initialised, so that even the largest touches little memory.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "altup/models/model_size.h"
#include "altup/util/error.h"
#include "altup/util/text.h"
#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::small_config;

T5Config sized(ModelSize size) {
  T5Config config;
  config.apply_size(size);
  return config;
}

std::vector<std::pair<std::string, T5Config>> variants_of(ModelSize size) {
  std::vector<std::pair<std::string, T5Config>> variants;
  const auto add = [&](const std::string& name, auto&& change) {
    auto config = sized(size);
    change(config);
    variants.emplace_back(name, config);
  };
  const auto widen = [](Variant variant, int64_t blocks) {
    return [=](T5Config& config) {
      config.altup.variant = variant;
      config.altup.blocks = blocks;
    };
  };
  add("dense", [](T5Config&) {});
  add("dense, relu, tied", [](T5Config& config) {
    config.feed_forward = FeedForwardKind::kRelu;
    config.tie_embeddings = true;
  });
  add("altup K=2", widen(Variant::kAltUp, 2));
  add("altup K=2, summed cross-attention", [&](T5Config& config) {
    widen(Variant::kAltUp, 2)(config);
    config.altup.cross_attention = CrossAttentionWidth::kSummed;
  });
  add("altup K=4", widen(Variant::kAltUp, 4));
  add("recycled K=2", widen(Variant::kRecycled, 2));
  add("sum K=2", widen(Variant::kSum, 2));
  add("recycled K=2, coefficients of the token", [&](T5Config& config) {
    widen(Variant::kRecycled, 2)(config);
    config.altup.coefficients = Coefficients::kToken;
  });
  add("sequence", widen(Variant::kSequence, 2));
  return variants;
}

// One line for all layers that agree: "encoder.layers.{0..7}.self_attention.q.weight [384, 512]".
std::string describe(const T5Config& config) {
  const T5 model(config, /*initialise=*/false);
  std::vector<std::string> order;
  std::map<std::string, std::vector<int64_t>> layers;  // of each line, in order
  const std::regex layer_number(R"(\.(\d+)\.)");
  for (const auto& item : model->named_parameters()) {
    const auto pattern = std::regex_replace(item.key(), layer_number, ".{}.");
    const auto line = str(pattern, " ", c10::str(item.value().sizes()));
    if (!layers.contains(line)) order.push_back(line);
    std::smatch number;
    const bool has_number = std::regex_search(item.key(), number, layer_number);
    layers[line].push_back(has_number ? std::stoll(number[1]) : 0);
  }
  std::string text;
  for (auto line : order) {
    const auto& numbers = layers[line];
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(numbers[i], static_cast<int64_t>(i)) << line << ": layers are not alike";
    }
    const auto braces = line.find("{}");
    if (braces != std::string::npos) line.replace(braces, 2, str("{0..", numbers.size() - 1, "}"));
    text += line + "\n";
  }
  return text + "total " + thousands(count_parameters(config).total) + "\n";
}

class Parameters : public ::testing::TestWithParam<ModelSize> {};
INSTANTIATE_TEST_SUITE_P(Sizes, Parameters,
                         ::testing::Values(ModelSize::kTiny, ModelSize::kSmall, ModelSize::kBase,
                                           ModelSize::kLarge, ModelSize::kXl),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

TEST_P(Parameters, HaveTheGoldenNamesAndShapes) {
  std::string text;
  for (const auto& [name, config] : variants_of(GetParam())) {
    text += str("== ", name, "\n", describe(config), "\n");
  }
  const auto path = str("tests/golden/parameters_", enum_name(GetParam()), ".txt");
  if (std::getenv("ALTUP_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << text;
    GTEST_SKIP() << "wrote " << path;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing";
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(text, golden.str());
}

// Parameters of the published T5 1.1 models.
TEST(ParameterCount, IsThatOfT5Version11) {
  EXPECT_EQ(count_parameters(sized(ModelSize::kSmall)).total, 76'961'152);
  EXPECT_EQ(count_parameters(sized(ModelSize::kBase)).total, 247'577'856);
  EXPECT_EQ(count_parameters(sized(ModelSize::kLarge)).total, 783'150'080);
  EXPECT_EQ(count_parameters(sized(ModelSize::kXl)).total, 2'849'757'184);
}

// Recycled adds K^2 + K scalars a layer; AltUp widens embedding, head, the keys and values of
// cross-attention and two norms besides.
TEST(ParameterCount, OfCoefficientsOfTheTokenIsThatOfTheirMapsAndRouters) {
  auto config = sized(ModelSize::kBase);
  config.altup = {.variant = Variant::kRecycled, .blocks = 3};
  config.altup.coefficients = Coefficients::kToken;
  const int64_t of_layer = 768 + 3 * 768 + 9 * 3 + 3 * 3;  // norm, router, p, g
  EXPECT_EQ(count_parameters(config).altup, 24 * of_layer);
  EXPECT_EQ(count_parameters(config).total,
            count_parameters(sized(ModelSize::kBase)).total + 24 * of_layer);
}

TEST(ParameterCount, GrowsWithTheBlocksAsThePaperSays) {
  const auto dense = sized(ModelSize::kBase);
  const auto with = [&](Variant variant) {
    auto config = dense;
    config.altup.variant = variant;
    config.altup.blocks = 2;
    return count_parameters(config);
  };
  const int64_t coefficients = 24 * (4 + 2);
  EXPECT_EQ(with(Variant::kRecycled).total, count_parameters(dense).total + coefficients);
  EXPECT_EQ(with(Variant::kRecycled).altup, coefficients);
  const int64_t vocabulary = 2 * 32128 * 768;
  const int64_t cross_attention = 12 * 2 * 768 * 768;
  const int64_t norms = 2 * 768;
  EXPECT_EQ(with(Variant::kAltUp).total,
            count_parameters(dense).total + vocabulary + cross_attention + norms + coefficients);
}

NamedTensors copies_of(const T5& model) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_parameters(*model)) {
    tensors.emplace_back(name, tensor.detach().clone());
  }
  return tensors;
}

std::string loading_error(const NamedTensors& tensors) {
  T5 model(small_config());
  try {
    load_parameters(*model, tensors, "weights");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(LoadParameters, CopiesEveryValueByName) {
  const auto from = testing::make_model(small_config(Variant::kAltUp, 2), 1);
  auto to = testing::make_model(small_config(Variant::kAltUp, 2), 2);
  auto tensors = copies_of(from);
  std::reverse(tensors.begin(), tensors.end());  // the order does not matter
  load_parameters(*to, tensors, "weights");
  for (const auto& item : from->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), to->named_parameters()[item.key()])) << item.key();
  }
}

TEST(LoadParameters, IsStrict) {
  const auto tensors = copies_of(T5(small_config()));
  EXPECT_EQ(loading_error(tensors), "");

  auto changed = tensors;
  changed.pop_back();
  EXPECT_NE(loading_error(changed).find("weights: has no tensor \"" + tensors.back().first + "\""),
            std::string::npos)
      << loading_error(changed);

  changed = tensors;
  changed.emplace_back("decoder.layers.7.extra", torch::zeros({1}));
  EXPECT_NE(loading_error(changed).find("decoder.layers.7.extra"), std::string::npos);

  changed = tensors;
  changed.front().second = torch::zeros({3, 3});
  EXPECT_NE(loading_error(changed).find("[3, 3]"), std::string::npos) << loading_error(changed);
}

}  // namespace
}  // namespace altup
