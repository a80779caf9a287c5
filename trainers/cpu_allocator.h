// Memory for tensors on the CPU, from malloc, such that what one tensor has left the next of its size
// can have.
#pragma once

#include <c10/core/Allocator.h>

namespace altup {

/// Blocks from malloc with room to align them in, at 64 bytes as LibTorch's own are.
///
/// LibTorch's allocator takes aligned blocks from posix_memalign. Before glibc 2.38 that looks for a hole
/// as large as the block *and* the widest gap before it, so that a hole which a tensor has left is never
/// given to one of the same size (glibc bug 14581), while a training step asks for the same sizes again
/// and again: a step of T5-small with activation checkpointing takes 1,195 MiB there and 909 MiB here.
///
/// Throws std::runtime_error where there is no more memory. Lives as long as the process.
c10::Allocator* cpu_allocator();

}  // namespace altup
