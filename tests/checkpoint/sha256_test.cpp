// Vectors from NIST's examples of SHA-256 (FIPS 180-4) and its long-message test.
#include "altup/checkpoint/sha256.h"

#include <gtest/gtest.h>

#include "altup/util/error.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

std::string digest(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex_digest();
}

TEST(Sha256, NistVectors) {
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                   "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(digest(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesMakeTheSameDigest) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  for (const size_t piece : {1, 3, 55, 56, 63, 64, 65, 129}) {
    Sha256 hash;
    for (size_t i = 0; i < text.size(); i += piece) {
      hash.update(std::string_view(text).substr(i, piece));
    }
    EXPECT_EQ(hash.hex_digest(), digest(text)) << "pieces of " << piece;
  }
}

TEST(Sha256, OfAFileLongerThanTheBuffer) {
  const testing::TempDir dir;
  const std::string bytes((size_t{1} << 20) + 17, 'x');
  EXPECT_EQ(sha256_of_file(dir.write("file", bytes)), digest(bytes));
  EXPECT_THROW(sha256_of_file(dir / "missing"), UserError);
}

}  // namespace
}  // namespace altup
