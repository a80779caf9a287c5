#include "altup/tasks/glue_files.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "altup/tasks/pronouns.h"
#include "altup/tasks/task_files.h"
#include "altup/tasks/tsv.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSubmissionHeader = "index\tprediction";

fs::path find_file(const GlueTask& glue, const fs::path& data, std::string_view split) {
  check_split(split);
  const auto& files = split == "train" ? glue.train_files
                      : split == "dev" ? glue.dev_files
                                       : glue.test_files;
  if (files.empty()) {
    throw UserError(str(glue.task.name, " has no ", split, " split; expected dev or test"));
  }
  std::vector<fs::path> candidates;
  for (const auto& file : files) candidates.push_back(fs::path(glue.task.directory) / file);
  for (const auto& file : files) candidates.emplace_back(file);
  for (const auto& directory : glue.other_directories) {
    for (const auto& file : files) candidates.push_back(fs::path(directory) / file);
  }
  return find_data_file(data, "glue", candidates);
}

// Which columns of a file hold what.
struct Layout {
  size_t num_columns = 0;
  std::vector<size_t> texts;
  std::optional<size_t> label;
  std::optional<size_t> index;
};

Layout read_layout(const GlueTask& glue, TsvReader& reader, std::string_view split) {
  std::vector<std::string> header = glue.implied_header;
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
  const auto required = [&](const std::string& name, const std::string& other = "") {
    const auto found = column(name).has_value() || other.empty() ? column(name) : column(other);
    if (!found) {
      reader.fail(str("the header has no column \"", name, "\"; expected the official ", split,
                      " file of ", glue.task.name, " (", glue.task.directory, ")"));
    }
    return *found;
  };
  Layout layout;
  layout.num_columns = header.size();
  for (const auto& text : glue.task.texts) {
    layout.texts.push_back(required(text.source, text.other_source));
  }
  layout.label = labelled ? required(glue.task.label_field) : column(glue.task.label_field);
  // The leaderboard matches a test file's rows by their index; rows with labels may be numbered.
  layout.index = labelled || layout.label ? column("index") : required(glue.test_index, "index");
  return layout;
}

// T5's 26 classes: the score in single precision, rounded to the nearest fifth (halves to the even
// fifth).
std::string score_target(double score) {
  return fixed(std::nearbyint(static_cast<float>(score) * 5.0F) / 5.0F, 1);
}

// Sets target and reference from a label of the file.
void set_label(const GlueTask& glue, const TsvReader& reader, std::string_view label,
               TaskExample& example) {
  if (glue.task.labels.empty()) {
    const auto score = parse_number(label);
    if (!score || *score < 0.0 || *score > 5.0) {
      reader.fail(str("score \"", label, "\"; expected a number from 0 to 5"));
    }
    example.target = score_target(*score);
    example.references = {std::string(label)};
    return;
  }
  const LabelWord* known = find_label(glue.task.labels, label);
  if (known == nullptr) {
    reader.fail(str("label \"", label, "\"; expected ", expected_labels(glue.task.labels)));
  }
  example.target = known->word;
  example.references = {known->word};
}

// MRPC's original training file holds the dev rows, too: those whose pair of ids dev_ids.tsv lists.
class JointFile {
 public:
  JointFile(const GlueTask& glue, const fs::path& path, std::string_view split)
      : applies_(!glue.joint_file.empty() && path.filename() == glue.joint_file),
        is_dev_(split == "dev") {
    if (!applies_) return;
    const fs::path list = path.parent_path() / "dev_ids.tsv";
    if (!fs::is_regular_file(list)) {
      throw UserError(list.string(), str("is not there; expected GLUE's list of the dev rows in ",
                                         glue.joint_file));
    }
    TsvReader reader(list);
    std::vector<std::string_view> fields;
    while (reader.next(fields)) {
      reader.expect_columns(fields, 2);
      dev_.emplace(fields[0], fields[1]);
    }
  }

  bool keeps(const std::vector<std::string_view>& fields) const {
    constexpr size_t kFirstId = 1;  // Quality, #1 ID, #2 ID, …
    return !applies_ || is_dev_ == dev_.contains({std::string(fields[kFirstId]),
                                                  std::string(fields[kFirstId + 1])});
  }

 private:
  bool applies_;
  bool is_dev_;
  std::set<std::pair<std::string, std::string>> dev_;
};

// Rows that were left out or have a defect, by what is wrong: one line of the log each.
struct Defects {
  size_t torn = 0;
  int64_t first_torn = 0;  // its line
  size_t no_verdict = 0;
  size_t no_candidate = 0;

  void add_torn(int64_t line) {
    if (torn++ == 0) first_torn = line;
  }
  // A handful of torn rows is what the official file has; many mean another layout.
  void check_torn(const fs::path& path, size_t rows, size_t columns) const {
    constexpr size_t kAlwaysTolerated = 10;
    if (torn <= kAlwaysTolerated || 100 * torn <= rows) return;
    throw UserError(path.string(), first_torn,
                    str("the first of ", count_of(torn, "row"), " (of ", rows,
                        ") that do not have the header's ", columns,
                        " columns; expected at most 1 %, which line breaks inside questions tore"));
  }
  void report(const fs::path& path, size_t columns) const {
    const auto warn = [&](size_t count, const char* one, const char* several,
                          const std::string& what) {
      if (count == 0) return;
      log_warning(path.string(), ": ", count_of(count, "row"), " ", count == 1 ? one : several, " ",
                  what);
    };
    warn(torn, "does not have", "do not have",
         str("the header's ", columns, " columns (line ", first_torn, " the first); left out"));
    warn(no_verdict, "has", "have", "no verdict of the annotators as the label; left out");
    warn(no_candidate, "has", "have",
         "no pronoun whose place the second sentence fills; no training example, and "
         "not_entailment in evaluation whatever the model says");
  }
};

// WNLI: the premise with its pronoun marked; the target is what the pronoun stands for, so rows
// that say what it does not stand for have none, and are no training examples.
bool make_pronoun_example(const GlueTask& glue, const std::vector<std::string_view>& fields,
                          const Layout& layout, bool is_training, TaskExample& example,
                          Defects& defects) {
  const MarkedPremise marked = mark_wnli(fields[layout.texts[0]], fields[layout.texts[1]]);
  const bool is_true = !example.references.empty() && example.references.front() == "entailment";
  example.input = str(glue.task.prompt, " ", marked.text);
  example.target = is_true ? marked.candidate : "";
  example.context = marked.candidate;
  if (marked.candidate.empty()) ++defects.no_candidate;
  return !is_training || !example.target.empty();
}

}  // namespace

std::vector<TaskExample> load_glue(const GlueTask& glue, const fs::path& data,
                                   std::string_view split) {
  const fs::path path = find_file(glue, data, split);
  TsvReader reader(path);
  const Layout layout = read_layout(glue, reader, split);
  const JointFile joint(glue, path, split);

  std::vector<TaskExample> examples;
  std::vector<std::string_view> fields;
  UniqueIds ids;
  Defects defects;
  int64_t row = 0;
  for (; reader.next(fields); ++row) {
    if (glue.skip_torn_rows && split != "test" && fields.size() != layout.num_columns) {
      if (reader.is_unended()) {
        reader.fail(str("the file is cut off in its last row, after ",
                        count_of(fields.size(), "column"), "; expected ", layout.num_columns));
      }
      defects.add_torn(reader.line());
      continue;
    }
    reader.expect_columns(fields, layout.num_columns);
    if (!joint.keeps(fields)) continue;
    if (layout.label && !glue.no_verdict.empty() && fields[*layout.label] == glue.no_verdict) {
      ++defects.no_verdict;
      continue;
    }
    TaskExample example;
    example.id = layout.index ? std::string(fields[*layout.index]) : std::to_string(row);
    ids.add(example.id, [&](const std::string& message) { reader.fail(message); });
    if (layout.label) set_label(glue, reader, fields[*layout.label], example);
    if (glue.marks_pronoun) {
      if (!make_pronoun_example(glue, fields, layout, split == "train", example, defects)) continue;
    } else {
      example.input = glue.task.prompt;
      for (size_t i = 0; i < glue.task.texts.size(); ++i) {
        append_text(example.input, glue.task.texts[i].key, fields[layout.texts[i]]);
      }
    }
    examples.push_back(std::move(example));
  }
  defects.check_torn(path, static_cast<size_t>(row), layout.num_columns);
  defects.report(path, layout.num_columns);
  if (examples.empty())
    throw UserError(path.string(), "has no examples; expected at least one row");
  return examples;
}

void write_glue_predictions(const GlueTask& glue, const fs::path& path,
                            const std::vector<std::string>& predictions,
                            const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  std::string text = str(kSubmissionHeader, "\n");
  int64_t empty = 0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const std::string field = official_label(glue.task, predictions[i]);
    empty += field.empty() ? 1 : 0;
    text += str(examples[i].id, "\t", field, "\n");
  }
  write_file_atomic(path, text);
  warn_of_empty(path.string(), empty, predictions.size());
}

std::vector<std::string> read_glue_predictions(const GlueTask& glue, const fs::path& path,
                                               const std::vector<TaskExample>& examples) {
  TsvReader reader(path);
  std::vector<std::string_view> fields;
  if (!reader.next(fields) || fields.size() != 2 || fields[0] != "index" ||
      fields[1] != "prediction") {
    reader.fail(
        "expected the header of a GLUE submission, index and prediction separated by a tab");
  }
  std::vector<PredictionEntry> entries;
  while (reader.next(fields)) {
    reader.expect_columns(fields, 2);
    std::string prediction(fields[1]);
    if (!prediction.empty() && glue.task.labels.empty()) {
      if (!parse_number(prediction)) {
        reader.fail(str("prediction \"", prediction, "\"; expected a number"));
      }
    } else if (!prediction.empty()) {
      const LabelWord* label = find_label(glue.task.labels, prediction);
      if (label == nullptr) {
        reader.fail(
            str("prediction \"", prediction, "\"; expected ", expected_labels(glue.task.labels)));
      }
      prediction = label->word;
    }
    entries.push_back({std::string(fields[0]), std::move(prediction), reader.line()});
  }
  return order_predictions(path, std::move(entries), examples);
}

}  // namespace altup
