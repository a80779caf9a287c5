#include "trainers/runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CPUAllocator.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "altup/ops/ops.h"
#include "trainers/cpu_allocator.h"

namespace altup {

void set_up_process(int64_t threads) {
  // Before the first parallel region: worker threads inherit the floating-point mode of the thread
  // that makes them.
  at::globalContext().setFlushDenormal(true);
#if defined(__GLIBC__)
  // By default glibc maps every large tensor afresh and gives it back; the page faults cost as much
  // as the arithmetic.
  constexpr int kKeep = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kKeep);
  mallopt(M_TRIM_THRESHOLD, kKeep);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
  // oneDNN and ATen's layer over it each keep, for bf16, what they have compiled for the last 1,024
  // shapes. Batches without padding have ever new ones: a gigabyte even beside a small model.
  constexpr const char* kShapes = "128";
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", kShapes, /*overwrite=*/0);
  setenv("LRU_CACHE_CAPACITY", kShapes, /*overwrite=*/0);
  constexpr uint8_t kAboveLibTorchs = 1;
  c10::SetCPUAllocator(cpu_allocator(), kAboveLibTorchs);
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

at::Device default_device() {
  return at::hasCUDA() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

Precision resolve_precision(Precision precision, const at::Device& device) {
  if (precision != Precision::kAuto) return precision;
  if (device.is_cuda()) return Precision::kBf16;
  return multiplies_bf16() ? Precision::kBf16 : Precision::kFp32;
}

AutocastGuard::AutocastGuard(Precision precision, const at::Device& device)
    : device_(device.type()),
      was_enabled_(at::autocast::is_autocast_enabled(device.type())),
      old_dtype_(at::autocast::get_autocast_dtype(device.type())) {
  at::autocast::set_autocast_enabled(device_, precision == Precision::kBf16);
  at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (at::autocast::decrement_nesting() == 0)
    at::autocast::clear_cache();  // the bf16 copies of the weights
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, old_dtype_);
}

double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

namespace {

volatile std::sig_atomic_t received_signal = 0;

void note_signal(int signal) {
  // A terminal that closes may send its SIGHUP twice, by itself and by the shell.
  if (received_signal == signal && signal != SIGHUP) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  received_signal = signal;
}

}  // namespace

SignalWatch::SignalWatch() {
  received_signal = 0;
  std::signal(SIGINT, note_signal);
  std::signal(SIGTERM, note_signal);
  if (std::signal(SIGHUP, note_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // as nohup has it
}

SignalWatch::~SignalWatch() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  received_signal = 0;
}

int SignalWatch::received() const {
  return received_signal;
}

bool stop_requested() {
  return received_signal != 0;
}

}  // namespace altup
