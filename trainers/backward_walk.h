// Memory along a backward pass. A training step is a list of operations in the order of the forward
// pass, each with what it keeps for its backward pass. Autograd walks the list from its end: an
// operation's backward pass makes gradients, needs some room meanwhile, and lets go of what was
// kept. The peak is the largest sum on the way. All sizes are bytes.
#pragma once

#include <string>
#include <vector>

namespace altup {

struct Operation {
  std::string part;     ///< of the model
  double kept = 0;      ///< from its forward pass until its backward pass is done
  double gradient = 0;  ///< of its weights, made in its backward pass and there until the optimiser
  double temporary = 0;  ///< the most beside these while its backward pass runs
  /// Its gradient waits for another one of the same weight, also where there is a sum of gradients
  /// that it is added to in the end.
  bool gradient_waits = false;
};
using Operations = std::vector<Operation>;

inline void append(Operations& to, const Operations& more) {
  to.insert(to.end(), more.begin(), more.end());
}

inline double sum_of(const Operations& operations, double Operation::*bytes) {
  double sum = 0;
  for (const auto& operation : operations) sum += operation.*bytes;
  return sum;
}

struct Peak {
  double bytes = 0;
  double temporary = 0;  ///< of them, what neither was kept nor stays
  std::string during;    ///< the part whose operation it is
};

/// The backward pass over `operations`, when there are `bytes` at its beginning, what they keep
/// included. `accumulates`: there is a sum of gradients already, to which a gradient is added at
/// once.
inline Peak walk_back(const Operations& operations, double bytes, bool accumulates) {
  Peak peak;
  for (auto operation = operations.rbegin(); operation != operations.rend(); ++operation) {
    const bool stays = !accumulates || operation->gradient_waits;
    const double made = operation->gradient + operation->temporary;
    if (bytes + made > peak.bytes) {
      peak = {bytes + made, stays ? operation->temporary : made, operation->part};
    }
    if (stays) bytes += operation->gradient;
    bytes -= operation->kept;
  }
  return peak;
}

}  // namespace altup
