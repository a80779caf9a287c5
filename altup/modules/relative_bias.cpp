#include "altup/modules/relative_bias.h"

#include <algorithm>
#include <cmath>

#include "altup/modules/initialisation.h"

namespace altup {

RelativeBiasImpl::RelativeBiasImpl(const RelativeBiasConfig& config) : config_(config) {
  weight = register_parameter("weight", torch::zeros({config.buckets, config.num_heads}));
}

void RelativeBiasImpl::reset_parameters(double standard_deviation) {
  draw_normal(weight, standard_deviation);
}

torch::Tensor relative_buckets(int64_t first, int64_t count, const RelativeBiasConfig& config,
                               int64_t stride) {
  const int64_t buckets = config.bidirectional ? config.buckets / 2 : config.buckets;
  const int64_t max_exact = buckets / 2;
  auto result = torch::empty({count}, torch::kInt64);
  auto* out = result.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    int64_t distance = (first + i) * stride;  // key - query
    int64_t bucket = 0;
    if (config.bidirectional) {
      if (distance > 0) bucket = buckets;
      distance = std::abs(distance);
    } else {
      distance = -std::min<int64_t>(distance, 0);
    }
    if (distance < max_exact) {
      bucket += distance;
    } else {
      // In fp32, as every other implementation: at exact powers the rounding decides the bucket.
      const float position =
          std::log(static_cast<float>(distance) / static_cast<float>(max_exact)) /
          static_cast<float>(
              std::log(static_cast<double>(config.max_distance) / static_cast<double>(max_exact))) *
          static_cast<float>(buckets - max_exact);
      bucket += std::min(max_exact + static_cast<int64_t>(position), buckets - 1);
    }
    out[i] = bucket;
  }
  return result;
}

torch::Tensor RelativeBiasImpl::by_distance(int64_t first, int64_t count, int64_t stride) {
  const auto buckets = relative_buckets(first, count, config_, stride).to(weight.device());
  return weight.index_select(0, buckets).t();
}

torch::Tensor RelativeBiasImpl::forward(int64_t num_queries, int64_t num_keys,
                                        int64_t first_query) {
  // The bias is a Toeplitz band: one value for each of the num_queries + num_keys - 1 distances,
  // gathered once, then seen through a sliding window. Row r of the windows belongs to query
  // num_queries - 1 - r.
  const int64_t count = num_queries + num_keys - 1;
  const int64_t first_distance = -(first_query + num_queries - 1);
  const auto values = by_distance(first_distance, count);                     // [H, count]
  const auto windows = values.unfold(/*dimension=*/1, num_keys, /*step=*/1);  // [H, Q, S]
  return windows.flip({1}).unsqueeze(0);                                      // [1, H, Q, S]
}

}  // namespace altup
