// What the sources have in common: the keys of their random numbers, and their saved positions. A
// position only means something for the data that it was taken on, so it is written with that
// data's identity and compared on the way back.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "altup/util/random.h"

namespace altup {

/// What numbers are drawn for; different purposes never share numbers.
enum class Draw : uint64_t {
  kFileOrder = 1,
  kChunkOrder,
  kCorruption,
  kValidation,
  kExampleOrder,
  kMixture,
  kBatchOrder
};

/// The numbers of (seed, what, epoch, index).
inline CounterRng draw(uint64_t seed, Draw what, int64_t epoch, int64_t index = 0) {
  return CounterRng(seed, static_cast<uint64_t>(what) << 56 | static_cast<uint64_t>(epoch),
                    static_cast<uint64_t>(index));
}

/// FNV-1a over everything added: tells data apart, guards against nothing.
class Fingerprint {
 public:
  void add(std::string_view bytes);
  void add(int64_t number);
  std::string hex() const;

 private:
  uint64_t hash_ = 0xCBF29CE484222325ULL;
};

std::string write_state(const nlohmann::json& identity, const nlohmann::json& position);
/// The position in `state`. Throws UserError where it is no state, or an entry of `identity`
/// differs from the state's.
nlohmann::json read_state(const std::string& state, const nlohmann::json& identity);
/// The entry `key`, a whole number from 0 up; UserError otherwise.
int64_t number_in(const nlohmann::json& position, const char* key);

}  // namespace altup
