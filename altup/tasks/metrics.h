// The metrics of the official scorers, as pure functions. All are in percent, and where
// scikit-learn or SciPy has the same metric, the degenerate cases are theirs:
//
//   accuracy, squad_*           of no examples: NaN (a mean of nothing)
//   f1                          0 where precision + recall is 0
//   matthews_correlation        0 where predictions or references are all alike, or there are none
//   pearson, spearman           NaN where one side is constant or there are fewer than two values
//
// Sides of unequal length throw std::invalid_argument.
#pragma once

#include <string>
#include <vector>

namespace altup {

double accuracy(const std::vector<std::string>& predictions,
                const std::vector<std::string>& references);

/// Binary F1 of the label `positive`: 2 TP / (2 TP + FP + FN). A prediction that is neither label
/// counts against the model, as in T5: FN where the reference is positive, FP where it is not.
double f1(const std::vector<std::string>& predictions, const std::vector<std::string>& references,
          const std::string& positive);

/// Matthews correlation for any number of classes (Gorodkin's R_K; for two classes the usual phi):
///   (c·s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²))
/// with s examples, c right ones, p_k predictions and t_k references of class k. "" is a class of
/// its own.
double matthews_correlation(const std::vector<std::string>& predictions,
                            const std::vector<std::string>& references);

double pearson(const std::vector<double>& x, const std::vector<double>& y);
/// Pearson's correlation of the ranks; equal values share the mean of their ranks.
double spearman(const std::vector<double>& x, const std::vector<double>& y);

/// SQuAD v1.1: the normalised prediction equals one of the normalised answers (see
/// normalize_answer).
double squad_exact_match(const std::vector<std::string>& predictions,
                         const std::vector<std::vector<std::string>>& answers);
/// SQuAD v1.1: F1 of the bags of normalised words, the best over the answers.
double squad_f1(const std::vector<std::string>& predictions,
                const std::vector<std::vector<std::string>>& answers);

}  // namespace altup
