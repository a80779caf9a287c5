#include "altup/tasks/answer_file.h"

#include <utility>

#include "altup/tasks/json_file.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

using nlohmann::json;

void write_answer_file(const std::filesystem::path& path,
                       const std::vector<std::string>& predictions,
                       const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  // What is no UTF-8 (a model's lone byte token) is replaced: the file has to be JSON.
  const auto quoted = [](const std::string& text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  };
  std::vector<std::string> lines;
  for (size_t i = 0; i < predictions.size(); ++i) {
    lines.push_back(str("  ", quoted(examples[i].id), ": ", quoted(predictions[i])));
  }
  write_file_atomic(path, str("{\n", join(lines, ",\n"), "\n}\n"));
}

std::vector<std::string> read_answer_file(const std::filesystem::path& path,
                                          const std::vector<TaskExample>& examples) {
  // A parsed object keeps one value for each key, so the entries are taken while they are read.
  std::vector<PredictionEntry> entries;
  bool is_object = false;
  const auto event = [&](int depth, json::parse_event_t kind, const json& value, int64_t line) {
    using Event = json::parse_event_t;
    if (depth == 0 && kind == Event::object_start) is_object = true;
    if (depth != 1 || !is_object) return true;
    if (kind == Event::key) {
      entries.push_back({value.get<std::string>(), "", line});
    } else if (kind == Event::value && value.is_string()) {
      entries.back().prediction = value.get<std::string>();
    } else if (kind == Event::value || kind == Event::object_start || kind == Event::array_start) {
      throw UserError(
          path.string(), entries.back().line,
          str("the answer of \"", entries.back().id, "\" is not a string; expected a text"));
    }
    return true;
  };
  parse_json(path, read_file(path), event);
  if (!is_object) {
    throw UserError(path.string(), 1,
                    "is not a JSON object; expected {\"question id\": \"answer\", …}");
  }
  return order_predictions(path, std::move(entries), examples, UnmatchedIds::kAsOfficialScorers);
}

}  // namespace altup
