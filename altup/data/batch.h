// What the model trains on: examples as token ids, and batches of them padded to their longest
// member.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace altup {

struct Example {
  std::vector<int32_t> inputs;   ///< ends with eos
  std::vector<int32_t> targets;  ///< ends with eos
};

/// Row-major ids, padded with pad (0). What is real is said by the lengths, never by comparing ids
/// with pad: a text may hold the pad id.
struct Batch {
  int64_t size = 0;                     ///< B, examples
  int64_t input_length = 0;             ///< S, of the longest input
  int64_t target_length = 0;            ///< T, of the longest target
  std::vector<int64_t> input_ids;       ///< [B, S]
  std::vector<int64_t> target_ids;      ///< [B, T]
  std::vector<int64_t> input_lengths;   ///< [B]
  std::vector<int64_t> target_lengths;  ///< [B]

  int64_t input_tokens() const;   ///< without padding
  int64_t target_tokens() const;  ///< without padding
  bool operator==(const Batch&) const = default;
};

/// Pads to the longest example.
Batch collate(const std::vector<Example>& examples);

/// An endless, deterministic stream of batches whose exact position can be saved.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual Batch next() = 0;
  /// The position after the batch that next() returned last, as JSON text.
  virtual std::string state() const = 0;
  /// Continues exactly where state() was taken. Throws UserError where the state is of another
  /// source.
  virtual void restore(const std::string& state) = 0;
};

}  // namespace altup
