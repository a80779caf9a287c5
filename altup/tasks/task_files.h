// What the tasks share in finding their files and in putting predictions back in order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "altup/tasks/task.h"

namespace altup {

/// `data` itself where it is a file; otherwise the first of `candidates` that is a file below it or
/// below its folder `benchmark`, so that one directory can hold the data of all tasks. UserError
/// names the places looked at.
std::filesystem::path find_data_file(const std::filesystem::path& data, std::string_view benchmark,
                                     const std::vector<std::filesystem::path>& candidates);

/// UserError for a split that is not one of train, dev, test.
void check_split(std::string_view split);

/// "1 row", "2,000 rows".
std::string count_of(size_t count, std::string_view what);

/// The ids of a file's examples, each allowed once.
class UniqueIds {
 public:
  /// Calls `fail` with a message where `id` was added before.
  void add(const std::string& id, const std::function<void(const std::string&)>& fail);

 private:
  std::unordered_set<std::string> ids_;
};

/// One entry of a prediction file.
struct PredictionEntry {
  std::string id;
  std::string prediction;
  int64_t line = 0;  ///< 0 where it is not known
};

/// What becomes of an example without a prediction and of a prediction without an example.
enum class UnmatchedIds {
  kRefuse,             ///< UserError
  kAsOfficialScorers,  ///< SQuAD's and TriviaQA's: the one counts as wrong, the other as nothing
};

/// The prediction of an example that has none. Unlike the empty answer it equals no reference, not
/// even one that the normaliser leaves nothing of ("The").
inline const std::string kNoPrediction(1, '\0');

/// The predictions in the order of `examples`. UserError for an id that is there twice and, with
/// kRefuse, for one that is missing or unknown. With kAsOfficialScorers those are counted in a
/// warning each; entries of which none belongs to an example are a UserError (the wrong file).
std::vector<std::string> order_predictions(const std::filesystem::path& path,
                                           std::vector<PredictionEntry> entries,
                                           const std::vector<TaskExample>& examples,
                                           UnmatchedIds unmatched = UnmatchedIds::kRefuse);

/// Throws std::invalid_argument where the two do not belong together, and UserError where an
/// example has no reference to score against (a test split).
void check_scorable(std::string_view task, const std::vector<std::string>& predictions,
                    const std::vector<TaskExample>& examples);

/// std::invalid_argument unless there is one prediction for each example.
void check_paired(const std::vector<std::string>& predictions,
                  const std::vector<TaskExample>& examples);

}  // namespace altup
