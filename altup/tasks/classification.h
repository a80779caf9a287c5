// What GLUE and SuperGLUE share: a task whose answer is one of a few label words (or, for STS-B, a
// number). A task is a row of a table; what it says here decides its prompt
//
//   <prompt> <key>: <text> [<key>: <text> …]  ->  <label word>
//
// (T5's order of the texts: keys sorted by name, unless T5 gives an order), the labels of its files
// and submissions, and its metrics.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "altup/tasks/task.h"

namespace altup {

/// The metrics of a task; the one that picks the best checkpoint stands first.
enum class Scoring {
  kAccuracy,      ///< accuracy
  kMatthews,      ///< matthews_correlation
  kF1,            ///< f1 (of the second label), accuracy
  kCorrelation,   ///< pearson, spearman
  kF1Macro,       ///< f1_macro, accuracy
  kF1OfAnswers,   ///< f1a (of the second label, over all examples), exact_match (over groups)
  kGenderParity,  ///< accuracy, gender_parity (over groups)
};

struct TextField {
  std::string source;             ///< its name in the file
  std::string key;                ///< its name in the prompt
  std::string other_source = {};  ///< a second name that official files use
};

struct LabelWord {
  std::string official;  ///< in the data and in a submission
  std::string word;      ///< in the target
};

struct Classification {
  std::string name;       ///< "glue/rte"
  std::string directory;  ///< the official one
  std::string prompt;     ///< what the input begins with
  std::vector<TextField> texts;
  std::string label_field;
  std::vector<LabelWord> labels;  ///< none: the label is a number
  Scoring scoring;
};

/// Appends " key: value" to a prompt.
void append_text(std::string& prompt, std::string_view key, std::string_view value);

/// The label that the files call `official` (true and True are one); null where there is none.
const LabelWord* find_label(const std::vector<LabelWord>& labels, std::string_view official);
/// The label whose word is `word`; null where there is none.
const LabelWord* find_word(const std::vector<LabelWord>& labels, std::string_view word);
/// "entailment or not_entailment": the official labels, for an error.
std::string expected_labels(const std::vector<LabelWord>& labels);

/// A finite decimal number that takes up the whole text; nothing where it is none.
std::optional<double> parse_number(std::string_view text);

/// The model's text, trimmed, where it is a label word (or a number, for a task of numbers); else
/// "".
std::string postprocess_label(const Classification& task, std::string_view output);
/// The official name of a post-processed prediction; "" for "". std::invalid_argument for a
/// prediction that is not post-processed.
std::string official_label(const Classification& task, const std::string& prediction);
/// The warning about predictions that are no label.
void warn_of_empty(const std::string& file, int64_t empty, size_t predictions);

Metrics score_labels(const Classification& task, const std::vector<std::string>& predictions,
                     const std::vector<TaskExample>& examples);

/// A task with its name, labels, metric, postprocess and score; load, write_predictions and
/// read_predictions are the benchmark's. `task` has to outlive it.
Task make_label_task(const Classification& task);

}  // namespace altup
