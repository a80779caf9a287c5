// Counts the bytes of the tensors that are alive, and the most that ever were: an allocator in front
// of LibTorch's own, from its construction to the end of the program.
#pragma once

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace altup::testing {

class CountingAllocator : public c10::Allocator {
 public:
  /// The one of this program; installs it at the first call.
  static CountingAllocator& instance() {
    static auto* const allocator = new CountingAllocator();
    return *allocator;
  }

  c10::DataPtr allocate(size_t bytes) override {
    auto* block = static_cast<char*>(c10::GetDefaultCPUAllocator()->raw_allocate(kHeader + bytes));
    std::memcpy(block, &bytes, sizeof(bytes));
    const int64_t now = live_ += static_cast<int64_t>(bytes);
    int64_t most = most_;
    while (now > most && !most_.compare_exchange_weak(most, now)) {
    }
    void* data = block + kHeader;
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  /// For those who ask for memory without a tensor, as bf16 products do. They want data and context to
  /// be one pointer, so that the size has to stand before the data.
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }

  int64_t live() const { return live_; }
  /// Since the last forget().
  int64_t most() const { return most_; }
  void forget() { most_ = live_.load(); }

 private:
  static constexpr size_t kHeader = 64;  // keeps LibTorch's alignment

  CountingAllocator() {
    constexpr uint8_t kFirst = 255;
    c10::SetCPUAllocator(this, kFirst);
  }

  static void release(void* data) {
    if (data == nullptr) return;
    auto* block = static_cast<char*>(data) - kHeader;
    size_t bytes = 0;
    std::memcpy(&bytes, block, sizeof(bytes));
    instance().live_ -= static_cast<int64_t>(bytes);
    c10::GetDefaultCPUAllocator()->raw_deallocate(block);
  }

  std::atomic<int64_t> live_{0};
  std::atomic<int64_t> most_{0};
};

}  // namespace altup::testing
