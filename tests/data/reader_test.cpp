#include "altup/data/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/data/support.h"

namespace altup {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using testing::TempDir;
using testing::write_gzip;

using Path = std::filesystem::path;

std::vector<std::string> lines_of(const Path& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> documents_of(const Path& path,
                                      TextLayout layout = TextLayout::kParagraph) {
  DocumentReader reader(path, layout);
  std::vector<std::string> documents;
  for (std::string document; reader.next(document);) documents.push_back(document);
  return documents;
}

std::string error_of(const Path& path) {
  return message_of<UserError>([&] { documents_of(path); });
}

constexpr const char* kWrapped =
    "\xEF\xBB\xBFOne line\r\n  and its end.\r\n\r\n \t\r\nTwo.\r\nThree.";

TEST(LineReader, DropsTheMarkTheEndsAndCountsLines) {
  const TempDir dir;
  const auto path = dir.write("a.txt", kWrapped);
  EXPECT_THAT(lines_of(path),
              ElementsAre("One line", "  and its end.", "", " \t", "Two.", "Three."));
  LineReader reader(path);
  std::string line;
  for (int64_t i = 1; i <= 3; ++i) {
    reader.next(line);
    EXPECT_EQ(reader.line_number(), i);
  }
}

TEST(LineReader, ACarriageReturnInsideALineStays) {
  const TempDir dir;
  EXPECT_THAT(lines_of(dir.write("a.txt", "a\rb\n\r\n\n")), ElementsAre("a\rb", "", ""));
}

TEST(LineReader, AMarkIsDroppedAtTheFilesBeginningOnly) {
  const TempDir dir;
  EXPECT_THAT(lines_of(dir.write("a.txt",
                                 "a\n\xEF\xBB\xBF"
                                 "b\n")),
              ElementsAre("a",
                          "\xEF\xBB\xBF"
                          "b"));
}

TEST(LineReader, EmptyFilesAndLongLines) {
  const TempDir dir;
  EXPECT_THAT(lines_of(dir.write("empty.txt", "")), IsEmpty());
  const std::string line(3'000'000, 'x');
  EXPECT_THAT(lines_of(dir.write("long.txt", line + "\nend")), ElementsAre(line, "end"));
}

TEST(LineReader, ReadsGzipWithSeveralMembers) {
  const TempDir dir;
  write_gzip(dir / "a.txt.gz", "one\ntw");
  write_gzip(dir / "a.txt.gz", "o\nthree\n", "ab");
  EXPECT_THAT(lines_of(dir / "a.txt.gz"), ElementsAre("one", "two", "three"));
}

TEST(LineReader, BrokenGzipIsAnErrorThatNamesTheFile) {
  const TempDir dir;
  write_gzip(dir / "whole.txt.gz", testing::paragraphs(2000, 1));
  const auto bytes = read_file(dir / "whole.txt.gz");
  const auto cut = dir.write("cut.txt.gz", bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(error_of(cut), AllOf(HasSubstr("cut.txt.gz:"), HasSubstr("ends too early")));
  const auto tail = dir.write("tail.txt.gz", bytes.substr(0, bytes.size() - 3));
  EXPECT_THAT(error_of(tail), HasSubstr("ends too early"));
  auto flipped = bytes;
  flipped[bytes.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(error_of(dir.write("flipped.txt.gz", flipped)),
              AllOf(HasSubstr("flipped.txt.gz:"), HasSubstr("incorrect data check")));
  EXPECT_THAT(error_of(dir.write("plain.txt.gz", "not compressed\n")),
              HasSubstr("is not compressed"));
}

TEST(LineReader, MissingFilesAndDirectoriesAreErrors) {
  const TempDir dir;
  EXPECT_THAT(error_of(dir / "none.txt"), HasSubstr("none.txt: cannot be opened: No such file"));
  EXPECT_THAT(error_of(dir.path()), EndsWith("is a directory; expected a file"));
}

TEST(LineReader, InvalidUtf8IsAnErrorWithFileAndLine) {
  const TempDir dir;
  EXPECT_THAT(error_of(dir.write("a.txt", "good\nno\xFF\n")),
              HasSubstr("a.txt:2: byte 3 is not valid UTF-8"));
}

TEST(DocumentReader, LayoutsOfText) {
  const TempDir dir;
  const auto path = dir.write("a.txt", kWrapped);
  EXPECT_THAT(documents_of(path, TextLayout::kParagraph),
              ElementsAre("One line and its end.", "Two. Three."));
  EXPECT_THAT(documents_of(path, TextLayout::kLine),
              ElementsAre("One line", "and its end.", "Two.", "Three."));
  EXPECT_THAT(documents_of(path, TextLayout::kFile),
              ElementsAre("One line and its end. Two. Three."));
  EXPECT_THAT(documents_of(dir.write("blank.txt", "\n \n\r\n")), IsEmpty());
}

TEST(DocumentReader, JsonLinesByNamePlainAndGzipped) {
  const TempDir dir;
  const std::string lines =
      "{\"text\": \"one\\ntwo \\u00e9\", \"url\": 3}\r\n\n{\"text\": \" \"}\n{\"text\":\"last\"}";
  for (const std::string name : {"a.jsonl", "a.json"}) {
    EXPECT_THAT(documents_of(dir.write(name, lines)), ElementsAre("one\ntwo \u00e9", "last"));
    write_gzip(dir / (name + ".gz"), lines);
    EXPECT_THAT(documents_of(dir / (name + ".gz")), ElementsAre("one\ntwo \u00e9", "last"));
  }
  // The same bytes under another name are text.
  EXPECT_THAT(documents_of(dir.write("a.txt", "{\"text\": \"x\"}")),
              ElementsAre("{\"text\": \"x\"}"));
}

TEST(DocumentReader, BrokenJsonIsAnErrorWithFileAndLine) {
  const TempDir dir;
  const auto error = [&](const std::string& line) {
    return error_of(dir.write("a.jsonl", "{\"text\": \"good\"}\n" + line + "\n"));
  };
  const auto expected = EndsWith("; expected one JSON object a line with a string \"text\"");
  EXPECT_THAT(error("{\"text\": "), AllOf(HasSubstr("a.jsonl:2: is not valid JSON"), expected));
  EXPECT_THAT(error("[1, 2]"), AllOf(HasSubstr("a.jsonl:2: holds a JSON array"), expected));
  EXPECT_THAT(error("{\"txt\": \"x\"}"), AllOf(HasSubstr("a.jsonl:2: has no \"text\""), expected));
  EXPECT_THAT(error("{\"text\": 5}"), AllOf(HasSubstr("\"text\" is a JSON number"), expected));
  EXPECT_THAT(error("{\"text\": \"\\ud800\"}"), HasSubstr("a.jsonl:2: is not valid JSON"));
}

#ifndef ALTUP_SANITIZE  // whose allocator keeps what was freed
/// The most memory that this process held since the last reset, in KiB.
int64_t peak_memory_kib() {
  LineReader status("/proc/self/status");
  for (std::string line; status.next(line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
  }
  return 0;
}

TEST(DocumentReader, AFileIsNeverHeldWhole) {
  const TempDir dir;
  const std::string part = testing::paragraphs(5000, 1);
  gzFile file = gzopen((dir / "big.txt.gz").c_str(), "wb1");
  size_t size = 0;
  for (; size < 60'000'000; size += part.size()) {
    gzwrite(file, part.data(), static_cast<unsigned>(part.size()));
  }
  gzclose(file);
  std::ofstream("/proc/self/clear_refs") << "5";  // resets the peak to what is held now
  const int64_t before = peak_memory_kib();
  DocumentReader reader(dir / "big.txt.gz", TextLayout::kParagraph);
  size_t read = 0;
  for (std::string document; reader.next(document);) read += document.size() + 2;
  EXPECT_EQ(read, size);
  EXPECT_LT(peak_memory_kib() - before, 10'000);
}
#endif

TEST(DocumentReader, RealCorpora) {
  ALTUP_SHARED_DATA_OR_SKIP(c4, "text/c4/olmo_c4-sample.01.json.gz");
  EXPECT_EQ(documents_of(c4).size(), 10);
  ALTUP_SHARED_DATA_OR_SKIP(novels, "text/novels");
  const auto novel = expand_glob((novels / "*.txt").string()).front();
  const auto documents = documents_of(novel);
  EXPECT_GT(documents.size(), 10);
  for (const auto& document : documents) {
    ASSERT_THAT(document, ::testing::Not(HasSubstr("\r")));
    ASSERT_FALSE(document.starts_with("\xEF\xBB\xBF"));
  }
}

}  // namespace
}  // namespace altup
