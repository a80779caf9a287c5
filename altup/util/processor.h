// What this processor can do beyond what the program is compiled for.
#pragma once

namespace altup {

/// Whether it has instructions for bf16 products; elsewhere they are emulated, and slower than fp32.
/// Every processor with AMX has AVX-512 bf16 too.
inline bool multiplies_bf16() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace altup
