// SuperGLUE's WSC by pronoun marking (pronouns.h), as T5 does it:
//
//   wsc: <text with the *pronoun* between stars>  ->  <what the pronoun stands for>
//
// An example asks whether the pronoun stands for a candidate. The prediction is True where the
// model names that candidate. Training has the True examples alone: the others do not say what the
// pronoun does stand for.
#include "altup/tasks/pronouns.h"
#include "altup/tasks/superglue_files.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

const Classification& wsc() {
  static const Classification task = {.name = "superglue/wsc",
                                      .directory = "WSC",
                                      .prompt = "wsc:",
                                      .texts = {},
                                      .label_field = "label",
                                      .labels = {{"False", "False"}, {"True", "True"}},
                                      .scoring = Scoring::kAccuracy};
  return task;
}

TaskExample make_example(const JsonValue& record, std::string_view split) {
  const std::string text = record.text("text");
  const std::string pronoun = record.text("target.span2_text");
  const int64_t place = record.integer("target.span2_index");
  const auto marked = mark_pronoun(text, pronoun, place);
  if (!marked) {
    record.fail(str("\"target.span2_text\" is \"", pronoun,
                    "\"; expected a word of \"text\", the one at \"target.span2_index\""));
  }
  TaskExample example;
  example.id = std::to_string(record.integer("idx"));
  example.input = str(wsc().prompt, " ", *marked);
  set_json_label(wsc(), record, split, example);
  example.context = candidate_in_text(record.text("target.span1_text"), text,
                                      record.integer("target.span1_index"));
  example.target = example.target == "True" ? example.context : "";
  return example;
}

}  // namespace

Task make_superglue_wsc() {
  Task task = make_label_task(wsc());
  task.submission_file = "WSC.jsonl";
  task.load = [](const fs::path& data, std::string_view split) {
    const fs::path path = find_superglue_file(wsc().directory, data, split);
    return load_records(path, [&](const JsonValue& record, std::vector<TaskExample>& examples) {
      TaskExample example = make_example(record, split);
      if (split != "train" || !example.target.empty()) examples.push_back(std::move(example));
    });
  };
  task.postprocess = [](const std::string& output, const TaskExample& example) -> std::string {
    const auto named = names_candidate(output, example.context);
    if (!named) return "";
    return *named ? "True" : "False";
  };
  use_flat_predictions(task, wsc(), LabelType::kText);
  return task;
}

}  // namespace altup
