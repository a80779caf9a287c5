// Chunks cover the corpus, the order and the corruption depend on the seed alone, and a saved
// position continues bit for bit from everywhere: within a batch's window, across windows, files
// and epochs.
#include "altup/data/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "tests/data/support.h"

namespace altup {

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using testing::paragraphs;
using testing::small_tokenizer;
using testing::TempDir;

/// Three files, one of them empty and one gzipped JSON lines; 64-token inputs, windows of 8 chunks.
class Corpus {
 public:
  explicit Corpus(int size = 20) {
    dir_.write("a.txt", paragraphs(size, 1));
    dir_.write("b.txt", "\n");
    std::string lines;
    for (const auto& paragraph : split(paragraphs(size, 2), '\n')) {
      lines += "{\"text\": \"" + paragraph + "\"}\n";
    }
    testing::write_gzip(dir_ / "c.jsonl.gz", lines);
    config_.input_length = 64;
    config_.shuffle_window = 8;
  }

  DataConfig& config() { return config_; }
  const DataConfig& config() const { return config_; }
  const TempDir& dir() const { return dir_; }
  std::vector<std::string> patterns() const { return {dir_ / "*.txt", dir_ / "*.jsonl.gz"}; }

  std::unique_ptr<BatchSource> source(int64_t batch_size = 3, uint64_t seed = 1) const {
    return make_pretraining_source(config_, small_tokenizer(), patterns(), batch_size, seed);
  }

  std::vector<int32_t> tokens(TextLayout layout = TextLayout::kParagraph) const {
    std::vector<int32_t> all;
    for (const std::string name : {"a.txt", "b.txt", "c.jsonl.gz"}) {
      DocumentReader reader(dir_ / name, layout);
      for (std::string document; reader.next(document);) {
        const auto ids = small_tokenizer()->encode(document);
        all.insert(all.end(), ids.begin(), ids.end());
        all.push_back(Tokenizer::kEos);
      }
    }
    return all;
  }

 private:
  TempDir dir_;
  DataConfig config_;
};

constexpr int64_t kChunk = 70;  // of 64-token inputs

std::vector<Batch> take(BatchSource& source, int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(source.next());
  return batches;
}

/// The chunk that a row was made of.
std::vector<int32_t> chunk_of(const Batch& batch, int64_t row) {
  const auto tokenizer = small_tokenizer();
  const auto inputs = batch.input(row);
  auto targets = batch.target(row).begin();
  const auto targets_end = batch.target(row).end() - 1;  // without eos
  std::vector<int32_t> chunk;
  int64_t next = tokenizer->sentinel(0);
  for (const int64_t id : inputs.first(inputs.size() - 1)) {
    if (id != next) {
      chunk.push_back(static_cast<int32_t>(id));
      continue;
    }
    --next;
    for (++targets; targets != targets_end && *targets != next; ++targets) {
      chunk.push_back(static_cast<int32_t>(*targets));
    }
  }
  return chunk;
}

/// Chunks of a corpus read file by file in this order.
std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& tokens) {
  std::vector<std::vector<int32_t>> chunks;
  for (size_t at = 0; at + kChunk <= tokens.size(); at += kChunk) {
    chunks.emplace_back(tokens.begin() + static_cast<int64_t>(at),
                        tokens.begin() + static_cast<int64_t>(at) + kChunk);
  }
  return chunks;
}

TEST(Pretraining, AnEpochIsEveryChunkOnceInAnotherOrder) {
  const Corpus corpus(50);  // with text in one file only, whose order is known
  testing::write_gzip(corpus.dir() / "c.jsonl.gz", "");
  const auto expected = cut(corpus.tokens());
  ASSERT_GT(expected.size(), 8);

  const auto source = corpus.source(1);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::vector<int32_t>> chunks;
    for (size_t i = 0; i < expected.size(); ++i) chunks.push_back(chunk_of(source->next(), 0));
    EXPECT_NE(chunks, expected) << "not shuffled";
    EXPECT_TRUE(std::is_permutation(chunks.begin(), chunks.begin() + 8, expected.begin()))
        << "the first window is the first 8 chunks";
    EXPECT_TRUE(std::is_permutation(chunks.begin(), chunks.end(), expected.begin())) << epoch;
  }
}

TEST(Pretraining, BatchesHaveTheWantedLengths) {
  const auto batch = Corpus().source(5)->next();
  EXPECT_EQ(batch.size, 5);
  EXPECT_THAT(batch.input_lengths, ::testing::Each(64));
  EXPECT_EQ(batch.input_tokens(), 5 * 64);
  EXPECT_EQ(batch.target_tokens(), 5 * lengths_of_chunk(kChunk, {}).target);
}

TEST(Pretraining, DependsOnTheSeedAlone) {
  const Corpus corpus;
  EXPECT_EQ(take(*corpus.source(3, 1), 40), take(*corpus.source(3, 1), 40));
  EXPECT_NE(take(*corpus.source(3, 1), 1), take(*corpus.source(3, 2), 1));
}

TEST(Pretraining, ExamplesDoNotDependOnTheBatchSize) {
  const Corpus corpus;
  const auto threes = take(*corpus.source(3), 4);
  const auto fours = take(*corpus.source(4), 3);
  for (int64_t i = 0; i < 12; ++i) {
    EXPECT_EQ(chunk_of(threes[static_cast<size_t>(i / 3)], i % 3),
              chunk_of(fours[static_cast<size_t>(i / 4)], i % 4));
  }
}

TEST(Pretraining, CorruptionAndFileOrderAreNewInEachEpoch) {
  Corpus corpus;
  corpus.config().shuffle_window = 1;  // what is left of the order is that of the files
  const auto source = corpus.source(1);
  const auto size = cut(corpus.tokens()).size();
  std::set<std::vector<int32_t>> first_chunks;
  std::map<std::vector<int32_t>, std::set<std::vector<int64_t>>> inputs_of;
  for (int epoch = 0; epoch < 8; ++epoch) {
    for (size_t i = 0; i < size; ++i) {
      const auto batch = source->next();
      if (i == 0) first_chunks.insert(chunk_of(batch, 0));
      inputs_of[chunk_of(batch, 0)].insert(batch.input_ids);
    }
  }
  EXPECT_EQ(first_chunks.size(), 2) << "two files have text, and either comes first at times";
  for (const auto& chunk : first_chunks) EXPECT_GT(inputs_of[chunk].size(), 1);
}

TEST(Pretraining, EachChunkOfAnEpochHasAMaskOfItsOwn) {
  Corpus corpus;
  corpus.config().shuffle_window = 3;
  const auto source = corpus.source(1);
  const auto size = cut(corpus.tokens()).size();
  std::set<std::vector<int64_t>> masks;  // where the sentinels stand
  for (size_t i = 0; i < size; ++i) {
    const auto batch = source->next();
    std::vector<int64_t> mask;
    for (const auto* side : {&batch.input_ids, &batch.target_ids}) {
      for (const int64_t id : *side) mask.push_back(id >= small_tokenizer()->pieces() ? 1 : 0);
    }
    masks.insert(mask);
  }
  EXPECT_EQ(masks.size(), size);
}

TEST(Pretraining, ContinuesBitForBitFromEveryBatch) {
  const Corpus corpus;
  const auto source = corpus.source();
  std::vector<std::string> states = {source->state()};
  std::vector<Batch> batches;
  for (int i = 0; i < 60; ++i) {  // several windows and epochs
    batches.push_back(source->next());
    states.push_back(source->state());
    EXPECT_LT(states.back().size(), 400);
  }
  ASSERT_THAT(states.back(), HasSubstr("\"epoch\":"));
  ASSERT_THAT(states.back(), ::testing::Not(HasSubstr("\"epoch\":0")));
  for (size_t from = 0; from < batches.size(); ++from) {
    const auto resumed = corpus.source();
    resumed->restore(states[from]);
    EXPECT_EQ(resumed->state(), states[from]);
    for (size_t i = from; i < std::min(from + 8, batches.size()); ++i) {
      ASSERT_EQ(resumed->next(), batches[i]) << "batch " << i << " after resuming at " << from;
      ASSERT_EQ(resumed->state(), states[i + 1]);
    }
  }
}

TEST(Pretraining, ARunningSourceCanBeTakenBack) {
  const Corpus corpus;
  const auto source = corpus.source();
  take(*source, 5);
  const auto state = source->state();
  const auto expected = take(*source, 20);
  source->restore(state);
  EXPECT_EQ(take(*source, 20), expected);
}

TEST(Pretraining, LongDocumentsAndEveryLayoutResume) {
  for (const auto layout : {TextLayout::kLine, TextLayout::kFile}) {
    Corpus corpus;
    corpus.config().text_layout = layout;
    const auto source = corpus.source();
    take(*source, 7);
    const auto state = source->state();
    EXPECT_LT(state.size(), 400) << "a position, not the tokens left of a document";
    const auto expected = take(*source, 9);
    const auto resumed = corpus.source();
    resumed->restore(state);
    EXPECT_EQ(take(*resumed, 9), expected);
  }
}

TEST(Pretraining, ATinyCorpusIsReadOverAndOver) {
  Corpus corpus(2);
  const auto chunks = cut(corpus.tokens()).size();
  ASSERT_GE(chunks, 1);
  ASSERT_LT(chunks, 8);  // less than a window, and less than the batch
  const auto source = corpus.source(static_cast<int64_t>(3 * chunks) + 1);
  const auto batches = take(*source, 3);
  std::map<std::vector<int32_t>, int> seen;
  for (int64_t row = 0; row < batches[0].size; ++row) ++seen[chunk_of(batches[0], row)];
  EXPECT_GE(seen.size(), chunks);
  const auto taken = static_cast<size_t>(3 * batches[0].size);
  EXPECT_THAT(source->state(), HasSubstr(str("\"epoch\":", (taken - 1) / chunks)));
}

TEST(Pretraining, StatesOfOtherDataAreRefused) {
  const Corpus corpus;
  const auto source = corpus.source();
  source->next();
  const auto state = source->state();
  const auto refused = [&](BatchSource& other, const std::string& from) {
    return message_of<UserError>([&] { other.restore(from); });
  };
  EXPECT_THAT(refused(*corpus.source(3, 2), state), HasSubstr("seed = 1, the data of this run 2"));
  Corpus longer;
  longer.config().input_length = 128;
  EXPECT_THAT(refused(*longer.source(), state), HasSubstr("chunk_length = 70"));
  EXPECT_THAT(refused(*Corpus(21).source(), state), HasSubstr("data files are not those"));
  EXPECT_THAT(refused(*corpus.source(), "{"), HasSubstr("is no state of a data source"));
  EXPECT_THAT(refused(*make_example_source({{{5, 1}, {6, 1}}}, 1, 1), state),
              HasSubstr("is of pretraining data; expected one of examples data"));
  auto broken = state;
  broken.replace(broken.find("\"place\""), 7, "\"plaice\"");
  EXPECT_THAT(refused(*corpus.source(), broken), HasSubstr("has no \"place\""));
}

TEST(Pretraining, TheSameFilesElsewhereAreTheSameData) {
  const Corpus here;
  const Corpus there;
  const auto source = here.source();
  source->next();
  const auto moved = there.source();
  moved->restore(source->state());
  EXPECT_EQ(moved->next(), source->next());
}

TEST(Pretraining, TooLittleTextAndUnknownFilesAreErrors) {
  const TempDir dir;
  dir.write("a.txt", "river stone\n");
  const auto error = [&](const std::vector<std::string>& patterns) {
    return message_of<UserError>(
        [&] { make_pretraining_source(DataConfig{}, small_tokenizer(), patterns, 1, 1); });
  };
  EXPECT_THAT(error({dir / "a.txt"}), AllOf(HasSubstr("tokens in all"), HasSubstr("568")));
  EXPECT_THAT(error({dir / "*.json"}), HasSubstr("names no file"));
  EXPECT_THAT(error({}), HasSubstr("no data files"));
}

TEST(Pretraining, TooManySpansForTheSentinelsAreAnErrorAtOnce) {
  Corpus corpus;
  corpus.config().input_length = 4096;
  EXPECT_THAT(message_of<UserError>([&] { corpus.source(); }),
              HasSubstr("masked spans; expected at most 100"));
}

TEST(Validation, IsOnePassInOrderAndAlwaysTheSame) {
  const Corpus corpus;
  const auto run = [&](int64_t limit) {
    return validation_batches(corpus.config(), *small_tokenizer(), corpus.patterns(), 4, limit);
  };
  const auto batches = run(0);
  EXPECT_EQ(batches, run(0));
  auto tokens = corpus.tokens();
  std::vector<int32_t> read;
  for (const auto& batch : batches) {
    for (int64_t row = 0; row < batch.size; ++row) {
      const auto chunk = chunk_of(batch, row);
      read.insert(read.end(), chunk.begin(), chunk.end());
    }
  }
  ASSERT_LE(tokens.size() - read.size(), kChunk / 4);
  tokens.resize(read.size());
  EXPECT_EQ(read, tokens);

  const auto some = run(6);
  ASSERT_EQ(some.size(), 2);
  EXPECT_EQ(some[0], batches[0]);
  EXPECT_EQ(some[1].size, 2);
}

TEST(Validation, AShortLastChunkNeedsAQuarterOfTheLength) {
  const TempDir dir;
  DataConfig config;
  config.input_length = 64;
  const auto count_with = [&](size_t tokens) {
    std::string text;  // one word is one token, and eos is one more
    for (size_t i = 1; i < tokens; ++i) text += "river ";
    dir.write("a.txt", text);
    int64_t rows = 0;
    for (const auto& batch :
         validation_batches(config, *small_tokenizer(), {dir / "a.txt"}, 1, 0)) {
      rows += batch.size;
    }
    return rows;
  };
  EXPECT_EQ(count_with(kChunk), 1);
  EXPECT_EQ(count_with(kChunk + 17), 1);
  EXPECT_EQ(count_with(kChunk + 18), 2);
  EXPECT_EQ(count_with(18), 1);
  EXPECT_THAT(message_of<UserError>([&] { count_with(17); }),
              HasSubstr("17 tokens; expected at least 18"));
}

TEST(DataConfig, ATargetLengthThatIsTooShortIsAnError) {
  DataConfig config;
  EXPECT_NO_THROW(config.validate());
  config.target_length = 113;
  EXPECT_THAT(message_of<UserError>([&] { config.validate(); }),
              HasSubstr("data.target_length is 113; expected 0 or at least 114"));
  config.target_length = 0;
  EXPECT_NO_THROW(config.validate());
}

/// Novels: a sanity check of the whole way at full size.
TEST(Pretraining, RealNovels) {
  ALTUP_SHARED_DATA_OR_SKIP(novels, "text/novels");
  ALTUP_SHARED_DATA_OR_SKIP(model, "sentencepiece/t5.spiece.model");
  DataConfig config;
  config.shuffle_window = 64;
  const auto tokenizer = std::make_shared<const Tokenizer>(model, 100);
  const auto source =
      make_pretraining_source(config, tokenizer, {(novels / "*.txt").string()}, 8, 1);
  const auto batch = source->next();
  EXPECT_EQ(batch.input_tokens(), 8 * 512);
  EXPECT_EQ(batch.target_tokens(), 8 * 114);
  const auto unknown = std::count(batch.input_ids.begin(), batch.input_ids.end(), Tokenizer::kUnk);
  EXPECT_LT(unknown, 40);
}

}  // namespace
}  // namespace altup
