// GLUE (Wang et al. 2019) as text to text. The tasks differ in a table only: where the sentences
// and the label stand in the official files, T5's names for them, its label words, and the metric.
//
//   <task> <key>: <sentence> [<key>: <sentence>]  ->  <label word>
//
// with T5's order of the sentences (keys sorted by name, so MNLI's hypothesis comes before its
// premise).
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include "altup/tasks/benchmarks.h"
#include "altup/tasks/metrics.h"
#include "altup/tasks/task_files.h"
#include "altup/tasks/tsv.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

enum class Scoring { kAccuracy, kMatthews, kF1, kCorrelation };

struct TextField {
  std::string column;  // its name in the file
  std::string key;     // its name in the prompt
};

struct LabelWord {
  std::string official;  // in the data and in a submission
  std::string word;      // in the target
};

struct GlueTask {
  std::string name;
  std::string directory;
  std::string prompt;
  std::vector<TextField> texts;
  std::string label_column;
  std::vector<LabelWord> labels;  // none: the label is a number (STS-B)
  Scoring scoring;
  std::string dev_file = "dev.tsv";
  std::string test_file = "test.tsv";
  // CoLA's train and dev files have no header; these are the names of their columns.
  std::vector<std::string> implied_header = {};
  // QQP's official train.tsv has rows that a line break inside a question tore in two.
  bool skip_torn_rows = false;
};

const std::vector<GlueTask>& glue_tasks() {
  static const std::vector<LabelWord> kEntailment = {{"entailment", "entailment"},
                                                     {"not_entailment", "not_entailment"}};
  static const std::vector<LabelWord> kMnli = {
      {"entailment", "entailment"}, {"neutral", "neutral"}, {"contradiction", "contradiction"}};
  static const std::vector<TextField> kSentences = {{"sentence1", "sentence1"},
                                                    {"sentence2", "sentence2"}};
  static const std::vector<TextField> kMnliTexts = {{"sentence2", "hypothesis"},
                                                    {"sentence1", "premise"}};
  static const std::vector<GlueTask> tasks = {
      {.name = "glue/cola",
       .directory = "CoLA",
       .prompt = "cola",
       .texts = {{"sentence", "sentence"}},
       .label_column = "label",
       .labels = {{"0", "unacceptable"}, {"1", "acceptable"}},
       .scoring = Scoring::kMatthews,
       .implied_header = {"source", "label", "original_label", "sentence"}},
      {.name = "glue/sst2",
       .directory = "SST-2",
       .prompt = "sst2",
       .texts = {{"sentence", "sentence"}},
       .label_column = "label",
       .labels = {{"0", "negative"}, {"1", "positive"}},
       .scoring = Scoring::kAccuracy},
      {.name = "glue/mrpc",
       .directory = "MRPC",
       .prompt = "mrpc",
       .texts = {{"#1 String", "sentence1"}, {"#2 String", "sentence2"}},
       .label_column = "Quality",
       .labels = {{"0", "not_equivalent"}, {"1", "equivalent"}},
       .scoring = Scoring::kF1},
      {.name = "glue/stsb",
       .directory = "STS-B",
       .prompt = "stsb",
       .texts = kSentences,
       .label_column = "score",
       .labels = {},
       .scoring = Scoring::kCorrelation},
      {.name = "glue/qqp",
       .directory = "QQP",
       .prompt = "qqp",
       .texts = {{"question1", "question1"}, {"question2", "question2"}},
       .label_column = "is_duplicate",
       .labels = {{"0", "not_duplicate"}, {"1", "duplicate"}},
       .scoring = Scoring::kF1,
       .skip_torn_rows = true},
      {.name = "glue/mnli",
       .directory = "MNLI",
       .prompt = "mnli",
       .texts = kMnliTexts,
       .label_column = "gold_label",
       .labels = kMnli,
       .scoring = Scoring::kAccuracy,
       .dev_file = "dev_matched.tsv",
       .test_file = "test_matched.tsv"},
      {.name = "glue/mnli_mismatched",
       .directory = "MNLI",
       .prompt = "mnli",
       .texts = kMnliTexts,
       .label_column = "gold_label",
       .labels = kMnli,
       .scoring = Scoring::kAccuracy,
       .dev_file = "dev_mismatched.tsv",
       .test_file = "test_mismatched.tsv"},
      {.name = "glue/qnli",
       .directory = "QNLI",
       .prompt = "qnli",
       .texts = {{"question", "question"}, {"sentence", "sentence"}},
       .label_column = "label",
       .labels = kEntailment,
       .scoring = Scoring::kAccuracy},
      {.name = "glue/rte",
       .directory = "RTE",
       .prompt = "rte",
       .texts = kSentences,
       .label_column = "label",
       .labels = kEntailment,
       .scoring = Scoring::kAccuracy},
      {.name = "glue/wnli",
       .directory = "WNLI",
       .prompt = "wnli",
       .texts = kSentences,
       .label_column = "label",
       .labels = {{"0", "not_entailment"}, {"1", "entailment"}},
       .scoring = Scoring::kAccuracy},
  };
  return tasks;
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

// T5's 26 classes: the score in single precision, rounded to the nearest fifth (halves to the even
// fifth).
std::string score_target(double score) {
  return fixed(std::nearbyint(static_cast<float>(score) * 5.0F) / 5.0F, 1);
}

// Which columns of a file hold what.
struct Layout {
  size_t num_columns = 0;
  std::vector<size_t> texts;
  std::optional<size_t> label;
  std::optional<size_t> index;
};

Layout read_layout(const GlueTask& task, TsvReader& reader, std::string_view split) {
  std::vector<std::string> header = task.implied_header;
  const bool labelled = split != "test";
  if (header.empty() || !labelled) {
    std::vector<std::string_view> fields;
    if (!reader.next(fields))
      reader.fail("is empty; expected a header and one row for each example");
    header.assign(fields.begin(), fields.end());
  }
  const auto column = [&](const std::string& name) -> std::optional<size_t> {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) return {};
    return static_cast<size_t>(found - header.begin());
  };
  const auto required = [&](const std::string& name) {
    const auto found = column(name);
    if (!found) {
      reader.fail(str("the header has no column \"", name, "\"; expected the official ", split,
                      " file of ", task.name, " (", task.directory, ")"));
    }
    return *found;
  };
  Layout layout;
  layout.num_columns = header.size();
  for (const auto& text : task.texts) layout.texts.push_back(required(text.column));
  layout.label = labelled ? required(task.label_column) : column(task.label_column);
  layout.index = column("index");
  return layout;
}

// Sets target and reference from a label of the file.
void set_label(const GlueTask& task, const TsvReader& reader, std::string_view label,
               TaskExample& example) {
  if (task.labels.empty()) {
    const auto score = parse_number(label);
    if (!score || *score < 0.0 || *score > 5.0) {
      reader.fail(str("score \"", label, "\"; expected a number from 0 to 5"));
    }
    example.target = score_target(*score);
    example.references = {std::string(label)};
    return;
  }
  std::vector<std::string> expected;
  for (const auto& known : task.labels) {
    if (label == known.official) {
      example.target = known.word;
      example.references = {known.word};
      return;
    }
    expected.push_back(known.official);
  }
  reader.fail(str("label \"", label, "\"; expected ", join(expected, " or ")));
}

std::vector<TaskExample> load_examples(const GlueTask& task, const fs::path& data,
                                       std::string_view split) {
  check_split(split);
  const std::string file = split == "train" ? "train.tsv"
                           : split == "dev" ? task.dev_file
                                            : task.test_file;
  const fs::path path = find_data_file(data, {fs::path(task.directory) / file, file});
  TsvReader reader(path);
  const Layout layout = read_layout(task, reader, split);

  std::vector<TaskExample> examples;
  std::vector<std::string_view> fields;
  int64_t torn_rows = 0;
  for (int64_t row = 0; reader.next(fields); ++row) {
    if (task.skip_torn_rows && fields.size() != layout.num_columns) {
      ++torn_rows;
      continue;
    }
    reader.expect_columns(fields, layout.num_columns);
    TaskExample example;
    example.id = layout.index ? std::string(fields[*layout.index]) : std::to_string(row);
    example.input = task.prompt;
    for (size_t i = 0; i < task.texts.size(); ++i) {
      example.input += str(" ", task.texts[i].key, ": ", fields[layout.texts[i]]);
    }
    if (layout.label) set_label(task, reader, fields[*layout.label], example);
    examples.push_back(std::move(example));
  }
  if (torn_rows > 0) {
    log_warning(path.string(), ": left out ", torn_rows, " rows that have not the header's ",
                layout.num_columns, " columns");
  }
  if (examples.empty())
    throw UserError(path.string(), "has no examples; expected at least one row");
  return examples;
}

std::string postprocess(const GlueTask& task, const std::string& output) {
  const std::string text(trim(output));
  if (task.labels.empty()) return parse_number(text) ? text : "";
  const bool known = std::any_of(task.labels.begin(), task.labels.end(),
                                 [&](const LabelWord& label) { return label.word == text; });
  return known ? text : "";
}

Metrics score(const GlueTask& task, const std::vector<std::string>& predictions,
              const std::vector<TaskExample>& examples) {
  check_scorable(task.name, predictions, examples);
  std::vector<std::string> references;
  for (const auto& example : examples) references.push_back(example.references.front());
  if (task.scoring == Scoring::kCorrelation) {
    // T5 scores what is no number as -1, the furthest from any score.
    std::vector<double> x;
    std::vector<double> y;
    for (size_t i = 0; i < predictions.size(); ++i) {
      x.push_back(parse_number(predictions[i]).value_or(-1.0));
      y.push_back(parse_number(references[i]).value());
    }
    return {{"pearson", pearson(x, y)}, {"spearman", spearman(x, y)}};
  }
  if (task.scoring == Scoring::kMatthews) {
    return {{"matthews_correlation", matthews_correlation(predictions, references)}};
  }
  Metrics metrics = {{"accuracy", accuracy(predictions, references)}};
  if (task.scoring == Scoring::kF1)
    metrics["f1"] = f1(predictions, references, task.labels[1].word);
  return metrics;
}

constexpr std::string_view kSubmissionHeader = "index\tprediction";

void write_predictions(const GlueTask& task, const fs::path& path,
                       const std::vector<std::string>& predictions,
                       const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  std::unordered_map<std::string, std::string> official = {{"", ""}};
  for (const auto& label : task.labels) official[label.word] = label.official;
  std::string text = str(kSubmissionHeader, "\n");
  int64_t empty = 0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    std::string field = predictions[i];
    if (!task.labels.empty()) {
      const auto found = official.find(predictions[i]);
      if (found == official.end()) {
        throw std::invalid_argument(
            str(task.name, ": prediction \"", predictions[i], "\" is not post-processed"));
      }
      field = found->second;
    }
    empty += field.empty() ? 1 : 0;
    text += str(examples[i].id, "\t", field, "\n");
  }
  write_file_atomic(path, text);
  if (empty > 0) {
    log_warning(path.string(), ": ", empty, " of ", predictions.size(),
                " predictions are no label and stay empty; the leaderboard takes no empty ones");
  }
}

std::vector<std::string> read_predictions(const GlueTask& task, const fs::path& path,
                                          const std::vector<TaskExample>& examples) {
  TsvReader reader(path);
  std::vector<std::string_view> fields;
  if (!reader.next(fields) || fields.size() != 2 || fields[0] != "index" ||
      fields[1] != "prediction") {
    reader.fail(
        "expected the header of a GLUE submission, index and prediction separated by a tab");
  }
  std::unordered_map<std::string_view, std::string_view> words = {{"", ""}};
  std::vector<std::string> expected;
  for (const auto& label : task.labels) {
    words[label.official] = label.word;
    expected.push_back(label.official);
  }
  std::vector<PredictionEntry> entries;
  while (reader.next(fields)) {
    reader.expect_columns(fields, 2);
    std::string prediction(fields[1]);
    if (!task.labels.empty()) {
      const auto found = words.find(fields[1]);
      if (found == words.end()) {
        reader.fail(str("prediction \"", prediction, "\"; expected ", join(expected, " or ")));
      }
      prediction = found->second;
    } else if (!prediction.empty() && !parse_number(prediction)) {
      reader.fail(str("prediction \"", prediction, "\"; expected a number"));
    }
    entries.push_back({std::string(fields[0]), std::move(prediction), reader.line()});
  }
  return order_predictions(path, std::move(entries), examples);
}

std::string best_metric(Scoring scoring) {
  switch (scoring) {
    case Scoring::kAccuracy:
      return "accuracy";
    case Scoring::kMatthews:
      return "matthews_correlation";
    case Scoring::kF1:
      return "f1";
    case Scoring::kCorrelation:
      return "pearson";
  }
  throw std::logic_error("unreachable");
}

}  // namespace

void add_glue_tasks(std::vector<Task>& tasks) {
  for (const GlueTask& glue : glue_tasks()) {
    Task task;
    task.name = glue.name;
    task.best_metric = best_metric(glue.scoring);
    task.target_length = 32;
    for (const auto& label : glue.labels) task.labels.push_back(label.word);
    // The table lives as long as the program, so the functions may hold on to their row.
    task.load = [&glue](const fs::path& data, std::string_view split) {
      return load_examples(glue, data, split);
    };
    task.postprocess = [&glue](const std::string& output, const TaskExample&) {
      return postprocess(glue, output);
    };
    task.score = [&glue](const auto& predictions, const auto& examples) {
      return score(glue, predictions, examples);
    };
    task.write_predictions = [&glue](const fs::path& path, const auto& predictions,
                                     const auto& examples) {
      write_predictions(glue, path, predictions, examples);
    };
    task.read_predictions = [&glue](const fs::path& path, const auto& examples) {
      return read_predictions(glue, path, examples);
    };
    tasks.push_back(std::move(task));
  }
}

}  // namespace altup
