// What a process sets once before it computes, and what it can say about itself: threads,
// denormals, the allocator, precision, memory, signals.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "trainers/run_config.h"

namespace altup {

/// Call first in main(): flushes denormals to zero (they make a step several times slower), tells
/// malloc to keep large blocks rather than map them afresh, gives tensors their memory by
/// cpu_allocator(), bounds what oneDNN keeps of shapes it has seen, and sets the number of threads
/// (0: one for each core the process may use).
void set_up_process(int64_t threads);

/// The device that computation runs on: CUDA where LibTorch has one, else the CPU.
at::Device default_device();

/// kAuto becomes bf16 where the device multiplies matrices in bf16 by instructions of its own, else
/// fp32.
Precision resolve_precision(Precision precision, const at::Device& device);

/// While it lives, matrix products run in bf16 where `precision` is kBf16 (autocast: parameters,
/// the residual stream, norms and the loss stay fp32).
class AutocastGuard {
 public:
  AutocastGuard(Precision precision, const at::Device& device);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType old_dtype_;
};

/// Largest resident set of the process so far, MiB.
double peak_memory_mib();

/// From its construction on, SIGINT, SIGTERM and, where it is not ignored, SIGHUP are noted rather
/// than fatal; a second one of the same kind, but for SIGHUP, ends the process at once.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  /// The signal that came, or 0.
  int received() const;
};

/// True where a living SignalWatch has noted a signal. Long evaluations ask between batches, so that
/// a run is saved soon after the signal.
bool stop_requested();

}  // namespace altup
