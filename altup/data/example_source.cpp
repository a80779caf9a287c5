// Batches over examples in memory, of one task or of several in a mixture. Which part an example
// comes from is drawn by (seed, number of the example); each part keeps its own order, anew each of
// its epochs. So a small part comes round more often than a large one, and none of it is left out.
//
// With buckets, the examples of several batches are drawn together, sorted by length and cut into
// batches, whose order is drawn by (seed, number of the group's first example): what examples come,
// and when, stays the same but for the place within the group. A position is where the group began
// and how many of its batches are gone, so a group begun is drawn again where a run goes on.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "altup/data/pipeline.h"
#include "altup/data/source_state.h"
#include "altup/util/error.h"
#include "altup/util/random.h"
#include "altup/util/text.h"

namespace altup {
namespace {

std::string fingerprint_of(const std::vector<Example>& examples) {
  Fingerprint fingerprint;
  for (const auto& example : examples) {
    for (const auto* side : {&example.inputs, &example.targets}) {
      fingerprint.add(static_cast<int64_t>(side->size()));
      for (const int32_t id : *side) fingerprint.add(int64_t{id});
    }
  }
  return fingerprint.hex();
}

// The examples of one part, in an order that is drawn anew each epoch.
class Cycle {
 public:
  Cycle(std::vector<Example> examples, uint64_t seed, int64_t part)
      : examples_(std::move(examples)), seed_(seed), part_(part) {
    begin_epoch(0);
  }

  const Example& next() {
    if (place_ == order_.size()) begin_epoch(epoch_ + 1);
    return examples_[order_[place_++]];
  }

  nlohmann::json position() const { return {{"epoch", epoch_}, {"place", place_}}; }
  void restore(const nlohmann::json& position) {
    const int64_t place = number_in(position, "place");
    if (place > static_cast<int64_t>(order_.size())) {
      throw UserError(str("the saved data position is example ", place, " of ", order_.size()));
    }
    begin_epoch(number_in(position, "epoch"));
    place_ = static_cast<size_t>(place);
  }

 private:
  void begin_epoch(int64_t epoch) {
    epoch_ = epoch;
    place_ = 0;
    order_ = random_permutation(static_cast<uint32_t>(examples_.size()),
                                draw(seed_, Draw::kExampleOrder, epoch, part_));
  }

  std::vector<Example> examples_;
  uint64_t seed_;
  int64_t part_;
  int64_t epoch_ = 0;
  size_t place_ = 0;  // in order_
  std::vector<uint32_t> order_;
};

class MixtureSource final : public BatchSource {
 public:
  MixtureSource(std::vector<MixturePart> parts, int64_t batch_size, uint64_t seed,
                int64_t bucket_batches)
      : batch_size_(batch_size),
        bucket_batches_(bucket_batches),
        seed_(seed),
        identity_{{"kind", "examples"}, {"seed", seed}} {
    if (parts.empty()) throw UserError("there are no examples to train on");
    double total = 0.0;
    for (auto& part : parts) {
      if (part.examples.empty() || !(part.weight > 0.0)) {
        throw UserError(
            str(part.name, part.name.empty() ? "" : ": ", "there are no examples to train on"));
      }
      const std::string of = part.name.empty() ? "" : " of " + part.name;
      identity_["count" + of] = part.examples.size();
      identity_["examples" + of] = fingerprint_of(part.examples);
      identity_["weight" + of] = part.weight;
      total += part.weight;
      shares_.push_back(total);
      cycles_.emplace_back(std::move(part.examples), seed, static_cast<int64_t>(cycles_.size()));
    }
    for (double& share : shares_) share /= total;
  }

  Batch next() override {
    if (taken_ == group_.size()) begin_group();
    return collate(group_[taken_++]);
  }

  std::string state() const override {
    if (taken_ == group_.size()) return write_state(identity_, position());
    auto position = group_begin_;
    position["taken"] = taken_;
    position["batch_size"] = batch_size_;
    position["bucket_batches"] = bucket_batches_;
    return write_state(identity_, position);
  }

  void restore(const std::string& state) override {
    const auto position = read_state(state, identity_);
    const auto parts = position.find("parts");
    if (parts == position.end() || !parts->is_array() || parts->size() != cycles_.size()) {
      throw UserError(
          str("the saved data position has no \"parts\"; expected a list of ", cycles_.size()));
    }
    drawn_ = number_in(position, "drawn");
    for (size_t i = 0; i < cycles_.size(); ++i) cycles_[i].restore((*parts)[i]);
    group_.clear();
    taken_ = 0;
    if (position.contains("taken")) restore_in_group(position);
  }

 private:
  // Where the next example is drawn.
  nlohmann::json position() const {
    nlohmann::json parts = nlohmann::json::array();
    for (const auto& cycle : cycles_) parts.push_back(cycle.position());
    return {{"drawn", drawn_}, {"parts", parts}};
  }

  void restore_in_group(const nlohmann::json& position) {
    const int64_t batches = number_in(position, "bucket_batches");
    const int64_t size = number_in(position, "batch_size");
    if (batches != bucket_batches_ || size != batch_size_) {
      throw UserError(str("the saved data position is within ", batches, " batches of ", size,
                          " examples, shared out by length; expected the same of this run, which "
                          "has task.bucket_batches = ",
                          bucket_batches_, " and train.batch_size = ", batch_size_));
    }
    begin_group();
    taken_ = std::min(static_cast<size_t>(number_in(position, "taken")), group_.size());
  }

  void begin_group() {
    const int64_t first_example = drawn_;
    group_begin_ = position();
    std::vector<Example> examples;
    for (int64_t i = 0; i < bucket_batches_ * batch_size_; ++i) {
      examples.push_back(cycles_[draw_part()].next());
    }
    if (bucket_batches_ > 1) {
      std::ranges::stable_sort(examples, {}, &Example::tokens);
    }
    const auto order = random_permutation(static_cast<uint32_t>(bucket_batches_),
                                          draw(seed_, Draw::kBatchOrder, 0, first_example));
    group_.assign(order.size(), {});
    for (size_t i = 0; i < order.size(); ++i) {
      const auto begin = examples.begin() + static_cast<int64_t>(order[i]) * batch_size_;
      group_[i].assign(std::make_move_iterator(begin),
                       std::make_move_iterator(begin + batch_size_));
    }
    taken_ = 0;
  }

  size_t draw_part() {
    const double u = draw(seed_, Draw::kMixture, 0, drawn_++).uniform();
    const auto at = std::upper_bound(shares_.begin(), shares_.end() - 1, u);
    return static_cast<size_t>(at - shares_.begin());
  }

  int64_t batch_size_;
  int64_t bucket_batches_;
  uint64_t seed_;
  nlohmann::json identity_;
  int64_t drawn_ = 0;           // examples so far
  std::vector<double> shares_;  // cumulative, the last is 1
  std::vector<Cycle> cycles_;

  std::vector<std::vector<Example>> group_;  // batches that were drawn together
  size_t taken_ = 0;                         // of them
  nlohmann::json group_begin_;               // position() before they were drawn
};

}  // namespace

std::unique_ptr<BatchSource> make_mixture_source(std::vector<MixturePart> parts, int64_t batch_size,
                                                 uint64_t seed, int64_t bucket_batches) {
  return std::make_unique<MixtureSource>(std::move(parts), batch_size, seed, bucket_batches);
}

std::unique_ptr<BatchSource> make_example_source(std::vector<Example> examples, int64_t batch_size,
                                                 uint64_t seed) {
  std::vector<MixturePart> parts(1);
  parts[0].examples = std::move(examples);
  return make_mixture_source(std::move(parts), batch_size, seed);
}

}  // namespace altup
