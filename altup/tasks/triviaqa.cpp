// TriviaQA (Joshi et al. 2017) without its evidence, closed book, as Roberts et al. (2020) give it
// to T5:
//
//   trivia_qa question: <question>  ->  <the answer's Value>
//
// An example is what the official scorer counts: a question or, in the dev and test files of the
// domain "Web", a question with one of its documents. The model sees no document, but the figures
// on those files are means over such pairs, and their prediction files name them.
#include <algorithm>
#include <unordered_set>

#include "altup/tasks/answer_file.h"
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/json_file.h"
#include "altup/tasks/metrics.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

fs::path find_file(const fs::path& data, std::string_view split) {
  const std::string official = split == "test" ? "unfiltered-web-test-without-answers.json"
                                               : str("unfiltered-web-", split, ".json");
  return find_data_file(
      data, "triviaqa",
      {fs::path("triviaqa-unfiltered") / official, official, str("unfiltered-", split, ".json")});
}

void append_texts(const JsonNode& list, std::vector<std::string>& texts) {
  for (const JsonNode& element : list.elements()) texts.push_back(element.text());
}

// The official scorer's answers: the normalised aliases, which are the aliases after normalising,
// and what people answered where the file has that.
std::vector<std::string> accepted_answers(const JsonNode& answer) {
  std::vector<std::string> answers;
  append_texts(
      answer.at(answer.has("NormalizedAliases") || !answer.has("Aliases") ? "NormalizedAliases"
                                                                          : "Aliases"),
      answers);
  if (answer.has("HumanAnswers")) append_texts(answer.at("HumanAnswers"), answers);
  return answers;
}

bool has_flag(const JsonNode& node, const std::string& key) {
  return node.has(key) && node.at(key).boolean();
}

// Names of the question's documents; of a verified file, of the verified ones.
std::vector<std::string> documents_of(const JsonNode& question, bool verified) {
  std::vector<std::string> documents;
  for (const auto* list : {"EntityPages", "SearchResults"}) {
    if (!question.has(list)) continue;
    for (const JsonNode& page : question.at(list).elements()) {
      if (verified && !has_flag(page, "DocPartOfVerifiedEval")) continue;
      documents.push_back(page.at("Filename").text());
    }
  }
  return documents;
}

TaskExample make_example(const JsonNode& question, std::string_view split) {
  TaskExample example;
  example.id = question.at("QuestionId").text();
  example.input = str("trivia_qa question: ", question.at("Question").text());
  if (split == "test" && !question.has("Answer")) return example;
  const JsonNode answer = question.at("Answer");
  example.references = accepted_answers(answer);
  if (!example.references.empty()) {
    example.target = answer.at("Value").text();
  } else if (split != "test") {
    answer.fail(str("question \"", example.id, "\" has no answers; expected at least one in a ",
                    split, " file (only the test split may have none)"));
  }
  return example;
}

struct Question {
  TaskExample example;
  std::vector<std::string> documents;
};

std::vector<Question> read_questions(const JsonNode& root, std::string_view split) {
  const bool verified = has_flag(root, "VerifiedEval");
  std::vector<Question> questions;
  std::unordered_set<std::string> ids;
  for (const JsonNode& node : root.at("Data").elements()) {
    if (verified && !has_flag(node, "QuestionPartOfVerifiedEval")) continue;
    Question question{make_example(node, split), documents_of(node, verified)};
    if (!ids.insert(question.example.id).second) {
      node.at("QuestionId")
          .fail(str("question id \"", question.example.id,
                    "\" is there twice; expected each id once"));
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

// Whether the official scorer counts questions with documents. The unfiltered set is the closed-book
// one: it is scored by question wherever that is done.
bool is_scored_by_document(const JsonFile& file, const std::vector<Question>& questions) {
  const JsonNode root = file.root();
  if (!root.has("Domain") || root.at("Domain").text() != "Web") return false;
  if (file.path().filename().string().starts_with("unfiltered")) return false;
  return std::any_of(questions.begin(), questions.end(),
                     [](const Question& question) { return !question.documents.empty(); });
}

std::vector<TaskExample> load_examples(const fs::path& data, std::string_view split) {
  check_split(split);
  const JsonFile file(find_file(data, split), "the layout of TriviaQA",
                      /*unread=*/{"Description", "DisplayUrl", "Title", "Url"});
  std::vector<Question> questions = read_questions(file.root(), split);
  const bool by_document = split != "train" && is_scored_by_document(file, questions);
  std::vector<TaskExample> examples;
  std::unordered_set<std::string> ids;
  for (Question& question : questions) {
    if (!by_document) {
      examples.push_back(std::move(question.example));
      continue;
    }
    for (const auto& document : question.documents) {
      TaskExample example = question.example;
      example.id += str("--", document);
      if (ids.insert(example.id).second) examples.push_back(std::move(example));
    }
  }
  if (examples.empty()) {
    throw UserError(file.path().string(), "has no questions; expected at least one");
  }
  // Figures of the two are not comparable, and what decides is a detail of the file.
  log_info("triviaqa: scored by question", by_document ? " and document: " : ": ",
           thousands(static_cast<int64_t>(examples.size())));
  return examples;
}

Metrics score(const std::vector<std::string>& predictions,
              const std::vector<TaskExample>& examples) {
  check_scorable("triviaqa", predictions, examples);
  std::vector<std::vector<std::string>> answers;
  for (const auto& example : examples) answers.push_back(example.references);
  return {{"exact_match", triviaqa_exact_match(predictions, answers)},
          {"f1", triviaqa_f1(predictions, answers)}};
}

}  // namespace

void add_triviaqa_tasks(std::vector<Task>& tasks) {
  Task task;
  task.name = "triviaqa";
  task.best_metric = "exact_match";
  task.submission_file = "triviaqa.json";
  task.load = load_examples;
  task.postprocess = [](const std::string& output, const TaskExample&) {
    return std::string(trim(output));
  };
  task.score = score;
  task.write_predictions = write_answer_file;
  task.read_predictions = read_answer_file;
  tasks.push_back(std::move(task));
}

}  // namespace altup
