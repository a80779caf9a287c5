// GLUE (Wang et al. 2019) as text to text. The tasks differ in a table only: where the sentences
// and the label stand in the official files, T5's names for them, its label words, and the metric
// (classification.h). How the files are read and written is in glue_files.h.
#include "altup/tasks/benchmarks.h"
#include "altup/tasks/glue_files.h"
#include "altup/tasks/pronouns.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

std::vector<LabelWord> entailment_labels() {
  return {{"entailment", "entailment"}, {"not_entailment", "not_entailment"}};
}

std::vector<LabelWord> three_way_labels() {
  return {{"entailment", "entailment"}, {"neutral", "neutral"}, {"contradiction", "contradiction"}};
}

GlueTask single_sentence(const std::string& name, const std::string& directory,
                         std::vector<LabelWord> labels, Scoring scoring) {
  return {.task = {.name = "glue/" + name,
                   .directory = directory,
                   .prompt = name,
                   .texts = {{"sentence", "sentence"}},
                   .label_field = "label",
                   .labels = std::move(labels),
                   .scoring = scoring}};
}

// MNLI's two halves, and the diagnostic set that is made for models trained on it.
GlueTask mnli(const std::string& name, const std::string& suffix, const std::string& submission) {
  return {.task = {.name = "glue/" + name,
                   .directory = "MNLI",
                   .prompt = "mnli",
                   .texts = {{"sentence2", "hypothesis"}, {"sentence1", "premise"}},
                   .label_field = "gold_label",
                   .labels = three_way_labels(),
                   .scoring = Scoring::kAccuracy},
          .dev_files = {"dev_" + suffix + ".tsv"},
          .test_files = {"test_" + suffix + ".tsv"},
          .no_verdict = "-",
          .submission = submission};
}

GlueTask diagnostic() {
  GlueTask glue = mnli("ax", "", "AX");
  glue.evaluation_only = true;
  glue.task.directory = "AX";
  glue.task.texts = {{"Hypothesis", "hypothesis", "sentence2"},
                     {"Premise", "premise", "sentence1"}};
  glue.task.label_field = "Label";
  glue.task.scoring = Scoring::kMatthews;
  glue.train_files = {};
  glue.dev_files = {"diagnostic-full.tsv"};
  glue.test_files = {"diagnostic.tsv", "AX.tsv"};
  glue.other_directories = {"diagnostic", "MNLI"};
  return glue;
}

std::vector<GlueTask> make_glue_tasks() {
  GlueTask cola = single_sentence("cola", "CoLA", {{"0", "unacceptable"}, {"1", "acceptable"}},
                                  Scoring::kMatthews);
  cola.implied_header = {"source", "label", "original_label", "sentence"};
  GlueTask mismatched = mnli("mnli_mismatched", "mismatched", "MNLI-mm");
  mismatched.evaluation_only = true;
  return {
      cola,
      single_sentence("sst2", "SST-2", {{"0", "negative"}, {"1", "positive"}}, Scoring::kAccuracy),
      {.task = {.name = "glue/mrpc",
                .directory = "MRPC",
                .prompt = "mrpc",
                .texts = {{"#1 String", "sentence1"}, {"#2 String", "sentence2"}},
                .label_field = "Quality",
                .labels = {{"0", "not_equivalent"}, {"1", "equivalent"}},
                .scoring = Scoring::kF1},
       .train_files = {"train.tsv", "msr_paraphrase_train.txt"},
       .dev_files = {"dev.tsv", "msr_paraphrase_train.txt"},
       .test_files = {"test.tsv", "msr_paraphrase_test.txt"},
       .joint_file = "msr_paraphrase_train.txt"},
      {.task = {.name = "glue/stsb",
                .directory = "STS-B",
                .prompt = "stsb",
                .texts = {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}},
                .label_field = "score",
                .labels = {},
                .scoring = Scoring::kCorrelation}},
      {.task = {.name = "glue/qqp",
                .directory = "QQP",
                .prompt = "qqp",
                .texts = {{"question1", "question1"}, {"question2", "question2"}},
                .label_field = "is_duplicate",
                .labels = {{"0", "not_duplicate"}, {"1", "duplicate"}},
                .scoring = Scoring::kF1},
       .test_index = "id",
       .skip_torn_rows = true},
      mnli("mnli", "matched", "MNLI-m"),
      std::move(mismatched),
      {.task = {.name = "glue/qnli",
                .directory = "QNLI",
                .prompt = "qnli",
                .texts = {{"question", "question"}, {"sentence", "sentence"}},
                .label_field = "label",
                .labels = entailment_labels(),
                .scoring = Scoring::kAccuracy}},
      {.task = {.name = "glue/rte",
                .directory = "RTE",
                .prompt = "rte",
                .texts = {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}},
                .label_field = "label",
                .labels = entailment_labels(),
                .scoring = Scoring::kAccuracy}},
      {.task = {.name = "glue/wnli",
                .directory = "WNLI",
                .prompt = "wsc:",
                .texts = {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}},
                .label_field = "label",
                .labels = {{"0", "not_entailment"}, {"1", "entailment"}},
                .scoring = Scoring::kAccuracy},
       .evaluation_only = true,
       .marks_pronoun = true},
      diagnostic(),
  };
}

std::string postprocess_wnli(const std::string& output, const TaskExample& example) {
  const auto named = names_candidate(output, example.context);
  if (!named) return "";
  return *named ? "entailment" : "not_entailment";
}

}  // namespace

void add_glue_tasks(std::vector<Task>& tasks) {
  // The table lives as long as the program, so the functions may hold on to their row.
  static const std::vector<GlueTask> table = make_glue_tasks();
  for (const GlueTask& glue : table) {
    Task task = make_label_task(glue.task);
    task.submission_file =
        str(glue.submission.empty() ? glue.task.directory : glue.submission, ".tsv");
    task.evaluation_only = glue.evaluation_only;
    if (glue.marks_pronoun) task.postprocess = postprocess_wnli;
    task.load = [&glue](const fs::path& data, std::string_view split) {
      return load_glue(glue, data, split);
    };
    task.write_predictions = [&glue](const fs::path& path, const auto& predictions,
                                     const auto& examples) {
      write_glue_predictions(glue, path, predictions, examples);
    };
    task.read_predictions = [&glue](const fs::path& path, const auto& examples) {
      return read_glue_predictions(glue, path, examples);
    };
    tasks.push_back(std::move(task));
  }
}

}  // namespace altup
