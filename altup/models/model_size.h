// How large a model is and what a step of it costs, counted rather than measured.
#pragma once

#include <cstdint>

#include "altup/models/t5_config.h"

namespace altup {

struct ParameterCount {
  int64_t total = 0;
  int64_t embedding = 0;  ///< the embedding and the head
  int64_t altup = 0;    ///< prediction and correction coefficients, and what makes them of a token
  int64_t experts = 0;  ///< of the mixtures, without their routers
  /// What a token passes through: of a mixture, the experts that it has: one, or with Expert Choice
  /// capacity_factor of them on average (at most all). `total` without mixtures.
  int64_t active = 0;
};

/// Counts the registered parameters of a model that is built but never initialised, so no memory is
/// touched.
ParameterCount count_parameters(const T5Config& config);

struct FlopCount {
  double forward_backward =
      0;  ///< of one example: matrix products, two operations a multiply-add, backward = 2 forward
  int64_t tokens = 0;  ///< input_length + target_length
};

FlopCount count_flops(const T5Config& config, int64_t input_length, int64_t target_length);

}  // namespace altup
