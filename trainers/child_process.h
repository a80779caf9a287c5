// A program started and waited for: its output goes where ours goes, it reads nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace altup {

struct ChildResult {
  int exit_code = 0;  ///< where it ended by itself
  int signal = 0;     ///< what killed it, else 0
};

/// Starts command[0], a path, and waits until it has ended. It is in a process group of its own, so that
/// Ctrl-C on a terminal reaches this process alone; `stop` is asked ten times a second for a signal to
/// send it, 0 for none, and the first one is sent, once. Where this process dies, the child gets SIGTERM
/// (on Linux). std::runtime_error where it cannot be started.
ChildResult run_child(const std::vector<std::string>& command, const std::function<int()>& stop);

/// The program that is running.
std::string own_program();

}  // namespace altup
