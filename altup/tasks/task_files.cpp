#include "altup/tasks/task_files.h"

#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"

namespace altup {

namespace fs = std::filesystem;

fs::path find_data_file(const fs::path& data, std::string_view benchmark,
                        const std::vector<fs::path>& candidates) {
  if (fs::is_regular_file(data)) return data;
  const fs::path folder = data / benchmark;
  for (const fs::path& root : {data, folder}) {
    for (const auto& candidate : candidates) {
      if (fs::is_regular_file(root / candidate)) return root / candidate;
    }
  }
  std::vector<std::string> others;
  for (size_t i = 1; i < candidates.size(); ++i) others.push_back((data / candidates[i]).string());
  std::string message = "is not there; expected the official file here";
  if (!others.empty()) message += str(" or at ", join(others, " or "));
  throw UserError((data / candidates.front()).string(),
                  str(message, ", or so below ", folder.string()));
}

void check_split(std::string_view split) {
  if (split != "train" && split != "dev" && split != "test") {
    throw UserError(str("split \"", split, "\" is not known; expected train, dev or test"));
  }
}

void UniqueIds::add(const std::string& id, const std::function<void(const std::string&)>& fail) {
  if (!ids_.insert(id).second) fail(str("id \"", id, "\" is there twice; expected each id once"));
}

std::string count_of(size_t count, std::string_view what) {
  return str(thousands(static_cast<int64_t>(count)), " ", what, count == 1 ? "" : "s");
}

namespace {

std::unordered_map<std::string, size_t> index_examples(const fs::path& path,
                                                       const std::vector<TaskExample>& examples) {
  std::unordered_map<std::string, size_t> index_of;
  for (size_t i = 0; i < examples.size(); ++i) {
    if (!index_of.emplace(examples[i].id, i).second) {
      throw UserError(path.string(),
                      str("cannot be matched: two examples of the data have the id \"",
                          examples[i].id, "\"; expected each id once"));
    }
  }
  return index_of;
}

// The official scorers of question answering go on; a file that has nothing to do with the data
// would score 0.
void pass_over_unmatched(const fs::path& path, size_t matched, size_t entries,
                         const std::vector<TaskExample>& examples) {
  if (matched == 0 && !examples.empty()) {
    throw UserError(path.string(), str("has ", count_of(entries, "prediction"),
                                       ", none of them for the data; expected ids such as \"",
                                       examples.front().id, "\""));
  }
  if (matched < examples.size()) {
    log_warning(path.string(), ": no prediction for ",
                thousands(static_cast<int64_t>(examples.size() - matched)), " of ",
                count_of(examples.size(), "example"), "; each counts as wrong");
  }
  if (matched < entries) {
    log_warning(path.string(), ": left out ", count_of(entries - matched, "prediction"),
                " whose id is not in the data");
  }
}

}  // namespace

std::vector<std::string> order_predictions(const fs::path& path,
                                           std::vector<PredictionEntry> entries,
                                           const std::vector<TaskExample>& examples,
                                           UnmatchedIds unmatched) {
  const auto index_of = index_examples(path, examples);
  std::vector<std::string> predictions(examples.size(), kNoPrediction);
  std::unordered_set<std::string> seen;
  size_t matched = 0;
  for (auto& entry : entries) {
    if (!seen.insert(entry.id).second) {
      throw UserError(
          path.string(), entry.line,
          str("id \"", entry.id, "\" is there twice; expected one prediction for each example"));
    }
    const auto found = index_of.find(entry.id);
    if (found != index_of.end()) {
      predictions[found->second] = std::move(entry.prediction);
      ++matched;
    } else if (unmatched == UnmatchedIds::kRefuse) {
      throw UserError(path.string(), entry.line,
                      str("id \"", entry.id, "\" is not in the data; expected the ids of its ",
                          count_of(examples.size(), "example")));
    }
  }
  if (unmatched == UnmatchedIds::kAsOfficialScorers) {
    pass_over_unmatched(path, matched, entries.size(), examples);
    return predictions;
  }
  for (const auto& example : examples) {
    if (seen.count(example.id) == 0) {
      throw UserError(path.string(), str("no prediction for id \"", example.id,
                                         "\"; expected one for each of the ",
                                         count_of(examples.size(), "example")));
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
