// For tests of small tensors: a program that includes this in one of its files runs its operators on one thread. Several
// gain nothing there, and where other programs want the processors too, they wait for each other for minutes.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace altup::testing {

class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { at::set_num_threads(1); }
};

inline ::testing::Environment* const kOneThread =
    ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace altup::testing
