// A prefetched source gives what the source itself gives, says the right position, and never hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "altup/data/pipeline.h"
#include "altup/util/error.h"
#include "tests/data/support.h"

namespace altup {
namespace {

/// Batches of one number, counted up; throws at `fails_at`. How many were made can be watched from
/// outside.
class Counting final : public BatchSource {
 public:
  explicit Counting(std::shared_ptr<std::atomic<int64_t>> made, int64_t fails_at = -1)
      : made_(std::move(made)), fails_at_(fails_at) {}

  Batch next() override {
    if (at_ == fails_at_) throw UserError("file.txt", 7, "is broken");
    ++*made_;
    return collate({{{static_cast<int32_t>(at_++), 1}, {1}}});
  }
  std::string state() const override { return std::to_string(at_); }
  void restore(const std::string& state) override { at_ = std::stoll(state); }

 private:
  std::shared_ptr<std::atomic<int64_t>> made_;
  int64_t fails_at_;
  int64_t at_ = 0;
};

class Prefetch : public ::testing::TestWithParam<int64_t> {
 protected:
  std::unique_ptr<BatchSource> source(int64_t fails_at = -1) {
    return prefetch(std::make_unique<Counting>(made_, fails_at), GetParam());
  }
  std::shared_ptr<std::atomic<int64_t>> made_ = std::make_shared<std::atomic<int64_t>>(0);
};

INSTANTIATE_TEST_SUITE_P(Depths, Prefetch, ::testing::Values(0, 1, 3, 16));

TEST_P(Prefetch, GivesTheSameBatchesAndStates) {
  const auto ahead = source();
  EXPECT_EQ(ahead->state(), "0");
  for (int64_t i = 0; i < 200; ++i) {
    ASSERT_EQ(ahead->next().input_ids[0], i);
    ASSERT_EQ(ahead->state(), std::to_string(i + 1));
  }
}

TEST_P(Prefetch, RestoresWhileRunning) {
  const auto ahead = source();
  ahead->restore("50");
  EXPECT_EQ(ahead->state(), "50");
  EXPECT_EQ(ahead->next().input_ids[0], 50);
  ahead->restore("7");
  EXPECT_EQ(ahead->state(), "7");
  for (int64_t i = 7; i < 40; ++i) ASSERT_EQ(ahead->next().input_ids[0], i);
}

TEST_P(Prefetch, GivesWhatCameBeforeAnErrorAndThenTheError) {
  const auto ahead = source(5);
  for (int64_t i = 0; i < 5; ++i) ASSERT_EQ(ahead->next().input_ids[0], i);
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(testing::message_of<UserError>([&] { ahead->next(); }), "file.txt:7: is broken");
  }
  EXPECT_EQ(ahead->state(), "5");
  ahead->restore("2");
  EXPECT_EQ(ahead->next().input_ids[0], 2);
}

TEST_P(Prefetch, EndsWhateverTheThreadDoes) {
  source();                        // never started
  source()->next();                // waiting for room, or about to
  source()->restore("3");          // not started again
  const auto failing = source(1);  // ended by an error that nobody asked for
  failing->next();
}

TEST(PrefetchDepth, IsTheNumberOfBatchesMadeAhead) {
  const auto made = std::make_shared<std::atomic<int64_t>>(0);
  const auto ahead = prefetch(std::make_unique<Counting>(made), 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(*made, 0) << "nothing is made before the first batch is wanted";
  ahead->next();
  for (int i = 0; i < 500 && *made < 4; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(*made, 4);
}

TEST(PrefetchDepth, DoesNotChangeRealBatches) {
  const testing::TempDir dir;
  DataConfig config;
  config.input_length = 32;
  config.shuffle_window = 16;
  const std::vector<std::string> files = {dir.write("a.txt", testing::paragraphs(60, 1))};
  const auto make = [&](int64_t depth) {
    return prefetch(make_pretraining_source(config, testing::small_tokenizer(), files, 4, 1),
                    depth);
  };
  const auto plain = make(0);
  const auto ahead = make(4);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(plain->next().input_ids, ahead->next().input_ids);
    ASSERT_EQ(plain->state(), ahead->state());
  }
  const auto resumed = make(2);
  resumed->restore(ahead->state());
  EXPECT_EQ(resumed->next().input_ids, plain->next().input_ids);
}

}  // namespace
}  // namespace altup
