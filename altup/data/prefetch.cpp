// One producer, one consumer. Each batch travels with the state after it, so that state() speaks of
// the batch handed out last and not of how far the thread happens to be. The thread starts with the
// first next(): a restore() before that costs no wasted work.
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "altup/data/pipeline.h"

namespace altup {
namespace {

class PrefetchedSource final : public BatchSource {
 public:
  PrefetchedSource(std::unique_ptr<BatchSource> source, int64_t depth)
      : source_(std::move(source)), depth_(static_cast<size_t>(depth)), state_(source_->state()) {}

  Batch next() override {
    if (!thread_.joinable()) {
      thread_ = std::jthread([this](const std::stop_token& stop) { produce(stop); });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty() || error_ != nullptr; });
    if (ready_.empty()) std::rethrow_exception(error_);
    Item item = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    state_ = std::move(item.state);
    return std::move(item.batch);
  }

  std::string state() const override { return state_; }

  void restore(const std::string& state) override {
    thread_ = {};  // asks it to stop and waits until it has
    ready_.clear();
    error_ = nullptr;
    source_->restore(state);
    state_ = source_->state();
  }

 private:
  struct Item {
    Batch batch;
    std::string state;  // after the batch
  };

  void produce(const std::stop_token& stop) {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [&] { return ready_.size() < depth_; })) return;
      }
      if (stop.stop_requested()) return;
      Item item;
      std::exception_ptr error;
      try {
        item.batch = source_->next();
        item.state = source_->state();
      } catch (...) {
        error = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        if (error == nullptr) {
          ready_.push_back(std::move(item));
        } else {
          error_ = error;
        }
      }
      changed_.notify_all();
      if (error != nullptr) return;
    }
  }

  std::unique_ptr<BatchSource> source_;  // the thread's while it runs
  const size_t depth_;
  std::string state_;  // the consumer's alone

  std::mutex mutex_;  // guards ready_ and error_
  std::condition_variable_any changed_;
  std::deque<Item> ready_;
  std::exception_ptr error_;

  std::jthread thread_;  // last, so that it has ended before anything else goes
};

}  // namespace

std::unique_ptr<BatchSource> prefetch(std::unique_ptr<BatchSource> source, int64_t depth) {
  if (depth == 0) return source;
  return std::make_unique<PrefetchedSource>(std::move(source), depth);
}

}  // namespace altup
