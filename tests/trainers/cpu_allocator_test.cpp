#include "trainers/cpu_allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>
#include <vector>

namespace altup {
namespace {

using ::testing::HasSubstr;

TEST(CpuAllocator, AlignsAt64Bytes) {
  for (const size_t bytes : {1, 15, 64, 1000, 4096, 1 << 20, 40 << 20}) {
    auto block = cpu_allocator()->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.get()) % 64, 0) << bytes;
    EXPECT_EQ(block.device(), c10::Device(c10::kCPU));
    std::memset(block.mutable_get(), 1, bytes);
  }
}

TEST(CpuAllocator, NothingIsGivenForNothing) {
  EXPECT_EQ(cpu_allocator()->allocate(0).get(), nullptr);
}

TEST(CpuAllocator, RawBlocksCanBeGivenBack) {
  void* const block = cpu_allocator()->raw_allocate(100);
  EXPECT_NE(block, nullptr);
  cpu_allocator()->raw_deallocate(block);
}

// What it is there for. Holes lie between blocks that stay.
TEST(CpuAllocator, HolesGoToBlocksOfTheSameSize) {
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the order of glibc's malloc";
#endif
  constexpr size_t kBytes = 96 << 10;  // under what malloc maps by itself
  constexpr int kBlocks = 32;
  std::vector<c10::DataPtr> staying, leaving;
  for (int i = 0; i < kBlocks; ++i) {
    leaving.push_back(cpu_allocator()->allocate(kBytes));
    staying.push_back(cpu_allocator()->allocate(kBytes));
  }
  std::set<const void*> left, given;
  for (const auto& block : leaving) left.insert(block.get());
  leaving.clear();
  for (int i = 0; i < kBlocks; ++i) {
    leaving.push_back(cpu_allocator()->allocate(kBytes));
    given.insert(leaving.back().get());
  }
  EXPECT_EQ(given, left);
}

TEST(CpuAllocator, WithoutMemoryOneLineSaysWhatNeedsLess) {
  for (const size_t bytes : {SIZE_MAX, size_t{1} << 62}) {
    try {
      cpu_allocator()->allocate(bytes);
      FAIL() << bytes;
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr("out of memory: no room for a tensor of "));
      EXPECT_THAT(error.what(), HasSubstr("train.activation_checkpointing"));
    }
  }
}

}  // namespace
}  // namespace altup
