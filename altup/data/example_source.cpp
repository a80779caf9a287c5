#include <utility>

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

class ExampleSource final : public BatchSource {
 public:
  ExampleSource(std::vector<Example> examples, int64_t batch_size, uint64_t seed)
      : examples_(std::move(examples)),
        batch_size_(batch_size),
        seed_(seed),
        identity_{{"kind", "examples"},
                  {"seed", seed},
                  {"count", examples_.size()},
                  {"examples", fingerprint_of(examples_)}} {
    if (examples_.empty()) throw UserError("there are no examples to train on");
    begin_epoch(0);
  }

  Batch next() override {
    std::vector<Example> batch;
    batch.reserve(static_cast<size_t>(batch_size_));
    for (int64_t i = 0; i < batch_size_; ++i) {
      if (place_ == order_.size()) begin_epoch(epoch_ + 1);
      batch.push_back(examples_[order_[place_++]]);
    }
    return collate(batch);
  }

  std::string state() const override {
    return write_state(identity_, {{"epoch", epoch_}, {"place", place_}});
  }

  void restore(const std::string& state) override {
    const auto position = read_state(state, identity_);
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
                                draw(seed_, Draw::kExampleOrder, epoch));
  }

  std::vector<Example> examples_;
  int64_t batch_size_;
  uint64_t seed_;
  nlohmann::json identity_;
  int64_t epoch_ = 0;
  size_t place_ = 0;  // in order_
  std::vector<uint32_t> order_;
};

}  // namespace

std::unique_ptr<BatchSource> make_example_source(std::vector<Example> examples, int64_t batch_size,
                                                 uint64_t seed) {
  return std::make_unique<ExampleSource>(std::move(examples), batch_size, seed);
}

}  // namespace altup
