#include "altup/models/generation_scores.h"

#include <limits>

namespace altup {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

}  // namespace

void penalise_repetitions(torch::Tensor& scores, const torch::Tensor& ids, double penalty) {
  const auto seen = scores.gather(1, ids);  // [rows, t]
  scores.scatter_(1, ids, torch::where(seen < 0, seen * penalty, seen / penalty));
}

void forbid_repeated_ngrams(torch::Tensor& scores, const torch::Tensor& ids, int64_t size) {
  const int64_t length = ids.size(1);
  if (length < size) return;
  const auto ngrams = ids.unfold(/*dimension=*/1, size, /*step=*/1);  // [rows, n-grams, size]
  const auto begun = ids.narrow(1, length + 1 - size, size - 1);      // [rows, size − 1]
  const auto heads = ngrams.narrow(2, 0, size - 1);                   // what each begins with
  const auto repeats = heads.eq(begun.unsqueeze(1)).all(/*dim=*/-1);  // [rows, n-grams]
  // Ids that may stay are written to a column behind the last one.
  const int64_t vocabulary = scores.size(1);
  const auto ends = ngrams.select(2, size - 1).masked_fill(repeats.logical_not(), vocabulary);
  const auto forbidden =
      torch::zeros({scores.size(0), vocabulary + 1}, scores.options().dtype(torch::kBool))
          .scatter_(1, ends, true);
  scores.masked_fill_(forbidden.narrow(1, 0, vocabulary), kNever);
}

void keep_likeliest(torch::Tensor& scores, int64_t top_k, double top_p) {
  const int64_t vocabulary = scores.size(1);
  const bool all = top_k == 0 || top_k >= vocabulary;
  if (all && top_p >= 1.0) return;
  const auto best = all ? std::get<0>(scores.sort(-1, /*descending=*/true))
                        : std::get<0>(scores.topk(top_k));  // [rows, k], descending
  auto last = best.narrow(1, best.size(1) - 1, 1);          // [rows, 1], the lowest score kept
  if (top_p < 1.0) {
    const auto probabilities = best.softmax(-1, torch::kDouble);
    const auto before = probabilities.cumsum(-1) - probabilities;  // the likelier ones' sum
    const auto kept = before.lt(top_p).sum(-1, /*keepdim=*/true);  // at least 1
    last = best.gather(1, (kept - 1).clamp_min(0));
  }
  scores.masked_fill_(scores < last, kNever);
}

torch::Tensor sample_ids(const torch::Tensor& scores, const torch::Tensor& uniform) {
  const auto cumulative = scores.softmax(-1, torch::kDouble).cumsum(-1);  // [rows, V]
  const int64_t last = scores.size(1) - 1;
  const auto sums = cumulative.narrow(1, last, 1);  // [rows, 1]
  TORCH_CHECK(!sums.isnan().any().item<bool>(),
              "no token can be drawn: its scores are not numbers ",
              "(NaN), infinite, or all ruled out; expected a model with finite logits");
  const auto drawn = uniform.unsqueeze(1) * sums;  // [rows, 1]
  // The first id whose sum is above what was drawn: its own probability is not zero.
  return torch::searchsorted(cumulative, drawn, /*out_int32=*/false, /*right=*/true)
      .squeeze(1)
      .clamp_max(last);
}

}  // namespace altup
