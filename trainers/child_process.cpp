#include "trainers/child_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "altup/util/text.h"

namespace altup {
namespace {

constexpr int kNotStarted = 127;  // as a shell says it

// Between fork and exec: nothing that allocates.
[[noreturn]] void become(char* const* arguments, pid_t parent, const sigset_t* mask) {
  ::setpgid(0, 0);
#if defined(__linux__)
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
  if (::getppid() != parent) ::_exit(kNotStarted);  // it died before the line above
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  ::pthread_sigmask(SIG_SETMASK, mask, nullptr);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  ::execv(arguments[0], arguments);
  ::_exit(kNotStarted);
}

}  // namespace

ChildResult run_child(const std::vector<std::string>& command, const std::function<int()>& stop) {
  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  // A signal that came before the child has its own handlers would be noted by a copy of ours, and be
  // lost with it: until then it waits.
  sigset_t ends;
  sigset_t before;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGINT);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &ends, &before);
  const pid_t child = ::fork();
  if (child == 0) become(arguments.data(), parent, &before);
  const int failure = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) {
    throw std::runtime_error(str(command.front(), ": cannot be started: ", std::strerror(failure)));
  }
  ::setpgid(child, child);  // here too, so that it holds before the first signal
  bool told = false;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child && WIFSIGNALED(status)) return {.exit_code = 0, .signal = WTERMSIG(status)};
    if (ended == child && WIFEXITED(status)) {
      if (WEXITSTATUS(status) == kNotStarted) {
        throw std::runtime_error(command.front() + ": cannot be started");
      }
      return {.exit_code = WEXITSTATUS(status), .signal = 0};
    }
    if (ended < 0 && errno != EINTR) {
      throw std::runtime_error(str(command.front(), ": was lost: ", std::strerror(errno)));
    }
    if (const int signal = told ? 0 : stop(); signal != 0) {
      ::kill(child, signal);
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::string own_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

}  // namespace altup
