#include "altup/data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/data/support.h"

namespace altup {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using testing::small_tokenizer;
using testing::TempDir;

using Ids = std::vector<int32_t>;

TEST(Tokenizer, KnownIdsOfTheT5Vocabulary) {
  ALTUP_SHARED_DATA_OR_SKIP(model, "sentencepiece/t5.spiece.model");
  const Tokenizer t5(model, 100);
  EXPECT_EQ(t5.pieces(), 32000);
  EXPECT_EQ(t5.vocab_size(), 32100);
  EXPECT_EQ(t5.sentinel(0), 32099);
  EXPECT_EQ(t5.sentinel(99), 32000);
  EXPECT_EQ(t5.encode("a cow jumping over the moon"), Ids({3, 9, 9321, 15539, 147, 8, 8114}));
  EXPECT_EQ(t5.encode("Summary of the text."), Ids({20698, 13, 8, 1499, 5}));
  EXPECT_EQ(t5.encode("a\n\tb"), t5.encode("a b"));
  EXPECT_EQ(t5.encode("a\rb"), t5.encode("a b"));
  EXPECT_EQ(t5.encode(" a  b "), t5.encode("a b"));
}

TEST(Tokenizer, TextAfterASentinelBeginsAWordOnlyAfterASpace) {
  ALTUP_SHARED_DATA_OR_SKIP(model, "sentencepiece/t5.spiece.model");
  const Tokenizer t5(model, 100);
  EXPECT_EQ(t5.encode("<extra_id_0>. Hello"), Ids({32099, 5, 8774}));
  EXPECT_EQ(t5.encode("<extra_id_0> . Hello"), Ids({32099, 3, 5, 8774}));
  EXPECT_EQ(t5.encode("Hello <extra_id_0>."), Ids({8774, 32099, 5}));
  EXPECT_EQ(t5.encode("Hello <extra_id_0> world"), Ids({8774, 32099, 296}));
  EXPECT_EQ(t5.encode("Hello<extra_id_0>world"), Ids({8774, 32099, 7276}));
  EXPECT_EQ(t5.encode("<extra_id_0> <extra_id_99>"), Ids({32099, 32000}));
}

TEST(Tokenizer, OnlyPlainSentinelsInRangeAreSentinels) {
  const auto tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer->encode("<extra_id_7>"), ElementsAre(tokenizer->sentinel(7)));
  for (const std::string text : {"<extra_id_100>", "<extra_id_07>", "<extra_id_-1>", "<extra_id_>",
                                 "<extra_id_7", "<extra_id_99999999999999999999>"}) {
    for (const int32_t id : tokenizer->encode(text)) EXPECT_LT(id, tokenizer->pieces()) << text;
  }
  EXPECT_EQ(tokenizer->encode("<extra_id_<extra_id_2>").back(), tokenizer->sentinel(2));
}

TEST(Tokenizer, DecodingGivesTheTextBack) {
  const auto tokenizer = small_tokenizer();
  for (const std::string text : {"the quiet river.", "<extra_id_0> river", "old <extra_id_0> river",
                                 "<extra_id_0>. river <extra_id_1>.", ""}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(Tokenizer, DecodingDropsPadEosAndUnknownIds) {
  const auto tokenizer = small_tokenizer();
  Ids ids = {0, 1};
  for (const int32_t id : tokenizer->encode("silver bridge")) {
    ids.insert(ids.end(), {id, 0, static_cast<int32_t>(tokenizer->vocab_size()), 40000, -1});
  }
  ids.push_back(tokenizer->sentinel(3));
  ids.push_back(1);
  EXPECT_EQ(tokenizer->decode(ids), "silver bridge <extra_id_3>");
}

TEST(Tokenizer, TextOutsideTheVocabularyIsUnknown) {
  const auto ids = small_tokenizer()->encode("river \u4e2d river");
  EXPECT_THAT(ids, ::testing::Contains(Tokenizer::kUnk));
}

TEST(Tokenizer, KeepsTheBytesOfItsFile) {
  EXPECT_EQ(small_tokenizer()->model_bytes(), read_file(testing::trained_model()));
}

TEST(Tokenizer, BadModelFilesAreErrors) {
  const TempDir dir;
  const auto error = [](const std::filesystem::path& path) {
    return message_of<UserError>([&] { Tokenizer(path, 100); });
  };
  EXPECT_THAT(error(dir / "none.model"), AllOf(HasSubstr("none.model"), HasSubstr("expected")));
  EXPECT_THAT(error(dir.write("bad.model", "no model\n")), HasSubstr("is no SentencePiece model"));
  EXPECT_THAT(error(dir.write("empty.model", "")), HasSubstr("empty.model: is no SentencePiece"));
}

TEST(Tokenizer, OtherSpecialIdsAreAnError) {
  ALTUP_SHARED_DATA_OR_SKIP(model, "sentencepiece/small_1000.model");
  EXPECT_THAT(message_of<UserError>([&] { Tokenizer(model, 100); }),
              HasSubstr("expected T5's ids: pad 0, eos 1, unk 2"));
}

TEST(TokenizerTraining, HasT5sIdsAndTheWantedSize) {
  const auto tokenizer = small_tokenizer();  // the constructor checks pad, eos and unk
  EXPECT_EQ(tokenizer->pieces(), 120);
  EXPECT_EQ(tokenizer->vocab_size(), 220);
  const auto vocabulary =
      split(read_file(testing::trained_model().parent_path() / "spiece.vocab"), '\n');
  EXPECT_EQ(vocabulary.size(), 120 + 1);  // the last line is ended too
  EXPECT_EQ(vocabulary[0], "<pad>\t0");
  EXPECT_EQ(vocabulary[1], "</s>\t0");
  EXPECT_EQ(vocabulary[2], "<unk>\t0");
}

TEST(TokenizerTraining, IsDeterministicAndFollowsTheSeedOfItsSample) {
  const TempDir dir;
  const auto text = dir.write("text.txt", testing::paragraphs(300, 2));
  const auto train = [&](const std::string& name, uint64_t seed) {
    train_tokenizer({.inputs = {text}, .vocab_size = 80, .seed = seed, .max_sentences = 60},
                    dir / name);
    return read_file(dir / name / "spiece.model");
  };
  const auto model = train("a", 1);
  EXPECT_EQ(model, train("b", 1));
  EXPECT_NE(model, train("c", 2));
}

TEST(TokenizerTraining, ReadsJsonLinesAndGzipAndLongDocuments) {
  const TempDir dir;
  std::string document =
      testing::paragraphs(200, 3);  // far above SentencePiece's limit of 4192 bytes
  std::replace(document.begin(), document.end(), '\n', ' ');
  testing::write_gzip(dir / "text.jsonl.gz", "{\"text\": \"" + document + "\"}\n");
  train_tokenizer({.inputs = {dir / "text.jsonl.gz"}, .vocab_size = 100}, dir / "out");
  const Tokenizer tokenizer(dir / "out/spiece.model", 100);
  EXPECT_THAT(tokenizer.encode("river"), ::testing::SizeIs(1));
}

TEST(TokenizerTraining, TooSmallATextSaysWhatWouldFit) {
  const TempDir dir;
  const auto text = dir.write("text.txt", "a few words and no more\n");
  EXPECT_THAT(message_of<UserError>(
                  [&] { train_tokenizer({.inputs = {text}, .vocab_size = 1000}, dir / "out"); }),
              AllOf(HasSubstr("1000 pieces cannot be trained"), HasSubstr("value <= ")));
  const auto empty = dir.write("empty.txt", "\n\n");
  EXPECT_THAT(message_of<UserError>(
                  [&] { train_tokenizer({.inputs = {empty}, .vocab_size = 1000}, dir / "out"); }),
              HasSubstr("empty.txt: holds no text"));
  EXPECT_FALSE(std::filesystem::exists(dir / "out"));
}

}  // namespace
}  // namespace altup
