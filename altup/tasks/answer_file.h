// Prediction files of question answering in the official layout of SQuAD and TriviaQA: one JSON
// object, question id -> answer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "altup/tasks/task.h"

namespace altup {

void write_answer_file(const std::filesystem::path& path,
                       const std::vector<std::string>& predictions,
                       const std::vector<TaskExample>& examples);

/// The answers in the order of the examples, as the official scorers take them: a question without
/// an answer counts as wrong (kNoPrediction), an answer to no question is left out, and a warning
/// says how many there were of each. UserError where no id belongs to an example, an id is there
/// twice, or an answer is no text.
std::vector<std::string> read_answer_file(const std::filesystem::path& path,
                                          const std::vector<TaskExample>& examples);

}  // namespace altup
