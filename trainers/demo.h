// The whole story on data that the program makes itself: a made-up world told in English, a
// tokenizer, the same pre-training for dense, AltUp and Recycled-AltUp, fine-tuning on three tasks
// about that world, evaluation, export, and a page that shows it all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace altup {

struct DemoResult {
  std::string table;  ///< for the terminal
  std::string json;   ///< the same figures
  int signal = 0;     ///< that ended it early, else 0; run again, it goes on
};

/// Everything is written below `directory`; a second call goes on where the first one was stopped.
DemoResult run_demo(const std::filesystem::path& directory, int64_t seed);

}  // namespace altup
