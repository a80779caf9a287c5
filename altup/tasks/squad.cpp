// SQuAD v1.1 (Rajpurkar et al. 2016) as text to text:
//
//   question: <question> context: <passage>  ->  <first answer>
//
// in T5's spelling, which sets a space around every punctuation mark. The references stay as the
// file has them, and what the model says is traced back to the passage before it is scored, so that
// figures are those of the official scorer.
#include <unordered_set>

#include "altup/tasks/answer_file.h"
#include "altup/tasks/answer_text.h"
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/json_file.h"
#include "altup/tasks/metrics.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

// Runs of white space become one space where T5 joins the parts, too.
std::string make_input(const std::string& question, const std::string& context) {
  return collapse_spaces(
      str("question: ", pad_punctuation(question), " context: ", pad_punctuation(context)));
}

TaskExample make_example(const JsonNode& question, const std::string& context) {
  TaskExample example;
  example.id = question.at("id").text();
  example.input = make_input(question.at("question").text(), context);
  example.context = context;
  if (question.has("answers")) {
    for (const JsonNode& answer : question.at("answers").elements()) {
      example.references.push_back(answer.at("text").text());
    }
  }
  if (!example.references.empty()) example.target = pad_punctuation(example.references.front());
  return example;
}

std::vector<TaskExample> load_examples(const fs::path& data, std::string_view split) {
  check_split(split);
  const JsonFile file(find_data_file(data, "squad", {str(split, "-v1.1.json")}),
                      "the layout of SQuAD v1.1");
  std::vector<TaskExample> examples;
  std::unordered_set<std::string> ids;
  for (const JsonNode& article : file.root().at("data").elements()) {
    for (const JsonNode& paragraph : article.at("paragraphs").elements()) {
      const std::string context = paragraph.at("context").text();
      for (const JsonNode& question : paragraph.at("qas").elements()) {
        if (question.has("is_impossible")) {
          question.at("is_impossible")
              .fail(
                  "\"is_impossible\" makes this a file of SQuAD v2.0, whose unanswerable questions "
                  "have another scorer; expected SQuAD v1.1");
        }
        TaskExample example = make_example(question, context);
        if (split != "test" && example.references.empty()) {
          question.fail(str("question \"", example.id,
                            "\" has no answers; expected at least one in a ", split,
                            " file (only the test split may have none)"));
        }
        if (!ids.insert(example.id).second) {
          question.at("id").fail(
              str("question id \"", example.id, "\" is there twice; expected each id once"));
        }
        examples.push_back(std::move(example));
      }
    }
  }
  if (examples.empty()) {
    throw UserError(file.path().string(), "has no questions; expected at least one");
  }
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

}  // namespace

void add_squad_tasks(std::vector<Task>& tasks) {
  Task task;
  task.name = "squad";
  task.best_metric = std::string("f1");  // GCC 12 warns falsely of a plain "f1" here
  task.submission_file = "squad.json";
  task.load = load_examples;
  task.postprocess = [](const std::string& output, const TaskExample& example) {
    return unpad_answer(output, example.context);
  };
  task.score = score;
  task.write_predictions = write_answer_file;
  task.read_predictions = read_answer_file;
  tasks.push_back(std::move(task));
}

}  // namespace altup
