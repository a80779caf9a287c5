// A converted model has the outputs of the one that it was made from, and is trained on.
#include "altup/models/block_conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "altup/util/error.h"
#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::make_model;
using testing::random_ids;
using testing::small_config;

struct Conversion {
  T5Config from;
  T5Config to;
};

std::vector<Conversion> conversions() {
  std::vector<Conversion> list;
  for (const auto variant : {Variant::kAltUp, Variant::kRecycled, Variant::kSum}) {
    for (const int64_t blocks : {2, 3, 4}) {
      list.push_back({small_config(), small_config(variant, blocks)});
    }
    list.push_back({small_config(variant, 2), small_config(variant, 4)});
    list.push_back({small_config(variant, 2), small_config(variant, 6)});
  }
  for (auto& [from, to] : std::vector<Conversion>(list)) {
    if (from.altup.variant == Variant::kNone) continue;
    from.altup.block_selection = to.altup.block_selection = BlockSelection::kSame;
    from.altup.cross_attention = to.altup.cross_attention = CrossAttentionWidth::kSummed;
    list.push_back({from, to});
  }
  for (const auto variant : {Variant::kAltUp, Variant::kRecycled}) {
    const auto of_token = [variant](int64_t blocks) {
      auto config = small_config(variant, blocks);
      config.altup.coefficients = Coefficients::kToken;
      return config;
    };
    list.push_back({small_config(), of_token(3)});
    list.push_back({of_token(2), of_token(4)});
    list.push_back({of_token(2), of_token(6)});
  }
  auto tied = small_config();
  tied.tie_embeddings = true;
  auto tied_recycled = small_config(Variant::kRecycled, 2);
  tied_recycled.tie_embeddings = true;
  list.push_back({tied, tied_recycled});
  for (const auto router : {Router::kSwitch, Router::kExpertChoice}) {
    const auto dense = testing::with_mixtures(small_config(), router);
    for (const auto variant : {Variant::kAltUp, Variant::kRecycled, Variant::kSum}) {
      const auto two = testing::with_mixtures(small_config(variant, 2), router);
      list.push_back({dense, two});
      list.push_back({two, testing::with_mixtures(small_config(variant, 4), router)});
    }
  }
  return list;
}

std::string name_of(const Conversion& conversion) {
  std::ostringstream name;
  name << enum_name(conversion.from.altup.variant) << " to "
       << enum_name(conversion.to.altup.variant) << ", K = " << conversion.to.altup.blocks;
  return name.str();
}

TEST(BlockConversion, KeepsTheLogits) {
  torch::NoGradGuard no_grad;
  for (const auto& conversion : conversions()) {
    const auto source = make_model(conversion.from);
    T5 target(conversion.to, /*initialise=*/false);
    convert_blocks(source, target);
    target->eval();
    const auto inputs = random_ids(3, 9, conversion.from);
    const auto targets = random_ids(3, 7, conversion.from);
    const auto mask = testing::mask_of({9, 4, 1}, 9);
    auto original = source;
    const auto expected = original->forward(inputs, mask, targets);
    EXPECT_LE(testing::largest_difference(expected, target->forward(inputs, mask, targets)), 1e-5)
        << name_of(conversion);
    EXPECT_GT(expected.std().item<double>(), 0.1) << "the logits say nothing";
  }
}

TEST(BlockConversion, OfDenseToRecycledKeepsEveryBit) {
  torch::NoGradGuard no_grad;
  const auto source = make_model(small_config());
  const auto inputs = random_ids(3, 9, source->config());
  const auto targets = random_ids(3, 7, source->config());
  auto original = source;
  const auto expected = original->forward(inputs, {}, targets);
  for (const int64_t blocks : {2, 3, 5}) {
    T5 target(small_config(Variant::kRecycled, blocks), /*initialise=*/false);
    convert_blocks(source, target);
    target->eval();
    EXPECT_TRUE(torch::equal(target->forward(inputs, {}, targets), expected)) << blocks;
  }
}

// From identical blocks on, training moves every one of them.
TEST(BlockConversion, EveryBlockHasAGradientAfterwards) {
  const auto source = make_model(small_config());
  T5 target(small_config(Variant::kAltUp, 2), /*initialise=*/false);
  convert_blocks(source, target);
  const auto inputs = random_ids(2, 6, source->config());
  const auto targets = random_ids(2, 5, source->config());
  target->loss(inputs, {}, shift_right(targets), targets.flatten(), torch::ones({10}), {})
      .loss.backward();
  for (const auto& item : target->named_parameters()) {
    EXPECT_GT(item.value().grad().abs().max().item<double>(), 0.0) << item.key();
  }
}

TEST(BlockConversion, RefusesWhatWouldChangeTheOutputs) {
  const auto message = [](const T5Config& from, const T5Config& to) -> std::string {
    try {
      check_block_conversion(from, to);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(small_config(Variant::kRecycled, 2), small_config(Variant::kAltUp, 2)),
              ::testing::HasSubstr("\"recycled\" cannot become \"altup\""));
  EXPECT_THAT(message(small_config(), small_config()),
              ::testing::HasSubstr("expected \"altup\", \"recycled\" or \"sum\""));
  EXPECT_THAT(message(small_config(Variant::kAltUp, 2), small_config(Variant::kAltUp, 3)),
              ::testing::HasSubstr("altup.blocks is 3; expected a multiple of the 2"));
  for (const auto variant : {Variant::kSequence, Variant::kStrideSkip, Variant::kAveragePool}) {
    EXPECT_THAT(message(small_config(), small_config(variant, 2)),
                ::testing::HasSubstr("expected \"altup\", \"recycled\" or \"sum\""));
    EXPECT_THAT(message(small_config(variant, 2), small_config(Variant::kAltUp, 2)),
                ::testing::HasSubstr("has no blocks that could become more"));
  }
  auto of_token = small_config(Variant::kAltUp, 2);
  of_token.altup.coefficients = Coefficients::kToken;
  EXPECT_THAT(message(small_config(Variant::kAltUp, 1), of_token),
              ::testing::HasSubstr("changes [altup] only"));
  of_token.altup.init = CoefficientInit::kActive;
  EXPECT_THAT(message(small_config(), of_token),
              ::testing::HasSubstr("expected altup.init \"identity\""));
  auto wider = small_config(Variant::kAltUp, 2);
  wider.d_ff = 24;
  EXPECT_THAT(message(small_config(), wider), ::testing::HasSubstr("changes [altup] only"));
  const auto mixed = testing::with_mixtures(small_config(Variant::kAltUp, 2));
  EXPECT_THAT(message(small_config(), mixed), ::testing::HasSubstr("changes [altup] only"));
  EXPECT_THAT(message(testing::with_mixtures(small_config()), small_config(Variant::kAltUp, 2)),
              ::testing::HasSubstr("changes [altup] only"));
  auto tied = small_config();
  tied.tie_embeddings = true;
  auto tied_altup = small_config(Variant::kAltUp, 2);
  tied_altup.tie_embeddings = true;
  EXPECT_THAT(message(tied, tied_altup), ::testing::HasSubstr("model.tie_embeddings is true"));
}

}  // namespace
}  // namespace altup
