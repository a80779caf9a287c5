#include "altup/tasks/classification.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "altup/tasks/metrics.h"
#include "altup/tasks/task_files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {

namespace {

constexpr size_t kPositive = 1;  // of the two labels of an F1

bool equal_labels(std::string_view a, std::string_view b) {
  // Some publish Python's True and False, others JSON's true and false.
  const auto is_boolean = [](std::string_view text) {
    return text == "true" || text == "false" || text == "True" || text == "False";
  };
  return a == b || (is_boolean(a) && is_boolean(b) && a.substr(1) == b.substr(1));
}

std::string best_metric(Scoring scoring) {
  switch (scoring) {
    case Scoring::kAccuracy:
    case Scoring::kGenderParity:
      return "accuracy";
    case Scoring::kMatthews:
      return "matthews_correlation";
    case Scoring::kF1:
      return "f1";
    case Scoring::kCorrelation:
      return "pearson";
    case Scoring::kF1Macro:
      return "f1_macro";
    case Scoring::kF1OfAnswers:
      return "f1a";
  }
  throw std::logic_error("unreachable");
}

Metrics score_numbers(const std::vector<std::string>& predictions,
                      const std::vector<std::string>& references) {
  std::vector<double> x;
  std::vector<double> y;
  for (size_t i = 0; i < predictions.size(); ++i) {
    // T5 scores what is no number as -1, the furthest from any score.
    x.push_back(parse_number(predictions[i]).value_or(-1.0));
    y.push_back(parse_number(references[i]).value());
  }
  return {{"pearson", pearson(x, y)}, {"spearman", spearman(x, y)}};
}

}  // namespace

void append_text(std::string& prompt, std::string_view key, std::string_view value) {
  prompt += ' ';
  prompt += key;
  prompt += ": ";
  prompt += value;
}

const LabelWord* find_label(const std::vector<LabelWord>& labels, std::string_view official) {
  for (const auto& label : labels) {
    if (equal_labels(label.official, official)) return &label;
  }
  return nullptr;
}

const LabelWord* find_word(const std::vector<LabelWord>& labels, std::string_view word) {
  for (const auto& label : labels) {
    if (label.word == word) return &label;
  }
  return nullptr;
}

std::string expected_labels(const std::vector<LabelWord>& labels) {
  std::vector<std::string> names;
  for (const auto& label : labels) names.push_back(label.official);
  return join(names, " or ");
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

std::string postprocess_label(const Classification& task, std::string_view output) {
  const std::string text(trim(output));
  const bool known = task.labels.empty() ? parse_number(text).has_value()
                                         : find_word(task.labels, text) != nullptr;
  return known ? text : "";
}

std::string official_label(const Classification& task, const std::string& prediction) {
  if (task.labels.empty() || prediction.empty()) return prediction;
  const LabelWord* label = find_word(task.labels, prediction);
  if (label == nullptr) {
    throw std::invalid_argument(
        str(task.name, ": prediction \"", prediction, "\" is not post-processed"));
  }
  return label->official;
}

void warn_of_empty(const std::string& file, int64_t empty, size_t predictions) {
  if (empty == 0) return;
  log_warning(file, ": ", empty, " of ", predictions,
              " predictions are no label and stay empty; the leaderboard takes no empty ones");
}

Metrics score_labels(const Classification& task, const std::vector<std::string>& predictions,
                     const std::vector<TaskExample>& examples) {
  check_scorable(task.name, predictions, examples);
  std::vector<std::string> references;
  std::vector<std::string> groups;
  for (const auto& example : examples) {
    references.push_back(example.references.front());
    groups.push_back(example.group);
  }
  switch (task.scoring) {
    case Scoring::kAccuracy:
      return {{"accuracy", accuracy(predictions, references)}};
    case Scoring::kMatthews:
      return {{"matthews_correlation", matthews_correlation(predictions, references)}};
    case Scoring::kF1:
      return {{"accuracy", accuracy(predictions, references)},
              {"f1", f1(predictions, references, task.labels[kPositive].word)}};
    case Scoring::kCorrelation:
      return score_numbers(predictions, references);
    case Scoring::kF1Macro: {
      std::vector<std::string> words;
      for (const auto& label : task.labels) words.push_back(label.word);
      return {{"accuracy", accuracy(predictions, references)},
              {"f1_macro", f1_macro(predictions, references, words)}};
    }
    case Scoring::kF1OfAnswers:
      return {{"exact_match", group_exact_match(predictions, references, groups)},
              {"f1a", f1(predictions, references, task.labels[kPositive].word)}};
    case Scoring::kGenderParity:
      return {{"accuracy", accuracy(predictions, references)},
              {"gender_parity", group_agreement(predictions, groups)}};
  }
  throw std::logic_error("unreachable");
}

Task make_label_task(const Classification& task) {
  Task out;
  out.name = task.name;
  out.best_metric = best_metric(task.scoring);
  out.target_length = 32;
  for (const auto& label : task.labels) out.labels.push_back(label.word);
  out.postprocess = [&task](const std::string& output, const TaskExample&) {
    return postprocess_label(task, output);
  };
  out.score = [&task](const auto& predictions, const auto& examples) {
    return score_labels(task, predictions, examples);
  };
  return out;
}

}  // namespace altup
