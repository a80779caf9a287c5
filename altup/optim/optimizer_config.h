// [optimizer] of a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "altup/optim/schedule.h"
#include "altup/util/fields.h"

namespace altup {

enum class OptimizerName { kAdafactor, kAdamW };

template <>
struct EnumNames<OptimizerName> {
  static constexpr std::array<std::pair<std::string_view, OptimizerName>, 2> kNames = {
      {{"adafactor", OptimizerName::kAdafactor}, {"adamw", OptimizerName::kAdamW}}};
};

/// [optimizer]
struct OptimizerConfig {
  OptimizerName name = OptimizerName::kAdafactor;
  double learning_rate = 1.0;
  Schedule schedule = Schedule::kRsqrt;
  int64_t warmup_steps = 10000;
  double weight_decay = 0.0;
  double coefficient_rate = 0.1;    ///< the numbers that AltUp predicts and corrects by: their
                                    ///< rate, times the others'
  double beta1 = 0.9;               ///< adamw
  double beta2 = 0.999;             ///< adamw
  double epsilon = 1e-8;            ///< adamw
  double decay_exponent = 0.8;      ///< adafactor: second-moment decay 1 - t^-0.8
  double clipping_threshold = 1.0;  ///< adafactor: RMS of an update is at most this
  bool scale_by_parameter = true;   ///< adafactor: updates times max(1e-3, RMS of the parameter)
  int64_t min_factored_size =
      128;  ///< adafactor: matrices with both sides at least this are factored

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"name", "optimiser"}, self.name);
    visit(Field{"learning_rate", "base rate", 0}, self.learning_rate);
    visit(Field{"schedule", "how the rate moves"}, self.schedule);
    visit(Field{"warmup_steps", "rsqrt: steps at the constant start; others: linear warm-up", 0},
          self.warmup_steps);
    visit(Field{"weight_decay", "decoupled, times the rate", 0, 1}, self.weight_decay);
    visit(Field{"coefficient_rate",
                "rate of the numbers that AltUp predicts and corrects by, times the others'", 0},
          self.coefficient_rate);
    visit(Field{"beta1", "adamw", 0, 1}, self.beta1);
    visit(Field{"beta2", "adamw", 0, 1}, self.beta2);
    visit(Field{"epsilon", "adamw", 0, 1}, self.epsilon);
    visit(Field{"decay_exponent", "adafactor: second-moment decay 1 - t^-e", 0, 1},
          self.decay_exponent);
    visit(Field{"clipping_threshold", "adafactor: largest RMS of an update", 0},
          self.clipping_threshold);
    visit(Field{"scale_by_parameter", "adafactor: updates times the parameter's RMS"},
          self.scale_by_parameter);
    visit(Field{"min_factored_size", "adafactor: smallest side that is factored", 1},
          self.min_factored_size);
  }
  /// Throws UserError for combinations that make no sense; the message starts with "optimizer.…".
  void validate() const;
  /// "optimizer.beta1", …: the other optimiser's keys that are away from their defaults, so that somebody
  /// seems to expect something of them.
  std::vector<std::string> unread_keys() const;
};

}  // namespace altup
