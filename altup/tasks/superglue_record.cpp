// ReCoRD: a news text, the entities in it, and sentences about it with one entity cut out.
//
//   record query: <sentence with @placeholder> entities: <a, b, c> passage: <text>  ->  <entity>
//
// as T5 has it: the entities once each and sorted; the highlights at the end of a text, each behind
// "@highlight" on a line of its own, as sentences of the text. A query with several right answers
// is one training example for each, but one example where it is evaluated. Scored as SQuAD is: the
// best of the answers, after normalising.
#include <algorithm>
#include <iterator>
#include <set>

#include "altup/tasks/metrics.h"
#include "altup/tasks/superglue_files.h"
#include "altup/tasks/task_files.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "superglue/record";
constexpr std::string_view kDirectory = "ReCoRD";

// The byte offsets of the characters of UTF-8 text, and its end: the file counts characters.
std::vector<size_t> character_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_tail = (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
    if (!is_tail) offsets.push_back(i);
  }
  offsets.push_back(text.size());
  return offsets;
}

std::vector<std::string> read_entities(const JsonValue& record, const std::string& passage) {
  const std::vector<size_t> offsets = character_offsets(passage);
  const auto characters = static_cast<int64_t>(offsets.size()) - 1;
  std::set<std::string> entities;
  for (const JsonValue& entity : record.array("passage.entities")) {
    const int64_t start = entity.integer("start");
    const int64_t end = entity.integer("end");  // of the last character
    if (start < 0 || end < start || end >= characters) {
      entity.fail("end", str("the place of an entity in the text's ", characters, " characters"));
    }
    const size_t begin = offsets[static_cast<size_t>(start)];
    entities.insert(passage.substr(begin, offsets[static_cast<size_t>(end) + 1] - begin));
  }
  return {entities.begin(), entities.end()};
}

std::string with_highlights(const std::string& passage) {
  constexpr std::string_view kMark = "\n@highlight\n";
  constexpr std::string_view kEnds = ".?!\"'";
  std::string out;
  size_t begin = 0;
  for (size_t at = passage.find(kMark); at != std::string::npos; at = passage.find(kMark, begin)) {
    out += passage.substr(begin, at - begin);
    const bool ended = at > begin && kEnds.find(passage[at - 1]) != std::string_view::npos;
    out += ended ? " " : ". ";
    begin = at + kMark.size();
  }
  return out + passage.substr(begin);
}

void append_examples(const JsonValue& record, std::string_view split,
                     std::vector<TaskExample>& examples) {
  const std::string passage = record.text("passage.text");
  const std::string entities = join(read_entities(record, passage), ", ");
  const std::string text = with_highlights(passage);
  for (const JsonValue& query : record.array("qas")) {
    TaskExample example;
    example.id = std::to_string(query.integer("idx"));
    example.input = "record";
    append_text(example.input, "query", query.text("query"));
    append_text(example.input, "entities", entities);
    append_text(example.input, "passage", text);
    if (split != "test" || query.has("answers")) {
      std::set<std::string> answers;
      for (const JsonValue& answer : query.array("answers")) answers.insert(answer.text("text"));
      if (answers.empty()) query.fail("answers", "at least one answer");
      example.references.assign(answers.begin(), answers.end());
      example.target = example.references.front();
    }
    examples.push_back(example);
    for (size_t i = 1; split == "train" && i < example.references.size(); ++i) {
      examples.push_back(example);
      examples.back().id += str("-", i);
      examples.back().target = example.references[i];
    }
  }
}

/// Of a query in training: an example for another of its answers.
bool is_further_answer(const TaskExample& example) {
  return example.id.find('-', 1) != std::string::npos;  // the first may be a minus
}

std::vector<TaskExample> queries_of(const std::vector<TaskExample>& examples) {
  std::vector<TaskExample> queries;
  std::remove_copy_if(examples.begin(), examples.end(), std::back_inserter(queries),
                      is_further_answer);
  return queries;
}

Metrics score(const std::vector<std::string>& predictions,
              const std::vector<TaskExample>& examples) {
  check_scorable(kName, predictions, examples);
  std::vector<std::vector<std::string>> answers;
  for (const auto& example : examples) answers.push_back(example.references);
  return {{"exact_match", squad_exact_match(predictions, answers)},
          {"f1", squad_f1(predictions, answers)}};
}

}  // namespace

Task make_superglue_record() {
  Task task;
  task.name = kName;
  task.best_metric = "f1";
  task.submission_file = "ReCoRD.jsonl";
  task.load = [](const fs::path& data, std::string_view split) {
    const fs::path path = find_superglue_file(std::string(kDirectory), data, split);
    return load_records(path, [&](const JsonValue& record, std::vector<TaskExample>& examples) {
      append_examples(record, split, examples);
    });
  };
  task.postprocess = [](const std::string& output, const TaskExample&) {
    return std::string(trim(output));
  };
  task.score = score;
  task.write_predictions = [](const fs::path& path, const auto& predictions, const auto& examples) {
    std::vector<std::string> labels;
    for (size_t i = 0; i < examples.size(); ++i) {
      if (!is_further_answer(examples[i])) labels.push_back(json_text(predictions.at(i)));
    }
    write_flat_predictions(path, labels, queries_of(examples));
  };
  task.read_predictions = [](const fs::path& path, const auto& examples) {
    const auto of_queries = read_flat_predictions(
        path, queries_of(examples), [](const JsonValue& line) { return line.text("label"); });
    std::vector<std::string> predictions;
    size_t query = 0;
    for (const auto& example : examples) {
      if (!is_further_answer(example)) ++query;
      predictions.push_back(of_queries.at(query - 1));
    }
    return predictions;
  };
  return task;
}

}  // namespace altup
