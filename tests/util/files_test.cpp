#include "altup/util/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "altup/util/error.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;
using ::testing::ThrowsMessage;

TEST(Files, ReadGivesTheBytes) {
  const TempDir dir;
  const std::string bytes("a\r\n\0\xFF", 5);
  EXPECT_EQ(read_file(dir.write("a", bytes)), bytes);
  EXPECT_EQ(read_file(dir.write("empty", "")), "");
}

TEST(Files, WhatCannotBeReadIsAnError) {
  const TempDir dir;
  EXPECT_THAT([&] { read_file(dir / "none"); },
              ThrowsMessage<UserError>(HasSubstr("none: cannot be read; expected a file")));
  EXPECT_THAT([&] { read_file(dir.path()); },
              ThrowsMessage<UserError>(HasSubstr("cannot be read; expected a file")));
}

TEST(Files, AtomicWriteReplacesAndLeavesNothingBeside) {
  const TempDir dir;
  dir.write("a", "old and longer");
  write_file_atomic(dir / "a", "new");
  EXPECT_EQ(read_file(dir / "a"), "new");
  const std::filesystem::directory_iterator files(dir.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(Files, AFailedAtomicWriteKeepsTheOldFile) {
  const TempDir dir;
  dir.write("a", "old");
  std::filesystem::create_directory(dir / "a.tmp");  // in the temporary's place
  EXPECT_THROW(write_file_atomic(dir / "a", "new"), std::runtime_error);
  EXPECT_EQ(read_file(dir / "a"), "old");
  EXPECT_THROW(write_file_atomic(dir / "no/such/dir", "new"), std::runtime_error);
}

TEST(Files, GlobSortsByNameAndNamesWhatItDoesNotFind) {
  const TempDir dir;
  for (const std::string name : {"b.txt", "a.txt", "c.json", "sub/d.txt"}) dir.write(name, "");
  EXPECT_THAT(expand_glob(dir / "*.txt"), ElementsAre(dir / "a.txt", dir / "b.txt"));
  EXPECT_THAT(expand_glob(dir / "[bc].*"), ElementsAre(dir / "b.txt", dir / "c.json"));
  EXPECT_THAT(expand_glob(dir / "*/d.txt"), ElementsAre(dir / "sub/d.txt"));
  EXPECT_THAT(expand_glob(dir / "a.txt"), ElementsAre(dir / "a.txt"));
  EXPECT_THAT(
      [&] { expand_glob(dir / "*.tsv"); },
      ThrowsMessage<UserError>(HasSubstr("*.tsv\" names no file; expected a path or a pattern")));
}

}  // namespace
}  // namespace altup
