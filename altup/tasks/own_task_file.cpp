// Reads the TOML file of a user's own task, strictly: a key that is not known, a value of another
// type, and keys that contradict each other are errors with the line.
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "altup/tasks/own_task.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

const Texts& known_keys() {
  static const Texts keys = {"name",         "format",       "header",  "columns",  "train",
                             "dev",          "test",         "id",      "prompt",   "target",
                             "references",   "labels",       "metrics", "positive", "best_metric",
                             "input_length", "target_length"};
  return keys;
}

const Texts& known_metrics() {
  static const Texts metrics = {"accuracy", "f1",       "f1_macro",    "matthews_correlation",
                                "pearson",  "spearman", "exact_match", "word_f1"};
  return metrics;
}

bool contains(const Texts& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

std::string type_name(const toml::node& node) {
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  if (node.is_string()) return "a string";
  if (node.is_integer()) return "an integer";
  if (node.is_floating_point()) return "a number";
  if (node.is_boolean()) return "true or false";
  return "a date or a time";
}

// "expected perhaps prompt" or "expected one of name, format, …".
std::string suggestion(const std::string& word, const Texts& known) {
  const std::string closest = nearest(word, known);
  return str("expected ", closest.empty() ? "one of " + join(known, ", ") : "perhaps " + closest);
}

int64_t line_of(const toml::node& node) {
  return static_cast<int64_t>(node.source().begin.line);
}

// The table [task], whose values are asked for by key and type.
class Section {
 public:
  Section(std::string file, const toml::table& table) : file_(std::move(file)), table_(table) {}

  bool has(const std::string& key) const { return table_.get(key) != nullptr; }
  int64_t line(const std::string& key) const {
    return has(key) ? line_of(*table_.get(key)) : line_of(table_);
  }
  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    throw UserError(file_, line(key), str("task.", key, " ", message));
  }

  // A string that is not empty; "" where the key is not there.
  std::string text(const std::string& key) const {
    if (!has(key)) return {};
    const auto* value = table_.get(key)->as_string();
    if (value == nullptr) refuse(key, *table_.get(key), "a string");
    if (value->get().empty()) fail(key, "is empty; expected a text, or no such key");
    return value->get();
  }
  std::string required_text(const std::string& key, const std::string& expected) const {
    if (!has(key)) fail(key, "is missing; expected " + expected);
    return text(key);
  }
  std::optional<bool> flag(const std::string& key) const {
    if (!has(key)) return {};
    const auto* value = table_.get(key)->as_boolean();
    if (value == nullptr) refuse(key, *table_.get(key), "true or false");
    return value->get();
  }
  int64_t length(const std::string& key, int64_t otherwise) const {
    constexpr int64_t kMost = 1 << 20;
    if (!has(key)) return otherwise;
    const auto* value = table_.get(key)->as_integer();
    if (value == nullptr) refuse(key, *table_.get(key), "a whole number of tokens");
    if (value->get() < 1 || value->get() > kMost) {
      fail(key, str("is ", value->get(), "; expected 1 to ", kMost));
    }
    return value->get();
  }
  // A list of strings that are all different, or a lone string.
  Texts texts(const std::string& key) const {
    if (!has(key)) return {};
    if (table_.get(key)->is_string()) return {text(key)};
    const auto* list = table_.get(key)->as_array();
    if (list == nullptr) refuse(key, *table_.get(key), "a list of strings");
    Texts out;
    for (const auto& element : *list) {
      const auto* value = element.as_string();
      if (value == nullptr) refuse(key, element, "strings in the list");
      if (value->get().empty()) fail(key, "has an empty string in it");
      if (contains(out, value->get())) {
        throw UserError(file_, line_of(element),
                        str("task.", key, " has \"", value->get(), "\" twice"));
      }
      out.push_back(value->get());
    }
    if (out.empty()) fail(key, "is an empty list; expected at least one string");
    return out;
  }
  TextTemplate pattern(const std::string& key) const {
    const std::string value = text(key);
    try {
      return parse_template(value);
    } catch (const UserError& error) {
      fail(key, error.what());
    }
  }
  std::vector<LabelWord> labels() const;

  void refuse_unknown() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (!contains(known_keys(), name)) {
        throw UserError(file_, line_of(node),
                        str("task.", name, " is not known; ", suggestion(name, known_keys())));
      }
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& key, const toml::node& node,
                           const std::string& expected) const {
    throw UserError(file_, line_of(node),
                    str("task.", key, " is ", type_name(node), "; expected ", expected));
  }

  std::string file_;
  const toml::table& table_;
};

std::vector<LabelWord> Section::labels() const {
  if (!has("labels")) return {};
  const auto* table = table_.get("labels")->as_table();
  if (table == nullptr) {
    refuse("labels", *table_.get("labels"), "a table such as { 0 = \"ham\", 1 = \"spam\" }");
  }
  std::vector<LabelWord> out;
  for (const auto& [key, node] : *table) {
    const std::string official(key.str());
    const auto wrong = [&](const std::string& message) {
      throw UserError(file_, line_of(node), str("task.labels.", official, " ", message));
    };
    // TOML counts all that follows [task.labels] to it, also what was meant for [task].
    if (!table->is_inline() && contains(known_keys(), official)) {
      wrong(str("would be a label; expected \"", official,
                "\" above [task.labels] (or the labels as { … } where it is one)"));
    }
    if (const auto* same = find_label(out, official); same != nullptr) {
      wrong(str("is the same label as task.labels.", same->official, "; expected one of the two"));
    }
    const auto* word = node.as_string();
    if (word == nullptr) wrong(str("is ", type_name(node), "; expected the label's word"));
    if (trim(word->get()) != word->get() || word->get().empty()) {
      wrong(str("is \"", word->get(), "\"; expected a word without spaces at its ends"));
    }
    for (const auto& other : out) {
      if (other.word == word->get()) {
        wrong(str("is \"", word->get(), "\", as task.labels.", other.official,
                  " is; expected a word of its own for each label"));
      }
    }
    out.push_back({official, word->get()});
  }
  if (out.size() < 2) fail("labels", "has fewer than two labels; expected all of them");
  return out;
}

// The [task] of a file that has nothing else.
const toml::table& only_section(const std::string& file, const toml::table& root) {
  for (const auto& [key, node] : root) {
    if (key != "task") {
      throw UserError(file, line_of(node),
                      str(key.str(), " is not known here; expected the section [task] and nothing ",
                          "beside it"));
    }
    if (!node.is_table()) {
      throw UserError(file, line_of(node),
                      str("task is ", type_name(node), "; expected a section [task]"));
    }
  }
  const auto* task = root.get("task");
  if (task == nullptr) throw UserError(file, 1, "has no section [task]");
  return *task->as_table();
}

void read_name(const Section& section, const Texts& taken, OwnTask& task) {
  task.name = section.required_text("name", "what the log and the metrics call the task");
  const bool plain = std::all_of(task.name.begin(), task.name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '/';
  });
  if (!plain) {
    section.fail("name", str("is \"", task.name, "\"; expected ASCII letters, digits and _ - . /"));
  }
  // It becomes a part of files' names, and what only looks like a path has no other use.
  const auto parts = split(task.name, '/');
  if (contains(parts, "") || contains(parts, ".") || contains(parts, "..")) {
    section.fail("name", str("is \"", task.name, "\"; expected a name on each side of a /, and ",
                             "none that is . or .."));
  }
  const Texts own_names = {"train", "validation", "average", "glue", "superglue"};
  if (contains(taken, task.name) || contains(own_names, task.name)) {
    section.fail("name", str("is \"", task.name,
                             "\", which the program uses itself; expected another name"));
  }
}

void read_files(const Section& section, OwnTask& task) {
  const std::string format = section.required_text("format", "\"tsv\" or \"jsonl\"");
  if (format != "tsv" && format != "jsonl") {
    section.fail("format", str("is \"", format, "\"; expected \"tsv\" or \"jsonl\""));
  }
  task.format = format == "tsv" ? RowFormat::kTsv : RowFormat::kJsonLines;
  task.columns = section.texts("columns");
  const auto header = section.flag("header");
  for (const auto* key : {"header", "columns"}) {
    if (task.format == RowFormat::kJsonLines && section.has(key)) {
      section.fail(key, "is for format = \"tsv\"; the objects of JSON lines name their fields");
    }
  }
  if (header.value_or(false) && !task.columns.empty()) {
    section.fail("columns",
                 "names the columns, and header = true says that the file does; expected "
                 "one of the two");
  }
  if (header == false && task.columns.empty()) {
    section.fail("header", "is false; expected the names of the columns, columns = [\"…\"]");
  }
  for (const auto* split : {"train", "dev", "test"}) {
    if (section.has(split)) task.files[split] = section.text(split);
  }
  if (task.files.empty()) section.fail("dev", "is missing; expected a file for train, dev or test");
}

void read_texts(const Section& section, OwnTask& task) {
  section.required_text("prompt", "the model's input, such as \"spam message: {text}\"");
  task.id = section.text("id");
  task.prompt = section.pattern("prompt");
  task.target = section.pattern("target");
  task.references = section.text("references");
  task.labels = section.labels();
  if (template_columns(task.prompt).empty()) {
    section.fail("prompt", "names no column, so that all inputs are the same; expected {column}");
  }
  if (section.has("target") && template_columns(task.target).empty()) {
    section.fail("target", "names no column, so that all targets are the same; expected {column}");
  }
  if (!section.has("target") && !section.has("references")) {
    section.fail("target", "is missing; expected the right output, such as \"{label}\"");
  }
  if (section.has("references") && section.has("labels")) {
    section.fail("references", "is for free text; expected no task.labels beside it");
  }
  if (task.columns.empty()) return;
  const auto check = [&](const std::string& key, const std::string& column) {
    if (contains(task.columns, column)) return;
    section.fail(key, str("names the column \"", column, "\"; ", suggestion(column, task.columns)));
  };
  for (const auto& column : template_columns(task.prompt)) check("prompt", column);
  for (const auto& column : template_columns(task.target)) check("target", column);
  if (!task.id.empty()) check("id", task.id);
  if (!task.references.empty()) check("references", task.references);
}

void check_positive(const Section& section, const OwnTask& task) {
  if (!contains(task.metrics, "f1")) {
    if (section.has("positive")) {
      section.fail("positive", "is for the metric \"f1\"; expected that in task.metrics");
    }
    return;
  }
  Texts words;
  for (const auto& label : task.labels) words.push_back(label.word);
  if (task.positive.empty()) {
    section.fail("positive",
                 "is missing; expected the label word that f1 is of, one of " + join(words, ", "));
  }
  if (!contains(words, task.positive)) {
    section.fail("positive", str("is \"", task.positive, "\"; expected a label word, one of ",
                                 join(words, ", ")));
  }
}

void read_metrics(const Section& section, OwnTask& task) {
  task.metrics = section.texts("metrics");
  if (task.metrics.empty()) {
    section.fail("metrics", "is missing; expected some of " + join(known_metrics(), ", "));
  }
  for (const auto& metric : task.metrics) {
    const auto refuse = [&](const std::string& why) {
      section.fail("metrics", str("has \"", metric, "\", which ", why));
    };
    if (!contains(known_metrics(), metric)) {
      refuse(str("is not known; ", suggestion(metric, known_metrics())));
    }
    const bool of_labels = metric == "f1" || metric == "f1_macro";
    const bool of_numbers = metric == "pearson" || metric == "spearman";
    const bool of_answers = metric == "exact_match" || metric == "word_f1";
    if (of_labels && task.labels.empty()) {
      refuse("is of labels; expected task.labels, or word_f1 for free text");
    }
    if (of_numbers && !task.labels.empty()) refuse("is of numbers; expected no task.labels");
    if (!of_answers && !task.references.empty()) {
      refuse("takes one right output; expected exact_match or word_f1 beside task.references");
    }
  }
  task.positive = section.text("positive");
  check_positive(section, task);
  task.best_metric = section.has("best_metric") ? section.text("best_metric") : task.metrics[0];
  if (!contains(task.metrics, task.best_metric)) {
    section.fail("best_metric", str("is \"", task.best_metric, "\"; expected one of task.metrics: ",
                                    join(task.metrics, ", ")));
  }
}

}  // namespace

OwnTask read_own_task(const fs::path& path, const Texts& taken) {
  const std::string file = path.string();
  const std::string bytes = read_file(path);
  toml::table root;
  try {
    root = toml::parse(bytes, file);
  } catch (const toml::parse_error& error) {
    throw UserError(file, static_cast<int64_t>(error.source().begin.line),
                    str("broken TOML: ", error.description()));
  }
  const Section section(file, only_section(file, root));
  section.refuse_unknown();
  OwnTask task;
  task.file = file;
  for (const auto& key : known_keys()) {
    if (section.has(key)) task.lines[key] = section.line(key);
  }
  read_name(section, taken, task);
  read_files(section, task);
  read_texts(section, task);
  read_metrics(section, task);
  task.input_length = section.length("input_length", task.input_length);
  task.target_length = section.length("target_length", task.target_length);
  return task;
}

}  // namespace altup
