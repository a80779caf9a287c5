// SHA-256 (FIPS 180-4), for the checksums of a checkpoint's files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace altup {

class Sha256 {
 public:
  void update(std::string_view bytes);
  /// The digest as 64 lower-case hexadecimal digits. The object is spent after it.
  std::string hex_digest();

 private:
  void compress(const unsigned char* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> buffer_{};  // the bytes of a block that is not full yet
  size_t buffered_ = 0;
  uint64_t length_ = 0;
};

/// Digest of a file's bytes, read in pieces. Throws UserError where it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace altup
