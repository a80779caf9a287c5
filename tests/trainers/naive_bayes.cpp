#include "tests/trainers/naive_bayes.h"

#include <cctype>
#include <cmath>
#include <map>
#include <set>

namespace altup::testing {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found(1);
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      found.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!found.back().empty()) {
      found.emplace_back();
    }
  }
  if (found.back().empty()) found.pop_back();
  return found;
}

double naive_bayes_accuracy(const Rows& train, const Rows& dev, size_t column) {
  std::map<std::string, std::map<std::string, double>> counts;
  std::map<std::string, double> rows, totals;
  std::set<std::string> vocabulary;
  for (const auto& row : train) {
    ++rows[row.back()];
    for (const std::string& word : words(row[column])) {
      ++counts[row.back()][word];
      ++totals[row.back()];
      vocabulary.insert(word);
    }
  }
  int right = 0;
  for (const auto& row : dev) {
    std::map<double, std::string> by_score;
    for (const auto& [label, count] : rows) {
      double score = std::log(count);
      for (const std::string& word : words(row[column])) {
        const auto found = counts[label].find(word);
        const double seen = found == counts[label].end() ? 0 : found->second;
        score += std::log((seen + 1) / (totals[label] + static_cast<double>(vocabulary.size())));
      }
      by_score[score] = label;
    }
    right += by_score.rbegin()->second == row.back();
  }
  return 100.0 * right / static_cast<double>(dev.size());
}

}  // namespace altup::testing
