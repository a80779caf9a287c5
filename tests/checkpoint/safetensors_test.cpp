#include "altup/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TempDir;
using namespace std::string_literals;

const std::vector<at::ScalarType> kTypes = {at::kDouble, at::kFloat, at::kHalf,  at::kBFloat16,
                                            at::kLong,   at::kInt,   at::kShort, at::kChar,
                                            at::kByte,   at::kBool};

TEST(Safetensors, RoundTripOfAllDtypes) {
  const TempDir dir;
  NamedTensors tensors;
  // An odd count of bytes in between leaves what follows unaligned.
  for (const auto type : kTypes) {
    const std::string name = toString(type);
    tensors.emplace_back(name, torch::randint(0, 2, {3, 5}).to(type));
    tensors.emplace_back(name + ".empty", torch::empty({0, 4}, type));
    tensors.emplace_back(name + ".odd", torch::ones({3}, at::kByte));
    tensors.emplace_back(name + ".scalar", torch::ones({}, type));
  }
  write_safetensors(dir / "all", tensors, {{"format", "pt"}, {"note", "ä \"quoted\"\n"}});

  std::map<std::string, std::string> metadata;
  const NamedTensors read = read_safetensors(dir / "all", &metadata);
  ASSERT_EQ(read.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(read[i].first, tensors[i].first);
    EXPECT_EQ(read[i].second.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(torch::equal(read[i].second, tensors[i].second)) << tensors[i].first;
    const auto address = reinterpret_cast<uintptr_t>(read[i].second.const_data_ptr());
    EXPECT_EQ(address % tensors[i].second.element_size(), 0U) << tensors[i].first;
  }
  EXPECT_EQ(metadata.at("note"), "ä \"quoted\"\n");
  EXPECT_EQ(metadata.size(), 2U);
}

TEST(Safetensors, BytesArePythons) {
  // What safetensors 0.8.0 (Python) writes for the same tensors.
  const std::string golden =
      "\xd0\0\0\0\0\0\0\0"s
      R"({"__metadata__":{"format":"pt"},"step":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("weight":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},)"
      R"("mask":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}} )"s +
      "\x07\0\0\0\0\0\0\0"s + "\0\0\x80\x3f\0\0\0\xc0"s + "\x01\0\x01"s;
  const TempDir dir;
  const NamedTensors tensors = {{"step", torch::tensor(7, at::kLong)},
                                {"weight", torch::tensor({{1.0F, -2.0F}})},
                                {"mask", torch::tensor({true, false, true})}};
  write_safetensors(dir / "file", tensors, {{"format", "pt"}});
  EXPECT_EQ(read_file(dir / "file"), golden);

  const std::string escaped =
      "\x40\0\0\0\0\0\0\0"s
      R"({"é\"\\\n":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]}} )"s;
  write_safetensors(dir / "escaped", {{"é\"\\\n", torch::empty({0, 4})}});
  EXPECT_EQ(read_file(dir / "escaped"), escaped);
}

TEST(Safetensors, WritesViewsAsTheyLook) {
  const TempDir dir;
  const at::Tensor base = torch::arange(24, at::kFloat).view({4, 6});
  const NamedTensors tensors = {{"transposed", base.t()},
                                {"strided", base.slice(1, 0, 6, 2)},
                                {"expanded", torch::ones({1}).expand({5})},
                                {"parameter", torch::ones({2}).requires_grad_()}};
  write_safetensors(dir / "views", tensors);
  const NamedTensors read = read_safetensors(dir / "views");
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(torch::equal(read[i].second, tensors[i].second)) << tensors[i].first;
  }
}

TEST(Safetensors, TensorsOutliveTheReadAndNeverChangeTheFile) {
  const TempDir dir;
  write_safetensors(dir / "file", {{"w", torch::ones({1000})}});
  const at::Tensor w = read_safetensors(dir / "file")[0].second;
  w.fill_(5);  // needs the mapping to be alive and writable
  EXPECT_EQ(read_safetensors(dir / "file")[0].second.sum().item<float>(), 1000);
  // Overwriting the file that a tensor is mapped from.
  write_safetensors(dir / "file", {{"w", w + 1}, {"old", w}});
  const NamedTensors read = read_safetensors(dir / "file");
  EXPECT_EQ(read[0].second.sum().item<float>(), 6000);
  EXPECT_EQ(read[1].second.sum().item<float>(), 5000);
  EXPECT_EQ(w.sum().item<float>(), 5000);
}

TEST(Safetensors, ReadsTensorsThatTheHeaderListsInAnotherOrder) {
  const TempDir dir;
  const std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
                             R"("a":{"data_offsets":[0,2],"shape":[2],"dtype":"U8"}})";
  const auto path = dir.write(
      "file", std::string{static_cast<char>(header.size())} + "\0\0\0\0\0\0\0"s + header + "xyz");
  const NamedTensors read = read_safetensors(path);
  EXPECT_EQ(read[0].first, "a");
  EXPECT_TRUE(torch::equal(read[0].second, torch::tensor({'x', 'y'}, at::kByte)));
  EXPECT_TRUE(torch::equal(read[1].second, torch::tensor({'z'}, at::kByte)));
}

TEST(Safetensors, RefusesToWriteWhatTheFormatCannotHold) {
  const TempDir dir;
  const at::Tensor one = torch::ones({1});
  EXPECT_THROW(write_safetensors(dir / "f", {{"a", one}, {"a", one}}), c10::Error);
  EXPECT_THROW(write_safetensors(dir / "f", {{"__metadata__", one}}), c10::Error);
  EXPECT_THROW(write_safetensors(dir / "f", {{"c", torch::ones({1}, at::kComplexFloat)}}),
               c10::Error);
  EXPECT_THROW(write_safetensors(dir / "none" / "f", {{"a", one}}), std::runtime_error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

// --- Broken files
// ----------------------------------------------------------------------------------------------

std::string refusal(const std::filesystem::path& path) {
  try {
    read_safetensors(path);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

/// How a file with this header and `data_bytes` of data is refused.
std::string refusal_of(const std::string& header, size_t data_bytes) {
  const TempDir dir;
  uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  return refusal(dir.write("broken.safetensors", bytes + header + std::string(data_bytes, '\0')));
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(SafetensorsErrors, TheHelperMakesGoodFilesToo) {
  EXPECT_EQ(refusal_of("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 8), "accepted");
  EXPECT_EQ(refusal_of("{}", 0), "accepted");
}

TEST(SafetensorsErrors, EveryCutOfAFileIsRefusedByName) {
  const TempDir dir;
  write_safetensors(dir / "whole", {{"w", torch::ones({3})}, {"v", torch::ones({2}, at::kByte)}});
  const std::string bytes = read_file(dir / "whole");
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto path = dir.write("cut", bytes.substr(0, size));
    EXPECT_THAT(refusal(path), HasSubstr(path.string() + ": ")) << "cut to " << size;
  }
}

TEST(SafetensorsErrors, MissingFileAndDirectory) {
  const TempDir dir;
  EXPECT_THAT(refusal(dir / "missing"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(dir.path()), HasSubstr("expected a safetensors file"));
}

TEST(SafetensorsErrors, HeaderLongerThanTheFile) {
  const TempDir dir;
  const auto path = dir.write("f", "\xff\xff\xff\xff\xff\xff\xff\xff{}"s);
  EXPECT_THAT(refusal(path), HasSubstr("names a header of 18446744073709551615"));
  EXPECT_THAT(refusal(dir.write("g", "\x03\0\0\0\0\0\0\0{}"s)), HasSubstr("a header of 3"));
}

TEST(SafetensorsErrors, HeaderIsNoJsonObject) {
  EXPECT_THAT(refusal_of("{\"a\":", 0), HasSubstr("is no JSON"));
  EXPECT_THAT(refusal_of("[1]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal_of("{\"\xff\":1}", 0), HasSubstr("is no JSON"));
  EXPECT_THAT(refusal_of(R"({"__metadata__":{"a":1}})", 0), HasSubstr("not an object of strings"));
}

TEST(SafetensorsErrors, EntriesThatLackWhatTheyNeed) {
  const auto lacks = HasSubstr("tensor \"a\" lacks a dtype, a shape or data_offsets");
  EXPECT_THAT(refusal_of(R"({"a":3})", 0), lacks);
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"F32","shape":[0]}})", 0), lacks);
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":4,"shape":[0],"data_offsets":[0,0]}})", 0), lacks);
  EXPECT_THAT(refusal_of("{" + entry("a", "U8", "[-1]", "[0,0]") + "}", 0), lacks);
  EXPECT_THAT(refusal_of("{" + entry("a", "U8", "[1.5]", "[0,1]") + "}", 1), lacks);
}

TEST(SafetensorsErrors, UnknownDtype) {
  EXPECT_THAT(refusal_of("{" + entry("a", "F7", "[1]", "[0,4]") + "}", 4),
              HasSubstr("tensor \"a\" has the unknown dtype \"F7\""));
}

TEST(SafetensorsErrors, OffsetsOutsideTheFile) {
  const auto outside = HasSubstr("outside the file's 4 bytes");
  EXPECT_THAT(refusal_of("{" + entry("a", "U8", "[8]", "[0,8]") + "}", 4), outside);
  EXPECT_THAT(refusal_of("{" + entry("a", "U8", "[1]", "[4,3]") + "}", 4), outside);
  EXPECT_THAT(refusal_of("{" + entry("a", "U8", "[4]", "[0,4,4]") + "}", 4), outside);
  EXPECT_THAT(
      refusal_of("{" + entry("a", "U8", "[1]", "[18446744073709551614,18446744073709551615]") + "}",
                 4),
      outside);
}

TEST(SafetensorsErrors, SizeThatIsNotTheShapes) {
  EXPECT_THAT(refusal_of("{" + entry("a", "F32", "[2]", "[0,4]") + "}", 4),
              HasSubstr("has 4 bytes; expected 8 for F32 [2]"));
  EXPECT_THAT(refusal_of("{" + entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0),
              HasSubstr("impossible shape"));
}

TEST(SafetensorsErrors, OverlapsGapsAndBytesThatNoTensorOwns) {
  const std::string a = entry("a", "U8", "[4]", "[0,4]");
  EXPECT_THAT(refusal_of("{" + a + "," + entry("b", "U8", "[4]", "[2,6]") + "}", 6),
              HasSubstr("tensor \"b\" starts at byte 2 of the data, overlapping"));
  EXPECT_THAT(refusal_of("{" + a + "," + entry("b", "U8", "[4]", "[5,9]") + "}", 9),
              AllOf(HasSubstr("after a gap"), HasSubstr("expected 4")));
  EXPECT_THAT(refusal_of("{" + a + "}", 5), HasSubstr("from its header"));
}

TEST(SafetensorsErrors, ANameTwice) {
  EXPECT_THAT(
      refusal_of(
          "{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("a", "U8", "[4]", "[4,8]") + "}", 8),
      HasSubstr("holds \"a\" twice"));
}

}  // namespace
}  // namespace altup
