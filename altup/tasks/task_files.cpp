#include "altup/tasks/task_files.h"

#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

namespace fs = std::filesystem;

fs::path find_data_file(const fs::path& data, const std::vector<fs::path>& candidates) {
  if (fs::is_regular_file(data)) return data;
  std::vector<std::string> others;
  for (const auto& candidate : candidates) {
    const fs::path path = data / candidate;
    if (fs::is_regular_file(path)) return path;
    if (&candidate != &candidates.front()) others.push_back(path.string());
  }
  std::string message = "is not there; expected the official file";
  if (!others.empty()) message += str(" here or at ", join(others, " or "));
  throw UserError((data / candidates.front()).string(), message);
}

void check_split(std::string_view split) {
  if (split != "train" && split != "dev" && split != "test") {
    throw UserError(str("split \"", split, "\" is not known; expected train, dev or test"));
  }
}

void UniqueIds::add(const std::string& id, const std::function<void(const std::string&)>& fail) {
  if (!ids_.insert(id).second) fail(str("id \"", id, "\" is there twice; expected each id once"));
}

std::vector<std::string> order_predictions(const fs::path& path,
                                           std::vector<PredictionEntry> entries,
                                           const std::vector<TaskExample>& examples) {
  std::unordered_map<std::string, size_t> index_of;
  for (size_t i = 0; i < examples.size(); ++i) {
    if (!index_of.emplace(examples[i].id, i).second) {
      throw UserError(path.string(),
                      str("cannot be matched: two examples of the data have the id \"",
                          examples[i].id, "\"; expected each id once"));
    }
  }
  std::vector<std::string> predictions(examples.size());
  std::vector<bool> seen(examples.size(), false);
  for (auto& entry : entries) {
    const auto found = index_of.find(entry.id);
    if (found == index_of.end()) {
      throw UserError(path.string(), entry.line,
                      str("id \"", entry.id, "\" is not in the data; expected the ids of its ",
                          thousands(static_cast<int64_t>(examples.size())), " examples"));
    }
    if (seen[found->second]) {
      throw UserError(
          path.string(), entry.line,
          str("id \"", entry.id, "\" is there twice; expected one prediction for each example"));
    }
    seen[found->second] = true;
    predictions[found->second] = std::move(entry.prediction);
  }
  for (size_t i = 0; i < examples.size(); ++i) {
    if (!seen[i]) {
      throw UserError(
          path.string(),
          str("no prediction for id \"", examples[i].id, "\"; expected one for each of the ",
              thousands(static_cast<int64_t>(examples.size())), " examples"));
    }
  }
  return predictions;
}

void check_paired(const std::vector<std::string>& predictions,
                  const std::vector<TaskExample>& examples) {
  if (predictions.size() != examples.size()) {
    throw std::invalid_argument(
        str(predictions.size(), " predictions for ", examples.size(), " examples"));
  }
}

void check_scorable(std::string_view task, const std::vector<std::string>& predictions,
                    const std::vector<TaskExample>& examples) {
  check_paired(predictions, examples);
  for (const auto& example : examples) {
    if (example.references.empty()) {
      throw UserError(str(
          task, ": example \"", example.id,
          "\" has no label, so there is nothing to score; expected a labelled split such as dev"));
    }
  }
}

}  // namespace altup
