// What a user's own task does, by what its TOML file says.
#include "altup/tasks/own_task.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "altup/tasks/classification.h"
#include "altup/tasks/json_lines.h"
#include "altup/tasks/metrics.h"
#include "altup/tasks/own_task_rows.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;
using Examples = std::vector<TaskExample>;

std::string key_place(const OwnTask& own, const std::string& key) {
  return str("task.", key, " (", own.file, ":", own.lines.at(key), ")");
}

// The columns of the right output, which a test file may lack.
Texts output_columns(const OwnTask& own) {
  Texts columns = template_columns(own.target);
  if (!own.references.empty()) columns.push_back(own.references);
  return columns;
}

std::vector<NeededColumn> needed_columns(const OwnTask& own, std::string_view split) {
  std::vector<NeededColumn> needed;
  const auto add = [&](const Texts& columns, const std::string& key) {
    for (const auto& column : columns) needed.push_back({column, key_place(own, key)});
  };
  if (!own.id.empty()) add({own.id}, "id");
  add(template_columns(own.prompt), "prompt");
  if (split == "test") return needed;
  add(template_columns(own.target), "target");
  if (!own.references.empty()) add({own.references}, "references");
  return needed;
}

fs::path find_file(const OwnTask& own, const fs::path& data, std::string_view split) {
  if (fs::is_regular_file(data)) return data;
  const auto file = own.files.find(std::string(split));
  if (file == own.files.end()) {
    throw UserError(own.file, str("names no file for the split \"", split, "\"; expected task.",
                                  split, ", or --data with a file instead of a directory"));
  }
  const fs::path path = data / file->second;
  if (!fs::is_regular_file(path)) {
    throw UserError(own.file, own.lines.at(std::string(split)),
                    str("task.", split, " is \"", file->second, "\", but there is no file ",
                        path.string(), "; expected it below the directory of the data"));
  }
  return path;
}

// Sets target and references from a row that has the right output.
void set_output(const OwnTask& own, const RowReader& row, TaskExample& example) {
  if (!own.references.empty()) {
    example.references = row.texts(own.references);
    if (example.references.empty()) {
      row.fail(str("\"", own.references, "\" is an empty list; expected at least one answer"));
    }
    example.target = example.references.front();
  }
  if (!own.target.empty()) {
    example.target =
        fill_template(own.target, [&](const std::string& column) { return row.text(column); });
  }
  if (!own.labels.empty()) {
    const LabelWord* label = find_label(own.labels, example.target);
    if (label == nullptr) {
      row.fail(str("label \"", example.target, "\"; expected ", expected_labels(own.labels)));
    }
    example.target = label->word;
  }
  if (own.references.empty()) example.references = {example.target};
  if (is_numeric(own) && !parse_number(example.target)) {
    row.fail(str("target \"", example.target, "\"; expected a number, for pearson and spearman"));
  }
}

Examples load_examples(const OwnTask& own, const fs::path& data, std::string_view split) {
  check_split(split);
  const fs::path path = find_file(own, data, split);
  const auto row = open_rows(own, path, needed_columns(own, split));
  const Texts outputs = output_columns(own);
  Examples examples;
  UniqueIds ids;
  while (row->next()) {
    TaskExample example;
    example.id = own.id.empty() ? std::to_string(examples.size()) : row->text(own.id);
    ids.add(example.id, [&](const std::string& message) { row->fail(message); });
    example.input =
        fill_template(own.prompt, [&](const std::string& column) { return row->text(column); });
    if (std::all_of(outputs.begin(), outputs.end(),
                    [&](const std::string& column) { return row->has(column); })) {
      set_output(own, *row, example);
    }
    examples.push_back(std::move(example));
  }
  if (examples.empty()) {
    throw UserError(path.string(), "has no examples; expected at least one row");
  }
  return examples;
}

std::string postprocess(const OwnTask& own, const std::string& output) {
  const std::string text(trim(output));
  if (!own.labels.empty() && find_word(own.labels, text) == nullptr) return "";
  if (is_numeric(own) && !parse_number(text)) return "";
  return text;
}

// What is no number counts as -1, as in T5's STS-B.
std::vector<double> numbers(const Texts& texts) {
  std::vector<double> out;
  for (const auto& text : texts) out.push_back(parse_number(text).value_or(-1.0));
  return out;
}

Metrics score(const OwnTask& own, const Texts& predictions, const Examples& examples) {
  check_scorable(own.name, predictions, examples);
  Texts references;
  std::vector<Texts> answers;
  Texts words;
  for (const auto& example : examples) {
    references.push_back(example.references.front());
    answers.push_back(example.references);
  }
  for (const auto& label : own.labels) words.push_back(label.word);
  const std::map<std::string, std::function<double()>> known = {
      {"accuracy", [&] { return accuracy(predictions, references); }},
      {"f1", [&] { return f1(predictions, references, own.positive); }},
      {"f1_macro", [&] { return f1_macro(predictions, references, words); }},
      {"matthews_correlation", [&] { return matthews_correlation(predictions, references); }},
      {"pearson", [&] { return pearson(numbers(predictions), numbers(references)); }},
      {"spearman", [&] { return spearman(numbers(predictions), numbers(references)); }},
      {"exact_match", [&] { return squad_exact_match(predictions, answers); }},
      {"word_f1", [&] { return squad_f1(predictions, answers); }},
  };
  Metrics metrics;
  for (const auto& metric : own.metrics) metrics[metric] = known.at(metric)();
  return metrics;
}

void write_predictions(const OwnTask& own, const fs::path& path, const Texts& predictions,
                       const Examples& examples) {
  check_paired(predictions, examples);
  std::string text;
  for (size_t i = 0; i < predictions.size(); ++i) {
    std::string prediction = predictions[i];
    if (!own.labels.empty() && !prediction.empty()) {
      const LabelWord* label = find_word(own.labels, prediction);
      if (label == nullptr) {
        throw std::invalid_argument(
            str(own.name, ": prediction \"", prediction, "\" is not post-processed"));
      }
      prediction = label->official;
    }
    const nlohmann::ordered_json line = {{"id", examples[i].id}, {"prediction", prediction}};
    // What is no UTF-8 (a model's lone byte token) is replaced: the file has to be JSON.
    text += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  write_file_atomic(path, text);
}

Texts read_predictions(const OwnTask& own, const fs::path& path, const Examples& examples) {
  JsonLinesReader reader(path);
  std::vector<PredictionEntry> entries;
  while (const auto row = reader.next()) {
    std::string prediction = row->scalar("prediction");
    if (!own.labels.empty() && !prediction.empty()) {
      const LabelWord* label = find_label(own.labels, prediction);
      if (label == nullptr) {
        row->fail(str("prediction \"", prediction, "\"; expected ", expected_labels(own.labels)));
      }
      prediction = label->word;
    } else if (is_numeric(own) && !prediction.empty() && !parse_number(prediction)) {
      row->fail(str("prediction \"", prediction, "\"; expected a number"));
    }
    entries.push_back({row->scalar("id"), std::move(prediction), row->line()});
  }
  return order_predictions(path, std::move(entries), examples);
}

}  // namespace

bool is_own_task(std::string_view name) {
  return name.ends_with(".toml");
}

bool is_numeric(const OwnTask& task) {
  return std::any_of(task.metrics.begin(), task.metrics.end(), [](const std::string& metric) {
    return metric == "pearson" || metric == "spearman";
  });
}

Task make_own_task(const OwnTask& description) {
  // The functions share what the file says.
  const auto own = std::make_shared<const OwnTask>(description);
  Task task;
  task.name = own->name;
  task.best_metric = own->best_metric;
  task.submission_file = name_in_files(task) + ".jsonl";
  task.input_length = own->input_length;
  task.target_length = own->target_length;
  for (const auto& label : own->labels) task.labels.push_back(label.word);
  task.load = [own](const fs::path& data, std::string_view split) {
    return load_examples(*own, data, split);
  };
  task.postprocess = [own](const std::string& output, const TaskExample&) {
    return postprocess(*own, output);
  };
  task.score = [own](const Texts& predictions, const Examples& examples) {
    return score(*own, predictions, examples);
  };
  task.write_predictions = [own](const fs::path& path, const Texts& predictions,
                                 const Examples& examples) {
    write_predictions(*own, path, predictions, examples);
  };
  task.read_predictions = [own](const fs::path& path, const Examples& examples) {
    return read_predictions(*own, path, examples);
  };
  return task;
}

}  // namespace altup
