// SuperGLUE (Wang et al. 2019) as text to text: the tasks with one example a line whose answer is a
// label word, as a table (classification.h). MultiRC, ReCoRD and WSC have files of their own.
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/superglue_files.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

struct FlatTask {
  Classification task;
  LabelType label_type = LabelType::kText;
  std::string only_file = "";  // of the diagnostic sets, which have no splits
};

Classification entailment(const std::string& name, const std::string& directory) {
  return {.name = "superglue/" + name,
          .directory = directory,
          .prompt = "rte",
          .texts = {{"hypothesis", "hypothesis"}, {"premise", "premise"}},
          .label_field = "label",
          .labels = {{"entailment", "entailment"}, {"not_entailment", "not_entailment"}},
          .scoring = Scoring::kAccuracy};
}

FlatTask boolq() {
  return {.task = {.name = "superglue/boolq",
                   .directory = "BoolQ",
                   .prompt = "boolq",
                   .texts = {{"passage", "passage"}, {"question", "question"}},
                   .label_field = "label",
                   .labels = {{"false", "False"}, {"true", "True"}},
                   .scoring = Scoring::kAccuracy}};
}

FlatTask cb() {
  return {.task = {.name = "superglue/cb",
                   .directory = "CB",
                   .prompt = "cb",
                   .texts = {{"hypothesis", "hypothesis"}, {"premise", "premise"}},
                   .label_field = "label",
                   .labels = {{"entailment", "entailment"},
                              {"contradiction", "contradiction"},
                              {"neutral", "neutral"}},
                   .scoring = Scoring::kF1Macro}};
}

FlatTask copa() {
  return {.task = {.name = "superglue/copa",
                   .directory = "COPA",
                   .prompt = "copa",
                   .texts = {{"choice1", "choice1"},
                             {"choice2", "choice2"},
                             {"premise", "premise"},
                             {"question", "question"}},
                   .label_field = "label",
                   .labels = {{"0", "choice1"}, {"1", "choice2"}},
                   .scoring = Scoring::kAccuracy},
          .label_type = LabelType::kInteger};
}

FlatTask wic() {
  return {
      .task = {.name = "superglue/wic",
               .directory = "WiC",
               .prompt = "wic",
               .texts = {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}, {"word", "word"}},
               .label_field = "label",
               .labels = {{"false", "False"}, {"true", "True"}},
               .scoring = Scoring::kAccuracy}};
}

// The diagnostic sets are scored with a model of RTE, so they have its prompt.
FlatTask axb() {
  FlatTask flat = {.task = entailment("axb", "AX-b"), .only_file = "AX-b.jsonl"};
  flat.task.texts = {{"sentence2", "hypothesis"}, {"sentence1", "premise"}};
  flat.task.scoring = Scoring::kMatthews;
  return flat;
}

FlatTask axg() {
  FlatTask flat = {.task = entailment("axg", "AX-g"), .only_file = "AX-g.jsonl"};
  flat.task.scoring = Scoring::kGenderParity;
  return flat;
}

TaskExample make_example(const Classification& task, const JsonValue& record,
                         std::string_view split) {
  TaskExample example;
  example.id = std::to_string(record.integer("idx"));
  example.input = task.prompt;
  for (const auto& text : task.texts)
    append_text(example.input, text.key, record.text(text.source));
  set_json_label(task, record, split, example);
  return example;
}

// Winogender: each two lines are one sentence with a pronoun of either gender, under the same
// hypothesis.
void group_pairs(const fs::path& path, std::vector<TaskExample>& examples,
                 const std::vector<std::string>& hypotheses) {
  for (size_t i = 0; i < examples.size(); ++i) {
    const size_t first = i / 2 * 2;
    if (first + 1 >= examples.size() || hypotheses[first] != hypotheses[first + 1]) {
      throw UserError(path.string(), str("the example with idx ", examples[first].id,
                                         " has no partner with its hypothesis behind it; expected "
                                         "AX-g's order, the two of a pair one after the other"));
    }
    examples[i].group = examples[first].id;
  }
}

std::vector<TaskExample> load_examples(const FlatTask& flat, const fs::path& data,
                                       std::string_view split) {
  const fs::path path = find_superglue_file(flat.task.directory, data, split, flat.only_file);
  std::vector<std::string> hypotheses;
  auto examples = load_records(path, [&](const JsonValue& record, std::vector<TaskExample>& list) {
    list.push_back(make_example(flat.task, record, split));
    hypotheses.push_back(record.text(flat.task.texts.front().source));
  });
  if (flat.task.scoring == Scoring::kGenderParity) group_pairs(path, examples, hypotheses);
  return examples;
}

Task make_flat_task(const FlatTask& flat) {
  Task task = make_label_task(flat.task);
  task.submission_file = flat.task.directory + ".jsonl";
  task.evaluation_only = !flat.only_file.empty();  // a diagnostic set is one file
  task.load = [&flat](const fs::path& data, std::string_view split) {
    return load_examples(flat, data, split);
  };
  use_flat_predictions(task, flat.task, flat.label_type);
  return task;
}

}  // namespace

void add_superglue_tasks(std::vector<Task>& tasks) {
  // The table lives as long as the program, so the functions may hold on to their row.
  static const std::vector<FlatTask> table = {
      boolq(), cb(), copa(), {.task = entailment("rte", "RTE")}, wic(), axb(), axg()};
  for (const auto& flat : table) tasks.push_back(make_flat_task(flat));
  tasks.push_back(make_superglue_multirc());
  tasks.push_back(make_superglue_record());
  tasks.push_back(make_superglue_wsc());
}

}  // namespace altup
