// The encoder that strides or pools, against the paper's algorithm written as loops over the positions
// of one sequence at a time, in double, with values and gradients of every parameter.
#include <gtest/gtest.h>

#include "altup/models/model_size.h"
#include "altup/modules/sequence_altup.h"
#include "tests/models/model_testing.h"

namespace altup {
namespace {

using testing::copy_common_parameters;
using testing::largest_difference;
using testing::make_model;
using testing::mask_of;
using testing::NamedConfig;
using testing::random_ids;
using testing::small_config;

using Sequence = std::vector<torch::Tensor>;  // of vectors [d]

torch::Tensor slow_norm(const torch::Tensor& v, const torch::Tensor& weight) {
  return v / torch::sqrt(v.square().mean() + 1e-6) * weight;
}

// A T5 layer over tokens that stand at `places` of their sequence, a query and a head at a time.
Sequence slow_layer(const EncoderLayerImpl& layer, const torch::Tensor& bias_weight,
                    const T5Config& config, const Sequence& x, const std::vector<int64_t>& places) {
  const RelativeBiasConfig buckets{.num_heads = config.num_heads,
                                   .buckets = config.relative_buckets,
                                   .max_distance = config.relative_max_distance,
                                   .bidirectional = true};
  const auto& attention = *layer.self_attention;
  Sequence normed;
  for (const auto& v : x) normed.push_back(slow_norm(v, layer.self_attention_norm->weight));
  Sequence out;
  for (size_t i = 0; i < x.size(); ++i) {
    Sequence heads;
    for (int64_t h = 0; h < config.num_heads; ++h) {
      const auto of_head = [&](const Linear& projection, const torch::Tensor& v) {
        return torch::mv(projection->weight.narrow(0, h * config.d_kv, config.d_kv), v);
      };
      const auto query = of_head(attention.q, normed[i]);
      Sequence scores;
      for (size_t j = 0; j < x.size(); ++j) {
        const auto bucket = relative_buckets(places[j] - places[i], 1, buckets).item<int64_t>();
        scores.push_back(query.dot(of_head(attention.k, normed[j])) + bias_weight[bucket][h]);
      }
      const auto weights = torch::stack(scores).softmax(0);
      auto context = torch::zeros({config.d_kv}, x[0].options());
      for (size_t j = 0; j < x.size(); ++j) {
        context = context + weights[static_cast<int64_t>(j)] * of_head(attention.v, normed[j]);
      }
      heads.push_back(context);
    }
    const auto middle = x[i] + torch::mv(attention.o->weight, torch::cat(heads));
    const auto in = slow_norm(middle, layer.feed_forward_norm->weight);
    const auto hidden = torch::gelu(torch::mv(layer.feed_forward->wi_0->weight, in), "tanh") *
                        torch::mv(layer.feed_forward->wi_1->weight, in);
    out.push_back(middle + torch::mv(layer.feed_forward->wo->weight, hidden));
  }
  return out;
}

// The tokens' embeddings -> the memory, [S or ⌈S / k⌉, d].
torch::Tensor slow_encoder(EncoderImpl& encoder, const T5Config& config, Sequence x) {
  const int64_t k = config.altup.stride;
  const auto layer = [&](int64_t i, const Sequence& in, int64_t stride) {
    std::vector<int64_t> places;
    for (size_t n = 0; n < in.size(); ++n) places.push_back(static_cast<int64_t>(n) * stride);
    return slow_layer(encoder.layers->at<EncoderLayerImpl>(static_cast<size_t>(i)),
                      encoder.relative_bias->weight, config, in, places);
  };
  int64_t last_stride = 1;
  for (int64_t i = 0; i < config.num_encoder_layers; ++i) {
    const bool inner = i > 0 && i < config.num_encoder_layers - 1;
    if (config.altup.variant == Variant::kAveragePool || !inner) {
      x = layer(i, x, last_stride);
      if (config.altup.variant == Variant::kAveragePool && i == 0) {
        Sequence pooled;
        for (size_t n = 0; n < x.size(); n += static_cast<size_t>(k)) {
          auto sum = torch::zeros_like(x[0]);
          double count = 0;
          for (size_t m = n; m < std::min(n + static_cast<size_t>(k), x.size()); ++m, ++count) {
            sum = sum + x[m];
          }
          pooled.push_back(sum / count);
        }
        x = pooled;
        last_stride = k;
      }
      continue;
    }
    Sequence few;
    for (size_t n = 0; n < x.size(); n += static_cast<size_t>(k)) few.push_back(x[n]);
    const auto computed = layer(i, few, k);
    const auto anchor = [&](size_t n) { return n / static_cast<size_t>(k); };
    if (config.altup.variant == Variant::kStrideSkip) {
      for (size_t n = 0; n < x.size(); n += static_cast<size_t>(k)) x[n] = computed[anchor(n)];
      continue;
    }
    const auto& update = encoder.altup->at<SequenceUpdateImpl>(static_cast<size_t>(i - 1));
    const auto a1 = update.prediction_coefs[0];
    const auto a2 = update.prediction_coefs[1];
    Sequence predicted;
    for (size_t n = 0; n < x.size(); ++n) {
      predicted.push_back(a1 * x[n] + a2 * x[anchor(n) * static_cast<size_t>(k)]);
    }
    for (size_t n = 0; n < x.size(); ++n) {
      const auto at = anchor(n) * static_cast<size_t>(k);
      x[n] = predicted[n] + update.correction_coefs[0] * (computed[anchor(n)] - predicted[at]);
    }
  }
  Sequence memory;
  for (const auto& v : x) memory.push_back(slow_norm(v, encoder.final_norm->weight));
  return torch::stack(memory);
}

std::vector<NamedConfig> short_kinds() {
  std::vector<NamedConfig> kinds;
  for (const auto& [name, variant] :
       std::vector<std::pair<std::string, Variant>>{{"Sequence", Variant::kSequence},
                                                    {"StrideSkip", Variant::kStrideSkip},
                                                    {"AveragePool", Variant::kAveragePool}}) {
    for (const int64_t stride : {1, 2, 3, 4, 50}) {
      auto config = small_config(variant, 2);
      config.num_encoder_layers = 4;
      config.altup.stride = stride;
      kinds.push_back({name + std::to_string(stride), config});
    }
  }
  return kinds;
}

class ShortEncoder : public ::testing::TestWithParam<NamedConfig> {
 protected:
  T5Config config = GetParam().config;
  // Of the same weights, without the updates.
  T5Config dense_config() const {
    auto dense = config;
    dense.altup = AltUpConfig{};
    return dense;
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, ShortEncoder, ::testing::ValuesIn(short_kinds()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ShortEncoder, IsTheAlgorithmWrittenAsLoopsWithItsGradients) {
  set_use_reference_kernels(true);  // in double throughout
  auto model = make_model(config);
  model->to(torch::kDouble);
  const std::vector<int64_t> lengths = {13, 5, 1, 8};
  const auto ids = random_ids(4, 13, config);
  const auto mask = mask_of(lengths, 13);
  const auto parameters = model->encoder->named_parameters();

  auto expected_loss = torch::zeros({}, torch::kDouble);
  Sequence memories;
  for (size_t b = 0; b < lengths.size(); ++b) {
    Sequence x;
    for (int64_t n = 0; n < lengths[b]; ++n) {
      x.push_back(model->shared->weight[ids[static_cast<int64_t>(b)][n].item<int64_t>()]);
    }
    memories.push_back(slow_encoder(*model->encoder, config, x));
    expected_loss = expected_loss + memories.back().sin().sum();
  }
  expected_loss.backward();
  std::vector<torch::Tensor> expected;
  for (const auto& item : parameters) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    expected.push_back(item.value().grad().clone());
    item.value().mutable_grad() = torch::Tensor();
  }

  const auto check = [&](const torch::Tensor& memory, const torch::Tensor& real) {
    memory.index({real}).sin().sum().backward();
    EXPECT_LT(largest_difference(memory.index({real}), torch::cat(memories)), 1e-11);
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto& parameter = parameters[i].value();
      ASSERT_TRUE(parameter.grad().defined()) << parameters[i].key();
      EXPECT_LT(largest_difference(parameter.grad(), expected[i]),
                1e-10 * (1 + expected[i].abs().max().item<double>()))
          << parameters[i].key();
      parameter.mutable_grad() = torch::Tensor();
    }
  };
  for (const bool recomputed : {false, true}) {
    model->set_activation_checkpointing(recomputed);
    const auto padded = model->encode(ids, mask);
    check(padded, config.pools_memory() ? pooled_mask(mask, config.altup.stride) : mask);
    const auto offsets =
        torch::cat({torch::zeros({1}, torch::kInt64), torch::tensor(lengths).cumsum(0)});
    const auto unpadded = model->encode(ids.index({mask}).unsqueeze(0), {}, offsets);
    check(unpadded, torch::ones({1, unpadded.size(1)}, torch::kBool));
  }
  set_use_reference_kernels(false);
}

TEST_P(ShortEncoder, SeesNoPaddingOnEitherSide) {
  auto model = make_model(config);
  const auto ids = random_ids(1, 9, config);
  const auto targets = random_ids(1, 6, config);
  const auto expected = model->forward(ids, {}, targets);
  for (const int64_t before : {0, 1, 3, 6}) {
    const int64_t width = 20;
    auto padded = random_ids(1, width, config);
    padded.narrow(1, before, 9).copy_(ids);
    auto mask = torch::zeros({1, width}, torch::kBool);
    mask.narrow(1, before, 9).fill_(true);
    EXPECT_LT(largest_difference(model->forward(padded, mask, targets), expected), 2e-5) << before;
  }
}

// Whoever strides by 1 strides not at all; at the start of Sequence-AltUp to the last bit.
TEST_P(ShortEncoder, IsTheDenseModelWhereTheStrideIsOneAndOnlyThere) {
  torch::manual_seed(1);
  T5 dense(dense_config());
  T5 strided(config);
  EXPECT_EQ(copy_common_parameters(dense, strided), 0);
  const auto ids = random_ids(2, 9, config);
  const auto targets = random_ids(2, 6, config);
  for (const auto& mask : {torch::Tensor(), mask_of({9, 5}, 9)}) {
    const auto expected = dense->forward(ids, mask, targets);
    const auto found = strided->forward(ids, mask, targets);
    if (config.altup.stride == 1) {
      EXPECT_TRUE(torch::equal(found, expected));
    } else {
      EXPECT_GT(largest_difference(found, expected), 1e-3);
    }
  }
}

TEST_P(ShortEncoder, HasThreeNumbersMoreForEachLayerThatPredicts) {
  const auto count = count_parameters(config);
  const int64_t more = config.altup.variant == Variant::kSequence ? 3 * (4 - 2) : 0;
  EXPECT_EQ(count.altup, more);
  EXPECT_EQ(count.total, count_parameters(dense_config()).total + more);
}

// 10 inputs, of which an inner layer computes ⌈10 / k⌉; the products of a layer and its attention.
TEST_P(ShortEncoder, CostsWhatItComputes) {
  const double few = std::ceil(10.0 / static_cast<double>(config.altup.stride));
  const auto layer = [](double n) { return n * (4 * 16 * 12 + 3 * 16 * 20) + 2 * n * n * 12; };
  const bool pools = config.altup.variant == Variant::kAveragePool;
  const double saved_layers = pools ? 3 : 2;
  const double saved_memory = pools ? 2 * ((10 - few) * 2 * 16 * 12 + 2 * 4 * (10 - few) * 12) : 0;
  EXPECT_DOUBLE_EQ(count_flops(config, 10, 4).forward_backward,
                   count_flops(dense_config(), 10, 4).forward_backward -
                       6 * (saved_layers * (layer(10) - layer(few)) + saved_memory));
}

TEST(ShortEncoderConfig, NamesTheLayersThatItStrides) {
  auto config = small_config(Variant::kSequence, 2);
  config.num_encoder_layers = 5;
  for (const auto variant : {Variant::kSequence, Variant::kStrideSkip}) {
    config.altup.variant = variant;
    std::vector<bool> strides;
    for (int64_t i = 0; i < 5; ++i) strides.push_back(config.strides_layer(i));
    EXPECT_EQ(strides, (std::vector<bool>{false, true, true, true, false}));
  }
  config.altup.variant = Variant::kAltUp;
  EXPECT_FALSE(config.strides_layer(2));
}

}  // namespace
}  // namespace altup
