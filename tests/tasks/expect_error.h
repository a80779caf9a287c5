// Errors are part of what users see, so tests compare their text.
#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <string>

#include "altup/util/error.h"

namespace altup::testing {

/// The text of the UserError that `run` throws; a failure of the test where it throws none.
inline std::string user_error(const std::function<void()>& run) {
  try {
    run();
  } catch (const UserError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no UserError was thrown";
  return {};
}

}  // namespace altup::testing
