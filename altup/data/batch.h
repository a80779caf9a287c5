// What the model trains on: examples as token ids, and batches of them. A batch holds real tokens
// alone; whether they are padded is for the one who makes tensors of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "altup/util/fields.h"

namespace altup {

struct Example {
  std::vector<int32_t> inputs;   ///< ends with eos
  std::vector<int32_t> targets;  ///< ends with eos

  int64_t tokens() const { return static_cast<int64_t>(inputs.size() + targets.size()); }
};

/// How examples of different lengths go through the model together: as one row of all their tokens,
/// or as rows of one length, filled up with pad. The loss is the same but for rounding.
enum class Padding { kNone, kLongest, kMaximum };
template <>
struct EnumNames<Padding> {
  static constexpr std::array<std::pair<std::string_view, Padding>, 3> kNames = {
      {{"none", Padding::kNone}, {"longest", Padding::kLongest}, {"maximum", Padding::kMaximum}}};
};

/// The ids of the examples, one behind the other. Where one ends is said by the lengths, never by
/// comparing ids with pad or eos: a text may hold them.
struct Batch {
  int64_t size = 0;                     ///< B, examples
  std::vector<int64_t> input_ids;       ///< [sum of input_lengths]
  std::vector<int64_t> target_ids;      ///< [sum of target_lengths]
  std::vector<int64_t> input_lengths;   ///< [B]
  std::vector<int64_t> target_lengths;  ///< [B]

  int64_t input_tokens() const { return static_cast<int64_t>(input_ids.size()); }
  int64_t target_tokens() const { return static_cast<int64_t>(target_ids.size()); }
  /// Ids of one example.
  std::span<const int64_t> input(int64_t example) const;
  std::span<const int64_t> target(int64_t example) const;
  bool operator==(const Batch&) const = default;
};

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
