#include "trainers/cpu_allocator.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#include "altup/util/text.h"

namespace altup {
namespace {

constexpr size_t kAlignment = 64;  // bytes: a cache line, and the widest vector

class CpuAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    void* block = bytes <= SIZE_MAX - kAlignment ? std::malloc(bytes + kAlignment) : nullptr;
    if (block == nullptr) {
      throw std::runtime_error(
          str("out of memory: no room for a tensor of ", bytes >> 20,
              " MiB; a smaller batch needs less, in training a smaller ",
              "train.micro_batch_size or train.activation_checkpointing = true"));
    }
    // malloc aligns at 16 bytes, so that at least 16 lie before what is aligned: room for where the
    // block starts.
    const auto address = (reinterpret_cast<uintptr_t>(block) + kAlignment) & ~(kAlignment - 1);
    auto* const data = reinterpret_cast<void**>(address);
    data[-1] = block;
    return {data, data, &release, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void release(void* data) {
    if (data != nullptr) std::free(static_cast<void**>(data)[-1]);
  }
};

}  // namespace

c10::Allocator* cpu_allocator() {
  static auto* const allocator = new CpuAllocator;  // tensors may outlive static objects
  return allocator;
}

}  // namespace altup
