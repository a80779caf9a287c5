// What can be guessed from the words of a text alone: the yardstick of tasks that should ask for more.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace altup::testing {

using Rows = std::vector<std::vector<std::string>>;

/// Its words, in lower case.
std::vector<std::string> words(std::string_view text);

/// Accuracy in percent of multinomial naive Bayes on the words of one column; the label is the last
/// column.
double naive_bayes_accuracy(const Rows& train, const Rows& dev, size_t column);

}  // namespace altup::testing
