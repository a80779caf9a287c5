// Against SentencePiece files and JSON written out by hand. That transformers encodes the same ids
// with what is written: tests/python/test_huggingface_export.py.
#include "altup/models/hugging_face_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "altup/models/sentencepiece_file.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/models/sentencepiece_testing.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

using ::testing::HasSubstr;
using testing::refusal;
using namespace testing;  // NOLINT: the small writers of SentencePiece files
using Json = nlohmann::json;

TEST(SentencePieceFile, PiecesAndSettingsAreRead) {
  const auto file = parse_sentencepiece(some_pieces() + some_settings(), "file");
  ASSERT_EQ(file.pieces.size(), 7U);
  EXPECT_EQ(file.pieces[3].text, "\u2581the");
  EXPECT_EQ(file.pieces[3].score, -1.5F);
  EXPECT_EQ(file.pieces[0].type, SentencePieceFile::kControl);
  EXPECT_EQ(file.pieces[2].type, SentencePieceFile::kUnknown);
  EXPECT_EQ(file.model_type, SentencePieceFile::kUnigram);
  EXPECT_TRUE(file.add_dummy_prefix && file.remove_extra_whitespaces && file.escape_whitespaces);
  EXPECT_FALSE(file.byte_fallback || file.whitespace_as_suffix);
  EXPECT_EQ(some_pieces().substr(file.pieces[1].begin, file.pieces[1].end - file.pieces[1].begin),
            piece("</s>", 0, 3));
  // Fields that later versions add are passed over, whatever their kind.
  const auto unknown = integer_field(99, 3) + bytes_field(98, "x") + varint(97 << 3 | 5) + "1234" +
                       varint(96 << 3 | 1) + "12345678";
  EXPECT_EQ(parse_sentencepiece(unknown + some_pieces(), "file").pieces.size(), 7U);
}

TEST(SentencePieceFile, WhatIsNoSuchFileIsRefused) {
  const auto refused = [](const std::string& bytes) {
    return refusal([&] { parse_sentencepiece(bytes, "x.model"); });
  };
  const auto whole = some_pieces();
  for (size_t size = whole.size() - piece("s", -3, 1).size() + 1; size < whole.size(); ++size) {
    EXPECT_THAT(refused(whole.substr(0, size)), HasSubstr("x.model: is no SentencePiece model"));
  }
  EXPECT_THAT(refused(""), HasSubstr("is no SentencePiece model"));
  EXPECT_THAT(refused("{\"version\": \"1.0\"}"), HasSubstr("is no SentencePiece model"));
  EXPECT_THAT(refused(std::string(12, '\xff')), HasSubstr("is no SentencePiece model"));
}

TEST(SentencePieceFile, T5sOwnFileIsRead) {
  ALTUP_SHARED_DATA_OR_SKIP(path, "sentencepiece/t5.spiece.model");
  const auto file = parse_sentencepiece(read_file(path), path.string());
  ASSERT_EQ(file.pieces.size(), 32000U);
  EXPECT_EQ(file.pieces[8114].text, "\u2581moon");  // of the known ids of "… over the moon"
  EXPECT_EQ(file.model_type, SentencePieceFile::kUnigram);
  EXPECT_GT(file.charsmap.size(), 100'000U);
}

TEST(HuggingFaceTokenizer, SentinelsAreT5sUnlessTheSettingsSay) {
  const TempDir dir;
  dir.write("spiece.model", some_pieces());
  EXPECT_EQ(read_hugging_face_vocabulary(dir.path()).sentinels, 100);
  EXPECT_EQ(read_hugging_face_vocabulary(dir.path()).spiece_model, some_pieces());
  dir.write("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})");
  EXPECT_EQ(read_hugging_face_vocabulary(dir.path()).sentinels, 100);
  dir.write("tokenizer_config.json", R"({"extra_ids": 12})");
  EXPECT_EQ(read_hugging_face_vocabulary(dir.path()).sentinels, 12);
}

TEST(HuggingFaceTokenizer, Mt5sOwnSentinelsBecomeOurs) {
  const auto own = piece("\u2581<extra_id_2>", 0, 4) + piece("\u2581<extra_id_1>", 0, 4) +
                   piece("\u2581<extra_id_0>", 0, 4);
  const TempDir dir;
  dir.write("spiece.model", some_settings() + some_pieces() + own + integer_field(9, 1));
  dir.write("tokenizer_config.json", R"({"extra_ids": 0})");
  const auto vocabulary = read_hugging_face_vocabulary(dir.path());
  EXPECT_EQ(vocabulary.sentinels, 3);
  EXPECT_EQ(vocabulary.spiece_model, some_settings() + some_pieces() + integer_field(9, 1));
  // Only a run that ends in <extra_id_0> keeps its ids that way.
  dir.write("spiece.model", some_pieces() + piece("\u2581<extra_id_1>", 0, 4));
  EXPECT_THAT(refusal([&] { read_hugging_face_vocabulary(dir.path()); }),
              HasSubstr("tokenizer_config.json: \"extra_ids\" is 0; expected at least 1"));
}

TEST(HuggingFaceTokenizer, ATokenizerWithoutItsSentencePieceFileSaysWhereToGetIt) {
  const TempDir dir;
  const auto refused = [&] { return refusal([&] { read_hugging_face_vocabulary(dir.path()); }); };
  EXPECT_THAT(refused(), HasSubstr("spiece.model: is missing; expected the SentencePiece file"));
  dir.write("tokenizer.json", "{}");
  EXPECT_THAT(refused(), HasSubstr("tokenizer.json: is not read; expected spiece.model beside it"));
  EXPECT_THAT(refused(), HasSubstr("google-t5/t5-small"));
  dir.write("spiece.model", some_pieces());
  dir.write("tokenizer_config.json", R"({"extra_ids": "many"})");
  EXPECT_THAT(refused(), HasSubstr("\"extra_ids\" is \"many\"; expected a whole number"));
}

TEST(HuggingFaceTokenizer, TokenizerJsonRepeatsPiecesScoresAndSentinels) {
  const TempDir dir;
  const auto bytes = some_pieces() + some_settings("fooba");
  EXPECT_EQ(write_hugging_face_vocabulary(dir.path(), {bytes, 2}), 9);
  EXPECT_EQ(read_file(dir / "spiece.model"), bytes);
  const auto json = Json::parse(read_file(dir / "tokenizer.json"));
  EXPECT_EQ(json.at("model").at("vocab"),
            Json::parse(R"([["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁the", -1.5],
                            ["▁", -2.0], ["cow", -2.5], ["s", -3.0],
                            ["<extra_id_1>", 0.0], ["<extra_id_0>", 0.0]])"));
  EXPECT_EQ(json.at("model").at("unk_id"), 2);
  std::map<std::string, int64_t> added;
  for (const auto& token : json.at("added_tokens")) added[token.at("content")] = token.at("id");
  EXPECT_EQ(
      added,
      (std::map<std::string, int64_t>{
          {"<pad>", 0}, {"</s>", 1}, {"<unk>", 2}, {"<extra_id_1>", 7}, {"<extra_id_0>", 8}}));
  // RFC 4648, section 10.
  const auto& precompiled = json.at("normalizer").at("normalizers").at(0);
  EXPECT_EQ(precompiled.at("precompiled_charsmap"), "Zm9vYmE=");
  const auto settings = Json::parse(read_file(dir / "tokenizer_config.json"));
  EXPECT_EQ(settings.at("extra_ids"), 2);
  EXPECT_EQ(settings.at("additional_special_tokens"), Json({"<extra_id_0>", "<extra_id_1>"}));

  const auto read = read_hugging_face_vocabulary(dir.path());
  EXPECT_EQ(read.spiece_model, bytes);
  EXPECT_EQ(read.sentinels, 2);
}

TEST(HuggingFaceTokenizer, KindsThatTransformersDoesNotKnowAreRefused) {
  const TempDir dir;
  const auto refused = [&](const std::string& more) {
    return refusal([&] { write_hugging_face_vocabulary(dir.path(), {some_pieces() + more, 2}); });
  };
  EXPECT_THAT(refused(bytes_field(2, integer_field(3, 2))), HasSubstr("is no unigram model"));
  EXPECT_THAT(refused(bytes_field(2, integer_field(35, 1))), HasSubstr("falls back to bytes"));
  EXPECT_THAT(refused(bytes_field(2, integer_field(24, 1))), HasSubstr("at the end of a word"));
  EXPECT_THAT(refused(bytes_field(3, integer_field(3, 0))), HasSubstr("no space in front"));
  EXPECT_THAT(refused(bytes_field(3, integer_field(4, 0))), HasSubstr("keeps repeated spaces"));
  EXPECT_THAT(refused(bytes_field(3, integer_field(5, 0))), HasSubstr("keeps spaces"));
  EXPECT_THAT(refused(piece("<b>", 0, 4)), HasSubstr("the user-defined piece \"<b>\""));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_EQ(refused(""), "");
}

}  // namespace
}  // namespace altup
