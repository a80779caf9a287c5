// Errors are part of what users see, so tests compare their text.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "altup/util/error.h"

namespace altup::testing {

/// The text of the UserError that `run` throws; "" where it throws none.
inline std::string refusal(const std::function<void()>& run) {
  try {
    run();
  } catch (const UserError& error) {
    return error.what();
  }
  return {};
}

/// As refusal(), and a failure of the test where nothing was thrown.
inline std::string user_error(const std::function<void()>& run) {
  auto text = refusal(run);
  if (text.empty()) ADD_FAILURE() << "no UserError was thrown";
  return text;
}

}  // namespace altup::testing
