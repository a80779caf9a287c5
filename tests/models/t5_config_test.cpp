#include "altup/models/t5_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "altup/util/error.h"
#include "altup/util/text.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(T5Config, SizesAreThoseOfT5) {
  struct Expected {
    ModelSize size;
    std::array<int64_t, 4> values;  // d_model, d_ff, num_heads, layers of each stack
  };
  for (const auto& [size, values] : {Expected{ModelSize::kTiny, {256, 512, 4, 4}},
                                     {ModelSize::kSmall, {512, 1024, 6, 8}},
                                     {ModelSize::kBase, {768, 2048, 12, 12}},
                                     {ModelSize::kLarge, {1024, 2816, 16, 24}},
                                     {ModelSize::kXl, {2048, 5120, 32, 24}}}) {
    T5Config config;
    config.d_kv = 1;
    config.apply_size(size);
    EXPECT_EQ(config.size, size);
    EXPECT_EQ(
        (std::array{config.d_model, config.d_ff, config.num_heads, config.num_encoder_layers}),
        values);
    EXPECT_EQ(config.num_decoder_layers, config.num_encoder_layers);
    EXPECT_EQ(config.d_kv, 64);
    config.validate();
  }
  T5Config custom;
  custom.d_model = 7;
  custom.apply_size(ModelSize::kCustom);
  EXPECT_EQ(custom.d_model, 7);
  T5Config small;
  small.apply_size(ModelSize::kSmall);
  EXPECT_EQ(small, T5Config{});  // the defaults are its
}

TEST(T5Config, JsonHoldsEveryField) {
  T5Config config;
  config.apply_size(ModelSize::kTiny);
  config.altup.variant = Variant::kRecycled;
  const std::string json = to_json(config);
  const auto expect_key = [&](const Field& field, const auto&) {
    EXPECT_THAT(json, HasSubstr(str('"', field.name, "\": ")));
  };
  T5Config::fields(config, expect_key);
  AltUpConfig::fields(config.altup, expect_key);
  MoeConfig::fields(config.moe, expect_key);
  for (const char* part : {"\"size\": \"tiny\"", "\"d_model\": 256", "\"tie_embeddings\": false",
                           "\"variant\": \"recycled\"", "\"blocks\": 2"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
}

TEST(T5Config, ContradictionsStartWithTheKey) {
  const auto refusal = [](auto&& change) {
    T5Config config;
    change(config);
    return testing::refusal([&] { config.validate(); });
  };
  EXPECT_THAT(refusal([](T5Config& c) { c.relative_buckets = 33; }),
              StartsWith("model.relative_buckets is 33; expected an even"));
  EXPECT_THAT(refusal([](T5Config& c) { c.relative_max_distance = 16; }),
              StartsWith("model.relative_max_distance is 16; expected more than half"));
  EXPECT_EQ(refusal([](T5Config& c) { c.relative_max_distance = 17; }), "");
  EXPECT_THAT(refusal([](T5Config& c) { c.norm_epsilon = 0; }),
              StartsWith("model.norm_epsilon is 0"));
  EXPECT_THAT(refusal([](T5Config& c) { c.altup.blocks = 0; }), StartsWith("altup.blocks is 0"));
  EXPECT_EQ(refusal([](T5Config& c) { c.moe.experts = 8; }), "");
  EXPECT_THAT(refusal([](T5Config& c) {
                c.moe.experts = 8;
                c.moe.capacity_factor = 0.0;
              }),
              StartsWith("moe.capacity_factor is 0"));
  EXPECT_THAT(refusal([](T5Config& c) {
                c.moe.experts = 8;
                c.moe.every = 9;
              }),
              StartsWith("moe.every is 9; expected at most the layers of a stack, 8"));
  for (const auto& [variant, fewest] :
       {std::pair{Variant::kSequence, 3}, {Variant::kStrideSkip, 3}, {Variant::kAveragePool, 2}}) {
    for (const int64_t layers : {fewest - 1, fewest}) {
      const auto message = refusal([&](T5Config& c) {
        c.altup.variant = variant;
        c.altup.stride = 2;
        c.num_encoder_layers = layers;
      });
      if (layers == fewest) {
        EXPECT_EQ(message, "");
      } else {
        EXPECT_THAT(message, StartsWith(str("altup.variant is \"", enum_name(variant), '"')));
        EXPECT_THAT(message, HasSubstr(str("model.num_encoder_layers of at least ", fewest)));
      }
    }
  }
  EXPECT_THAT(refusal([](T5Config& c) { c.altup.stride = 0; }), StartsWith("altup.stride is 0"));
  for (const auto variant : {Variant::kNone, Variant::kAltUp, Variant::kRecycled}) {
    EXPECT_EQ(refusal([&](T5Config& c) {
                c.altup.variant = variant;
                c.tie_embeddings = true;
              }),
              "");
  }
  EXPECT_THAT(refusal([](T5Config& c) {
                c.altup.variant = Variant::kSum;
                c.tie_embeddings = true;
              }),
              HasSubstr("embedding is 1024 wide and whose head is 512"));
}

}  // namespace
}  // namespace altup
