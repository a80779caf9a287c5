// What is done to the scores of the next token before one is chosen, and how one is drawn. Scores
// are [rows, V] fp32, logits or log-probabilities; ids [rows, t] int64 are the outputs so far with
// the pad that they start from. The definitions are Hugging Face's logits processors of the same
// names. All but sample_ids() write into `scores`.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace altup {

/// repetition_penalty (Keskar et al. 2019): the score of each id in the row's `ids` is divided by
/// `penalty` where it is positive and multiplied where it is negative, once however often the id
/// occurs.
void penalise_repetitions(torch::Tensor& scores, const torch::Tensor& ids, double penalty);

/// no_repeat_ngram_size: −inf for each id that would end an n-gram which the row's `ids` hold.
void forbid_repeated_ngrams(torch::Tensor& scores, const torch::Tensor& ids, int64_t size);

/// top_k, then top_p (Holtzman et al. 2020): −inf for all but the k highest scores (0: all), and of
/// these all but the fewest whose softmax reaches p. Scores equal to the last one kept stay as well.
void keep_likeliest(torch::Tensor& scores, int64_t top_k, double top_p);

/// The id at which the cumulative softmax, in the order of the ids, passes uniform [rows] fp64 in
/// [0, 1) -> [rows] int64. Never one whose score is −inf. Throws c10::Error where a row's scores hold
/// NaN or +inf, or are all −inf.
torch::Tensor sample_ids(const torch::Tensor& scores, const torch::Tensor& uniform);

}  // namespace altup
