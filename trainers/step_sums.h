// Sums over the training steps since the last record of metrics. They are part of what a checkpoint
// keeps: the first record of a run that goes on then says what it would have said.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "trainers/train_step.h"

namespace altup {

struct StepSums {
  int64_t steps = 0;
  double loss = 0.0;  ///< nats, of all target tokens
  double correct = 0.0;
  double span_tokens = 0.0;
  int64_t target_tokens = 0;
  int64_t tokens = 0;
  double seconds = 0.0;
  double data_seconds = 0.0;              ///< waited for batches
  std::map<std::string, double> routing;  ///< of each step one mean

  void add(const StepResult& step, double step_seconds, double wait_seconds) {
    ++steps;
    loss += step.loss * static_cast<double>(step.target_tokens);
    correct += step.correct;
    span_tokens += step.span_tokens;
    target_tokens += step.target_tokens;
    tokens += step.tokens;
    seconds += step_seconds;
    data_seconds += wait_seconds;
    for (const auto& [name, value] : step.routing) routing[name] += value;
  }
};

}  // namespace altup
