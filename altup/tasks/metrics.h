// The metrics of the official scorers, as pure functions. All are in percent, and where
// scikit-learn or SciPy has the same metric, the degenerate cases are theirs:
//
//   accuracy, squad_*, triviaqa_*
//                               of no examples: NaN (a mean of nothing)
//   group_*                     of no groups: NaN
//   f1                          0 where precision + recall is 0
//   f1_macro                    a class that neither side has: 0, and it counts in the mean
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

/// The mean over `labels` of each label's F1, as scikit-learn's f1_score(labels=…, average="macro").
/// A prediction that is none of them is a false negative of its reference and no false positive.
double f1_macro(const std::vector<std::string>& predictions,
                const std::vector<std::string>& references, const std::vector<std::string>& labels);

/// The share of groups (examples with equal `groups`) in which every prediction is right: MultiRC's
/// exact match, one group a question.
double group_exact_match(const std::vector<std::string>& predictions,
                         const std::vector<std::string>& references,
                         const std::vector<std::string>& groups);

/// The share of groups whose predictions are all the same label: the gender parity of Winogender,
/// one group a pair. Whether the label is right does not count; "" is no label and agrees with
/// nothing.
double group_agreement(const std::vector<std::string>& predictions,
                       const std::vector<std::string>& groups);

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
/// TriviaQA: the same two with its own normaliser (see normalize_triviaqa_answer).
double triviaqa_exact_match(const std::vector<std::string>& predictions,
                            const std::vector<std::vector<std::string>>& answers);
double triviaqa_f1(const std::vector<std::string>& predictions,
                   const std::vector<std::vector<std::string>>& answers);

}  // namespace altup
