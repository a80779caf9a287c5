#include "altup/tasks/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>

#include "altup/tasks/answer_text.h"
#include "altup/util/text.h"

namespace altup {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_lengths(size_t predictions, size_t references) {
  if (predictions != references) {
    throw std::invalid_argument(str(predictions, " predictions for ", references, " references"));
  }
}

double percent_of(double sum, size_t count) {
  return count == 0 ? kNaN : 100.0 * sum / static_cast<double>(count);
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double share_of_true(const std::map<std::string, bool>& groups) {
  double sum = 0.0;
  for (const auto& [group, is_true] : groups) sum += is_true ? 1.0 : 0.0;
  return percent_of(sum, groups.size());
}

// Ranks from 1; equal values share the mean of the ranks they take up.
std::vector<double> average_ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i)
      ranks[order[i]] = static_cast<double>(begin + end + 1) / 2.0;
    begin = end;
  }
  return ranks;
}

// F1 of two bags of words; 0 where they share none, also where both are empty (as the official
// scorer).
double word_f1(const std::string& prediction, const std::string& answer) {
  std::map<std::string, int64_t> left;
  size_t prediction_words = 0;
  size_t answer_words = 0;
  size_t common = 0;
  const auto each_word = [](const std::string& text, const auto& visit) {
    for (const auto& word : split(text, ' ')) {
      if (!word.empty()) visit(word);
    }
  };
  each_word(answer, [&](const std::string& word) { ++left[word], ++answer_words; });
  each_word(prediction, [&](const std::string& word) {
    ++prediction_words;
    const auto found = left.find(word);
    if (found != left.end() && found->second-- > 0) ++common;
  });
  if (common == 0) return 0.0;
  // In the official order of operations, so that the last digit is the official one, too.
  const double precision = static_cast<double>(common) / static_cast<double>(prediction_words);
  const double recall = static_cast<double>(common) / static_cast<double>(answer_words);
  return (2.0 * precision * recall) / (precision + recall);
}

double same_text(const std::string& prediction, const std::string& answer) {
  return prediction == answer ? 1.0 : 0.0;
}

// The mean over the questions of the best `score` that an answer gives, both normalised.
template <class Normalize, class Score>
double best_over_answers(const std::vector<std::string>& predictions,
                         const std::vector<std::vector<std::string>>& answers,
                         const Normalize& normalize, const Score& score) {
  check_lengths(predictions.size(), answers.size());
  double sum = 0.0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const std::string prediction = normalize(predictions[i]);
    double best = 0.0;
    for (const auto& answer : answers[i]) {
      best = std::max(best, score(prediction, normalize(answer)));
    }
    sum += best;
  }
  return percent_of(sum, predictions.size());
}

}  // namespace

double accuracy(const std::vector<std::string>& predictions,
                const std::vector<std::string>& references) {
  check_lengths(predictions.size(), references.size());
  double right = 0.0;
  for (size_t i = 0; i < predictions.size(); ++i)
    right += predictions[i] == references[i] ? 1.0 : 0.0;
  return percent_of(right, predictions.size());
}

double f1(const std::vector<std::string>& predictions, const std::vector<std::string>& references,
          const std::string& positive) {
  check_lengths(predictions.size(), references.size());
  double true_positives = 0.0;
  double errors = 0.0;  // FP + FN: with two labels every wrong prediction is one or the other
  for (size_t i = 0; i < predictions.size(); ++i) {
    if (predictions[i] != references[i]) {
      errors += 1.0;
    } else if (references[i] == positive) {
      true_positives += 1.0;
    }
  }
  const double denominator = 2.0 * true_positives + errors;
  return denominator == 0.0 ? 0.0 : 100.0 * 2.0 * true_positives / denominator;
}

double f1_macro(const std::vector<std::string>& predictions,
                const std::vector<std::string>& references,
                const std::vector<std::string>& labels) {
  check_lengths(predictions.size(), references.size());
  double sum = 0.0;
  for (const auto& label : labels) {
    double true_positives = 0.0;
    double occurrences = 0.0;  // 2 TP + FP + FN: predicted plus real ones
    for (size_t i = 0; i < predictions.size(); ++i) {
      const bool predicted = predictions[i] == label;
      const bool real = references[i] == label;
      true_positives += predicted && real ? 1.0 : 0.0;
      occurrences += (predicted ? 1.0 : 0.0) + (real ? 1.0 : 0.0);
    }
    if (occurrences > 0.0) sum += 2.0 * true_positives / occurrences;
  }
  return percent_of(sum, labels.size());
}

double group_exact_match(const std::vector<std::string>& predictions,
                         const std::vector<std::string>& references,
                         const std::vector<std::string>& groups) {
  check_lengths(predictions.size(), references.size());
  check_lengths(predictions.size(), groups.size());
  std::map<std::string, bool> right;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const auto group = right.emplace(groups[i], true).first;
    group->second = group->second && predictions[i] == references[i];
  }
  return share_of_true(right);
}

double group_agreement(const std::vector<std::string>& predictions,
                       const std::vector<std::string>& groups) {
  check_lengths(predictions.size(), groups.size());
  std::map<std::string, bool> agrees;
  std::map<std::string, std::string> first;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const std::string& said = first.emplace(groups[i], predictions[i]).first->second;
    const auto group = agrees.emplace(groups[i], !predictions[i].empty()).first;
    group->second = group->second && predictions[i] == said;
  }
  return share_of_true(agrees);
}

double matthews_correlation(const std::vector<std::string>& predictions,
                            const std::vector<std::string>& references) {
  check_lengths(predictions.size(), references.size());
  std::map<std::string, std::pair<double, double>> counts;  // class -> (predictions, references)
  double right = 0.0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    counts[predictions[i]].first += 1.0;
    counts[references[i]].second += 1.0;
    right += predictions[i] == references[i] ? 1.0 : 0.0;
  }
  const auto total = static_cast<double>(predictions.size());
  double covariance = right * total;
  double prediction_variance = total * total;
  double reference_variance = total * total;
  for (const auto& [label, count] : counts) {
    covariance -= count.first * count.second;
    prediction_variance -= count.first * count.first;
    reference_variance -= count.second * count.second;
  }
  const double denominator = std::sqrt(prediction_variance * reference_variance);
  return denominator == 0.0 ? 0.0 : 100.0 * covariance / denominator;
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  check_lengths(x.size(), y.size());
  if (x.size() < 2) return kNaN;
  const double mean_x = mean(x);
  const double mean_y = mean(y);
  double xx = 0.0;
  double yy = 0.0;
  double xy = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  // A constant side is told from the values: its mean may be off by a rounding, which would leave a
  // tiny variance.
  const auto constant = [](const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [&](double value) { return value == v.front(); });
  };
  if (constant(x) || constant(y)) return kNaN;
  return 100.0 * std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

double spearman(const std::vector<double>& x, const std::vector<double>& y) {
  check_lengths(x.size(), y.size());
  return pearson(average_ranks(x), average_ranks(y));
}

double squad_exact_match(const std::vector<std::string>& predictions,
                         const std::vector<std::vector<std::string>>& answers) {
  return best_over_answers(predictions, answers, normalize_answer, same_text);
}

double squad_f1(const std::vector<std::string>& predictions,
                const std::vector<std::vector<std::string>>& answers) {
  return best_over_answers(predictions, answers, normalize_answer, word_f1);
}

double triviaqa_exact_match(const std::vector<std::string>& predictions,
                            const std::vector<std::vector<std::string>>& answers) {
  return best_over_answers(predictions, answers, normalize_triviaqa_answer, same_text);
}

double triviaqa_f1(const std::vector<std::string>& predictions,
                   const std::vector<std::vector<std::string>>& answers) {
  return best_over_answers(predictions, answers, normalize_triviaqa_answer, word_f1);
}

}  // namespace altup
