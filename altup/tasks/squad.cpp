// SQuAD v1.1 (Rajpurkar et al. 2016) as text to text:
//
//   question: <question> context: <passage>  ->  <first answer>
//
// in T5's spelling, which sets a space around every punctuation mark. The references stay as the
// file has them, and what the model says is traced back to the passage before it is scored, so that
// figures are those of the official scorer.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>

#include "altup/tasks/answer_text.h"
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/metrics.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json parse_json(const fs::path& path, const std::string& text,
                const json::parser_callback_t& callback = nullptr) {
  try {
    return json::parse(text, callback);
  } catch (const json::parse_error& error) {
    // nlohmann counts bytes from 1; the offending one is the last that it read.
    const size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    throw UserError(path.string(), line_of(text, offset),
                    str("broken JSON at byte ", error.byte, "; expected one JSON object in UTF-8"));
  }
}

// A value inside the file together with the way to it, so that an error can say where it is:
// "data[0].paragraphs[3].context".
class Node {
 public:
  Node(const fs::path& path, const json& value) : path_(path), value_(value) {}

  bool has(const std::string& key) const { return value_.is_object() && value_.contains(key); }
  Node at(const std::string& key) const {
    if (!has(key)) fail(str("has no \"", key, "\""));
    return Node(path_, value_.at(key), where_.empty() ? key : str(where_, ".", key));
  }
  std::vector<Node> elements() const {
    if (!value_.is_array()) fail("is not a list");
    std::vector<Node> nodes;
    for (size_t i = 0; i < value_.size(); ++i)
      nodes.push_back(Node(path_, value_[i], str(where_, "[", i, "]")));
    return nodes;
  }
  std::string text() const {
    if (!value_.is_string()) fail("is not a string");
    return value_.get<std::string>();
  }

 private:
  Node(const fs::path& path, const json& value, std::string where)
      : path_(path), value_(value), where_(std::move(where)) {}
  [[noreturn]] void fail(const std::string& what) const {
    throw UserError(path_.string(), str(where_.empty() ? "the file" : where_, " ", what,
                                        "; expected the layout of SQuAD v1.1"));
  }

  const fs::path& path_;
  const json& value_;
  std::string where_;
};

// Runs of white space become one space where T5 joins the parts, too.
std::string make_input(const std::string& question, const std::string& context) {
  return collapse_spaces(
      str("question: ", pad_punctuation(question), " context: ", pad_punctuation(context)));
}

TaskExample make_example(const Node& question, const std::string& context) {
  TaskExample example;
  example.id = question.at("id").text();
  example.input = make_input(question.at("question").text(), context);
  example.context = context;
  if (question.has("answers")) {
    for (const Node& answer : question.at("answers").elements()) {
      example.references.push_back(answer.at("text").text());
    }
  }
  if (!example.references.empty()) example.target = pad_punctuation(example.references.front());
  return example;
}

std::vector<TaskExample> load_examples(const fs::path& data, std::string_view split) {
  check_split(split);
  const fs::path path = find_data_file(data, {str(split, "-v1.1.json")});
  const json root = parse_json(path, read_file(path));
  std::vector<TaskExample> examples;
  std::unordered_set<std::string> ids;
  for (const Node& article : Node(path, root).at("data").elements()) {
    for (const Node& paragraph : article.at("paragraphs").elements()) {
      const std::string context = paragraph.at("context").text();
      for (const Node& question : paragraph.at("qas").elements()) {
        TaskExample example = make_example(question, context);
        if (split != "test" && example.references.empty()) {
          throw UserError(path.string(), str("question \"", example.id,
                                             "\" has no answers; expected at least one in a ",
                                             split, " file (only the test split may have none)"));
        }
        if (!ids.insert(example.id).second) {
          throw UserError(path.string(), str("question id \"", example.id,
                                             "\" is there twice; expected each id once"));
        }
        examples.push_back(std::move(example));
      }
    }
  }
  if (examples.empty()) throw UserError(path.string(), "has no questions; expected at least one");
  return examples;
}

Metrics score(const std::vector<std::string>& predictions,
              const std::vector<TaskExample>& examples) {
  check_scorable("squad", predictions, examples);
  std::vector<std::vector<std::string>> answers;
  for (const auto& example : examples) answers.push_back(example.references);
  return {{"exact_match", squad_exact_match(predictions, answers)},
          {"f1", squad_f1(predictions, answers)}};
}

void write_predictions(const fs::path& path, const std::vector<std::string>& predictions,
                       const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  const auto quoted = [](const std::string& text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  };
  std::vector<std::string> lines;
  for (size_t i = 0; i < predictions.size(); ++i) {
    lines.push_back(str("  ", quoted(examples[i].id), ": ", quoted(predictions[i])));
  }
  write_file_atomic(path, str("{\n", join(lines, ",\n"), "\n}\n"));
}

// The lines on which the keys of an object stand, asked for in the order of the file. A key that is
// written with escapes is not found; from there on the lines are 0, not known.
class KeyLines {
 public:
  explicit KeyLines(std::string_view text) : text_(text) {}

  int64_t next(const std::string& key) {
    const std::string quoted = json(key).dump();
    for (size_t at = text_.find(quoted, position_); at != std::string_view::npos;
         at = text_.find(quoted, at + 1)) {
      const size_t end = at + quoted.size();
      const size_t after = text_.find_first_not_of(" \t\r\n", end);
      if (after == std::string_view::npos || text_[after] != ':')
        continue;  // an answer that reads like the key
      line_ += std::count(text_.begin() + static_cast<int64_t>(position_),
                          text_.begin() + static_cast<int64_t>(at), '\n');
      position_ = end;
      return line_;
    }
    text_ = {};
    return 0;
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
  int64_t line_ = 1;
};

std::vector<std::string> read_predictions(const fs::path& path,
                                          const std::vector<TaskExample>& examples) {
  const std::string text = read_file(path);
  // A parsed object keeps one value for each key, so the keys are counted while they are read.
  std::vector<std::string> keys;
  const json root = parse_json(path, text, [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key) keys.push_back(parsed.get<std::string>());
    return true;
  });
  if (!root.is_object()) {
    throw UserError(path.string(), 1,
                    "is not a JSON object; expected {\"question id\": \"answer\", …}");
  }
  std::vector<PredictionEntry> entries;
  KeyLines lines(text);
  for (const auto& key : keys) {
    const int64_t line = lines.next(key);
    const json& answer = root.at(key);
    if (!answer.is_string()) {
      throw UserError(path.string(), line,
                      str("the answer of \"", key, "\" is not a string; expected a text"));
    }
    entries.push_back({key, answer.get<std::string>(), line});
  }
  return order_predictions(path, std::move(entries), examples);
}

}  // namespace

void add_squad_tasks(std::vector<Task>& tasks) {
  Task task;
  task.name = "squad";
  task.best_metric = "f1";
  task.load = load_examples;
  task.postprocess = [](const std::string& output, const TaskExample& example) {
    return unpad_answer(output, example.context);
  };
  task.score = score;
  task.write_predictions = write_predictions;
  task.read_predictions = read_predictions;
  tasks.push_back(std::move(task));
}

}  // namespace altup
