// MultiRC: a paragraph has questions, a question has answers, and each answer is true or false on
// its own. One example an answer:
//
//   multirc question: <question> answer: <answer> paragraph: <paragraph>  ->  True
//
// with the mark-up of some paragraphs removed as T5 does. Files nest in the same way, those of
// predictions, too; an id is "paragraph-question-answer", a group "paragraph-question".
#include "altup/tasks/superglue_files.h"
#include "altup/tasks/task_files.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

const Classification& multirc() {
  static const Classification task = {.name = "superglue/multirc",
                                      .directory = "MultiRC",
                                      .prompt = "multirc",
                                      .texts = {},
                                      .label_field = "label",
                                      .labels = {{"0", "False"}, {"1", "True"}},
                                      .scoring = Scoring::kF1OfAnswers};
  return task;
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string without_markup(std::string text) {
  text = replace_all(std::move(text), "<br>", " ");
  text = replace_all(std::move(text), "<b>", "");
  return replace_all(std::move(text), "</b>", "");
}

// Calls visit(question, answer, group, id) for every answer of a line.
template <class Visit>
void each_answer(const JsonValue& record, const Visit& visit) {
  const int64_t paragraph = record.integer("idx");
  for (const JsonValue& question : record.array("passage.questions")) {
    const std::string group = str(paragraph, "-", question.integer("idx"));
    for (const JsonValue& answer : question.array("answers")) {
      visit(question, answer, group, str(group, "-", answer.integer("idx")));
    }
  }
}

std::vector<TaskExample> load_examples(const fs::path& data, std::string_view split) {
  const fs::path path = find_superglue_file(multirc().directory, data, split);
  return load_records(path, [&](const JsonValue& record, std::vector<TaskExample>& examples) {
    const std::string paragraph = record.text("passage.text");
    each_answer(record, [&](const JsonValue& question, const JsonValue& answer,
                            const std::string& group, const std::string& id) {
      TaskExample example;
      example.id = id;
      example.group = group;
      std::string input = multirc().prompt;
      append_text(input, "question", question.text("question"));
      append_text(input, "answer", answer.text("text"));
      append_text(input, "paragraph", paragraph);
      example.input = without_markup(std::move(input));
      set_json_label(multirc(), answer, split, example);
      examples.push_back(std::move(example));
    });
  });
}

// {"idx": paragraph, "passage": {"questions": [{"idx": question, "answers": [{"idx": answer,
// "label": 1}, …]}, …]}}, a line a paragraph.
void write_predictions(const fs::path& path, const std::vector<std::string>& predictions,
                       const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  std::string text;
  std::string paragraph;
  std::string group;
  int64_t empty = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const std::vector<std::string> ids = split(examples[i].id, '-');
    const bool same_paragraph = i > 0 && ids[0] == paragraph;
    const bool same_question = same_paragraph && examples[i].group == group;
    if (!same_paragraph) {
      if (i > 0) text += "]}]}}\n";
      text += str("{\"idx\": ", ids[0], ", \"passage\": {\"questions\": [");
    }
    if (same_question) {
      text += ", ";
    } else {
      text += str(same_paragraph ? "]}, " : "", "{\"idx\": ", ids[1], ", \"answers\": [");
    }
    text += str("{\"idx\": ", ids[2],
                ", \"label\": ", json_label(multirc(), LabelType::kInteger, predictions[i]), "}");
    empty += predictions[i].empty() ? 1 : 0;
    paragraph = ids[0];
    group = examples[i].group;
  }
  if (!examples.empty()) text += "]}]}}\n";
  write_file_atomic(path, text);
  warn_of_empty(path.string(), empty, predictions.size());
}

std::vector<std::string> read_predictions(const fs::path& path,
                                          const std::vector<TaskExample>& examples) {
  std::vector<PredictionEntry> entries;
  JsonLinesReader reader(path);
  while (const auto record = reader.next()) {
    each_answer(*record, [&](const JsonValue&, const JsonValue& answer, const std::string&,
                             const std::string& id) {
      entries.push_back({id, read_json_label(multirc(), answer), reader.line()});
    });
  }
  return order_predictions(path, std::move(entries), examples);
}

}  // namespace

Task make_superglue_multirc() {
  Task task = make_label_task(multirc());
  task.submission_file = "MultiRC.jsonl";
  task.load = load_examples;
  task.write_predictions = write_predictions;
  task.read_predictions = read_predictions;
  return task;
}

}  // namespace altup
