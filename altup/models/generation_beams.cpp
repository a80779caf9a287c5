// Beam search as transformers defines it: at each step the 2·beams likeliest continuations of an
// input's beams. Of the first `beams` of them, those that end become finished outputs; the best that
// do not end are the next beams. What happens to the few candidates is plain code on the host, which
// costs one round trip a token.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "altup/models/generation_steps.h"
#include "altup/ops/ops.h"

namespace altup {
namespace {

struct Beam {
  std::vector<int64_t> ids;  // the leading pad included
  float score = 0.0F;        // sum of log-probabilities
  int64_t parent = 0;        // the beam of the step before that it continues
};

struct Search {
  int64_t input = 0;                      // its place in the result
  std::vector<Beam> beams = {};           // the best first
  std::vector<Hypothesis> finished = {};  // at most config.beams, the best first
  bool done = false;                      // `finished` will not change any more
};

// One of the likeliest continuations.
struct Candidate {
  float score = 0.0F;
  int64_t beam = 0;
  int64_t id = 0;
};

float length_divisor(int64_t length, const GenerationConfig& config) {
  return static_cast<float>(std::pow(static_cast<double>(length), config.length_penalty));
}

void add_finished(Search& search, Hypothesis hypothesis, const GenerationConfig& config) {
  auto& finished = search.finished;
  const auto place =
      std::upper_bound(finished.begin(), finished.end(), hypothesis,
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  finished.insert(place, std::move(hypothesis));
  if (static_cast<int64_t>(finished.size()) > config.beams) finished.pop_back();
}

// Whether no beam can improve on the finished outputs, which are as many as there are beams. As the
// definition has it this is a guess unless early_stopping is kNever: a longer output may score more.
bool is_done(const Search& search, int64_t length, const GenerationConfig& config) {
  if (static_cast<int64_t>(search.finished.size()) < config.beams) return false;
  if (config.early_stopping == EarlyStopping::kTrue) return true;
  const bool longest = config.early_stopping == EarlyStopping::kNever && config.length_penalty > 0;
  const float best =
      search.beams.front().score / length_divisor(longest ? config.max_new_tokens : length, config);
  return !(best > static_cast<float>(search.finished.back().score));
}

// `candidates`, the likeliest first, make outputs of `length` ids.
void advance(Search& search, const std::vector<Candidate>& candidates, int64_t length,
             const GenerationConfig& config) {
  std::vector<Beam> next;
  for (size_t rank = 0; rank < candidates.size(); ++rank) {
    const auto& candidate = candidates[rank];
    const bool at_eos = config.stop_at_eos && candidate.id == kGenerationEos;
    const bool ends = at_eos || length == config.max_new_tokens;
    const auto& parent = search.beams[static_cast<size_t>(candidate.beam)];
    if (!ends) {
      if (static_cast<int64_t>(next.size()) == config.beams) continue;
      next.push_back({parent.ids, candidate.score, candidate.beam});
      next.back().ids.push_back(candidate.id);
    } else if (static_cast<int64_t>(rank) < config.beams) {
      Hypothesis hypothesis{.ids = {parent.ids.begin() + 1, parent.ids.end()},
                            .finished = at_eos,
                            .score = candidate.score / length_divisor(length, config)};
      hypothesis.ids.push_back(candidate.id);
      add_finished(search, std::move(hypothesis), config);
    }
  }
  search.beams = std::move(next);
  search.done = length == config.max_new_tokens || is_done(search, length, config);
}

// The outputs so far of all beams of all searches, one below the other, from id `first` on. [R, t]
torch::Tensor ids_of(const std::vector<Search>& searches, size_t first,
                     const torch::TensorOptions& options) {
  std::vector<int64_t> ids;
  int64_t rows = 0;
  for (const auto& search : searches) {
    for (const auto& beam : search.beams) {
      ids.insert(ids.end(), beam.ids.begin() + static_cast<int64_t>(first), beam.ids.end());
      ++rows;
    }
  }
  return torch::tensor(ids, torch::kInt64).view({rows, -1}).to(options);
}

// The `count` likeliest continuations of each search, of the likeliest ones of each of its beams.
// logits [R, V] fp32.
std::vector<std::vector<Candidate>> best_candidates(const torch::Tensor& logits,
                                                    const std::vector<Search>& searches,
                                                    const GenerationConfig& config, int64_t count,
                                                    int64_t valid_vocab,
                                                    const torch::TensorOptions& options) {
  auto scores = logits;
  if (changes_scores(config)) {
    scores = logits.log_softmax(-1);
    process_scores(scores, ids_of(searches, 0, options), config);
  }
  const auto top = likeliest(scores, count, valid_vocab, /*normalise=*/!changes_scores(config));
  const auto values = std::get<0>(top).cpu();  // [R, count]
  const auto places = std::get<1>(top).cpu();
  const auto value = values.accessor<float, 2>();
  const auto id = places.accessor<int64_t, 2>();
  std::vector<std::vector<Candidate>> candidates;
  int64_t row = 0;
  for (const auto& search : searches) {
    std::vector<Candidate> all;
    for (size_t beam = 0; beam < search.beams.size(); ++beam, ++row) {
      for (int64_t i = 0; i < count; ++i) {
        all.push_back(
            {search.beams[beam].score + value[row][i], static_cast<int64_t>(beam), id[row][i]});
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    all.resize(static_cast<size_t>(count));
    candidates.push_back(std::move(all));
  }
  return candidates;
}

// Lets the caches follow the beams; searches that are done leave.
void follow(DecodingSteps& steps, std::vector<Search>& searches, int64_t beams_before) {
  const auto all = static_cast<int64_t>(searches.size());
  std::vector<int64_t> rows;
  for (int64_t s = 0; s < all; ++s) {
    const auto& search = searches[static_cast<size_t>(s)];
    if (search.done) continue;
    for (const auto& beam : search.beams) rows.push_back(s * beams_before + beam.parent);
  }
  if (rows.empty()) return searches.clear();
  std::vector<int64_t> same(static_cast<size_t>(all * beams_before));
  std::iota(same.begin(), same.end(), 0);
  if (rows != same) steps.select_rows(rows);
  const auto is_done = [](const Search& search) { return search.done; };
  searches.erase(std::remove_if(searches.begin(), searches.end(), is_done), searches.end());
}

}  // namespace

Generation generate_beams(DecodingSteps& steps, const GenerationConfig& config, int64_t valid_vocab,
                          int64_t inputs) {
  Generation result;
  result.outputs.resize(static_cast<size_t>(inputs));
  const auto options = steps.ids_options();
  std::vector<Search> searches;
  for (int64_t i = 0; i < inputs; ++i) {
    searches.push_back({.input = i, .beams = {Beam{.ids = {kGenerationPad}}}});
  }
  for (int64_t length = 1; !searches.empty(); ++length) {
    const auto beams_before = static_cast<int64_t>(searches.front().beams.size());
    const auto last = ids_of(searches, static_cast<size_t>(length - 1), options).squeeze(1);  // [R]
    const auto candidates =
        best_candidates(steps.next(last), searches, config, 2 * config.beams, valid_vocab, options);
    for (size_t s = 0; s < searches.size(); ++s) {
      auto& search = searches[s];
      advance(search, candidates[s], length, config);
      if (!search.done) continue;
      search.finished.resize(static_cast<size_t>(config.n_best));
      result.outputs[static_cast<size_t>(search.input)] = std::move(search.finished);
    }
    follow(steps, searches, beams_before);
  }
  return result;
}

}  // namespace altup
