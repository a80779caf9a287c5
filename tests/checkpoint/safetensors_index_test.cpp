#include "altup/checkpoint/safetensors_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "altup/checkpoint/safetensors.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;
using Json = nlohmann::json;

std::vector<std::string> names(const fs::path& directory) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// 8, 16, 4 and 40 bytes.
NamedTensors four_tensors() {
  return {{"a", torch::tensor({1.0F, 2.0F})},
          {"b", torch::tensor({3.0F, 4.0F, 5.0F, 6.0F})},
          {"c", torch::tensor({7.0F})},
          {"d", torch::arange(10, torch::kFloat)}};
}

TEST(SafetensorsIndex, FilesHoldAtMostTheirBytesInTheOrderGiven) {
  const TempDir dir;
  EXPECT_EQ(write_safetensors_shards(dir.path(), four_tensors(), 24, {{"format", "pt"}}), 3);
  EXPECT_THAT(names(dir.path()),
              ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
  const auto index = Json::parse(read_file(dir / "model.safetensors.index.json"));
  EXPECT_EQ(index.at("metadata").at("total_size"), 8 + 16 + 4 + 40);
  EXPECT_EQ(index.at("weight_map"), Json({{"a", "model-00001-of-00003.safetensors"},
                                          {"b", "model-00001-of-00003.safetensors"},
                                          {"c", "model-00002-of-00003.safetensors"},
                                          {"d", "model-00003-of-00003.safetensors"}}));
  std::map<std::string, std::string> metadata;
  EXPECT_EQ(read_safetensors(dir / "model-00003-of-00003.safetensors", &metadata).size(), 1U);
  EXPECT_EQ(metadata.at("format"), "pt");

  const auto path = find_weights(dir.path());
  EXPECT_EQ(path.filename(), "model.safetensors.index.json");
  const auto read = read_weights(path);
  const auto written = four_tensors();
  ASSERT_EQ(read.size(), written.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].first, written[i].first);
    EXPECT_TRUE(torch::equal(read[i].second, written[i].second)) << read[i].first;
  }
}

TEST(SafetensorsIndex, WhatFitsOneFileHasNoIndex) {
  const TempDir dir;
  EXPECT_EQ(write_safetensors_shards(dir.path(), four_tensors(), 68), 1);
  EXPECT_THAT(names(dir.path()), ElementsAre("model.safetensors"));
  EXPECT_EQ(read_weights(find_weights(dir.path())).size(), 4U);
}

/// How two files, {"a", "b", "c"} and {"d"}, are refused after a change to their index or to them.
std::string refusal(const std::function<void(const TempDir&, Json& weight_map)>& change) {
  const TempDir dir;
  write_safetensors_shards(dir.path(), four_tensors(), 44);
  const auto path = dir / "model.safetensors.index.json";
  auto index = Json::parse(read_file(path));
  change(dir, index["weight_map"]);
  dir.write("model.safetensors.index.json", index.dump());
  try {
    read_weights(path);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SafetensorsIndexErrors, IndexAndFilesAgree) {
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  EXPECT_EQ(refusal([](const TempDir&, Json&) {}), "accepted");
  EXPECT_THAT(refusal([&](const TempDir& dir, Json&) { fs::remove(dir / second); }),
              HasSubstr(second + ": is missing; expected it"));
  EXPECT_THAT(refusal([&](const TempDir&, Json& map) { map["b"] = second; }),
              HasSubstr(first + ": holds \"b\"; expected it in " + second));
  EXPECT_THAT(refusal([&](const TempDir&, Json& map) { map["e"] = second; }),
              HasSubstr("index.json: puts \"e\" into " + second + ", which has no such tensor"));
  EXPECT_THAT(refusal([&](const TempDir&, Json& map) { map.erase("c"); }),
              HasSubstr(first + ": holds \"c\"; expected only tensors that"));
  // The same tensor in both files.
  EXPECT_THAT(refusal([&](const TempDir& dir, Json&) {
                write_safetensors(dir / second, {{"a", torch::ones({1})}, {"d", torch::ones({1})}});
              }),
              HasSubstr(second + ": holds \"a\"; expected it in " + first));
  EXPECT_THAT(refusal([&](const TempDir& dir, Json&) { dir.write(second, "cut"); }),
              HasSubstr(second + ": has 3 bytes"));
}

TEST(SafetensorsIndexErrors, AnIndexNamesFilesBesideIt) {
  for (const std::string file : {"../model.safetensors", "/etc/passwd", "..", "sub/file", ""}) {
    EXPECT_THAT(refusal([&](const TempDir&, Json& map) { map["a"] = file; }),
                HasSubstr("puts \"a\" into \"" + file + "\"; expected the name of a file"));
  }
  EXPECT_THAT(refusal([](const TempDir&, Json& map) { map = 3; }),
              HasSubstr("has no \"weight_map\""));
  EXPECT_THAT(refusal([](const TempDir&, Json& map) { map["a"] = 3; }),
              HasSubstr("has no \"weight_map\""));
  const TempDir broken;
  const auto path = broken.write("model.safetensors.index.json", "{\n\"weight_map\": {\n]");
  try {
    read_weights(path);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("index.json:3: broken JSON"));
  }
}

TEST(SafetensorsIndexErrors, DirectoriesWithoutSafetensorsSayWhatToDo) {
  const auto refused = [](const TempDir& dir) {
    try {
      find_weights(dir.path());
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const TempDir empty;
  EXPECT_THAT(refused(empty), HasSubstr("model.safetensors: is missing"));
  for (const std::string name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    const TempDir pickled;
    const auto path = pickled.write(name, "");
    const auto message = refused(pickled);
    EXPECT_THAT(message, HasSubstr(path.string() + ": pickled weights are not read"));
    EXPECT_THAT(message, HasSubstr("d = '" + pickled.path().string() + "'; import transformers"));
    EXPECT_EQ(message.find('\n'), std::string::npos);
    pickled.write("model.safetensors", "");
    EXPECT_EQ(refused(pickled), "accepted");
  }
}

}  // namespace
}  // namespace altup
