// What every file that registers operators asks first.
#pragma once

namespace altup::internal {

/// Whether this copy of the library is the first that the process loads: a Python program may meet
/// an installed one and one of a build. Only the first registers the operators; registering them
/// twice would end the process.
bool is_first_copy();

}  // namespace altup::internal
