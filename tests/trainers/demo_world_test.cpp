// The demo's made-up world: that it is a pure function of its config, that its files have the
// official layouts, that its English keeps to the rules that a machine can check, and that the
// tasks cannot be solved by cheating.
#include "trainers/demo_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "altup/util/files.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"
#include "tests/trainers/naive_bayes.h"
#include "trainers/demo_grammar.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using testing::naive_bayes_accuracy;
using testing::Rows;
using testing::words;

DemoWorldConfig small_config() {
  DemoWorldConfig config;
  config.pretraining_bytes = 1'200'000;
  config.validation_bytes = 60'000;
  config.sentiment_train = config.entailment_train = 3000;
  config.qa_train = 500;
  config.qa_dev = 101;
  return config;
}

/// Written once for all tests that only read it.
const fs::path& world() {
  static const altup::testing::TempDir directory;
  static const bool written = (write_demo_world(small_config(), directory.path()), true);
  (void)written;
  return directory.path();
}

std::map<std::string, std::string> files_below(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), directory).string()] = read_file(entry.path());
    }
  }
  return files;
}

std::vector<std::string> paragraphs(const std::string& text) {
  std::vector<std::string> found;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find("\n\n", begin), text.size() - 1);
    found.push_back(text.substr(begin, end - begin));
    begin = end + 2;
  }
  return found;
}

std::vector<std::string> corpus(const std::string& pattern) {
  std::vector<std::string> all;
  for (const fs::path& path : expand_glob((world() / "pretrain" / pattern).string())) {
    const std::vector<std::string> part = paragraphs(read_file(path));
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

Rows table(const std::string& name, const std::string& header) {
  std::vector<std::string> lines = split(read_file(world() / name), '\n');
  EXPECT_EQ(lines.front(), header) << name;
  EXPECT_EQ(lines.back(), "") << name << " must end with a newline";
  Rows rows;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    rows.push_back(split(lines[i], '\t'));
    EXPECT_EQ(rows.back().size(), split(header, '\t').size()) << name << ": " << lines[i];
  }
  return rows;
}
Rows sentiment(const std::string& split_name) {
  return table("SST-2/" + split_name + ".tsv", "sentence\tlabel");
}
Rows entailment(const std::string& split_name) {
  return table("RTE/" + split_name + ".tsv", "index\tsentence1\tsentence2\tlabel");
}
nlohmann::json squad(const std::string& split_name) {
  return nlohmann::json::parse(read_file(world() / ("squad/" + split_name + "-v1.1.json")));
}

double share_of(const Rows& rows, const std::string& label) {
  const auto count =
      std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row.back() == label; });
  return 100.0 * static_cast<double>(count) / static_cast<double>(rows.size());
}

/// Every text that a reader of the world would see.
std::vector<std::string> all_texts() {
  std::vector<std::string> texts = corpus("*.txt");
  for (const std::string split_name : {"train", "dev"}) {
    for (const auto& row : sentiment(split_name)) texts.push_back(row[0]);
    for (const auto& row : entailment(split_name)) texts.insert(texts.end(), {row[1], row[2]});
    for (const auto& paragraph : squad(split_name)["data"][0]["paragraphs"]) {
      texts.push_back(paragraph["context"]);
      for (const auto& qa : paragraph["qas"]) texts.push_back(qa["question"]);
    }
  }
  return texts;
}

TEST(DemoGrammar, FillsSlotsChoicesAndArticles) {
  CounterRng rng(1);
  Slots slots;
  slots.set("thing", "oak box").set_person("A", "Ada", true);
  EXPECT_EQ(sentence("{A.he} has a/an {thing} and a/an [lamp|[lamp|lamp]][|].", slots, rng),
            "She has an oak box and a lamp.");
  EXPECT_EQ(sentence("a/an hour ago, {A} was a/an user.", slots, rng),
            "An hour ago, Ada was a user.");
  EXPECT_EQ(clause("{A.his} {thing}", slots, rng), "her oak box");
  EXPECT_THROW(clause("{B}", slots, rng), std::out_of_range);
  EXPECT_THROW(clause("[a|b", slots, rng), std::invalid_argument);
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(clause("[x|[y|z]|]", slots, rng));
  EXPECT_EQ(seen, (std::set<std::string>{"", "x", "y", "z"}));
}

TEST(DemoWorld, SameSeedSameBytesOtherSeedOtherBytes) {
  DemoWorldConfig config;
  config.pretraining_bytes = config.validation_bytes = 20'000;
  config.sentiment_train = config.entailment_train = config.qa_train = 50;
  config.sentiment_dev = config.entailment_dev = config.qa_dev = 20;
  const altup::testing::TempDir one, again, other;
  write_demo_world(config, one.path());
  write_demo_world(config, again.path());
  config.seed = 2;
  write_demo_world(config, other.path());
  const auto files = files_below(one.path());
  EXPECT_EQ(files.size(), 8u);
  EXPECT_EQ(files, files_below(again.path()));
  for (const auto& [name, bytes] : files_below(other.path()))
    EXPECT_NE(bytes, files.at(name)) << name;
}

TEST(DemoWorld, RefusesMoreOpinionsThanThereAre) {
  const altup::testing::TempDir directory;
  DemoWorldConfig config;
  config.sentiment_train = 40'000;
  EXPECT_THROW(write_demo_world(config, directory.path()), std::invalid_argument);
}

TEST(DemoWorld, HasTheSizesAskedFor) {
  const DemoWorldConfig config = small_config();
  constexpr int64_t kParagraph = 2000;  // more than the longest
  int64_t bytes = 0;
  for (const fs::path& path : expand_glob((world() / "pretrain/part-*.txt").string())) {
    bytes += static_cast<int64_t>(fs::file_size(path));
  }
  EXPECT_TRUE(fs::exists(world() / "pretrain/part-01.txt"));
  EXPECT_GE(bytes, config.pretraining_bytes);
  EXPECT_LT(bytes, config.pretraining_bytes + kParagraph);
  const auto validation = static_cast<int64_t>(fs::file_size(world() / "pretrain/validation.txt"));
  EXPECT_GE(validation, config.validation_bytes);
  EXPECT_LT(validation, config.validation_bytes + kParagraph);
  EXPECT_EQ(sentiment("train").size(), static_cast<size_t>(config.sentiment_train));
  EXPECT_EQ(sentiment("dev").size(), static_cast<size_t>(config.sentiment_dev));
  EXPECT_EQ(entailment("train").size(), static_cast<size_t>(config.entailment_train));
  EXPECT_EQ(entailment("dev").size(), static_cast<size_t>(config.entailment_dev));
}

TEST(DemoWorld, NoParagraphOccursTwice) {
  const std::vector<std::string> texts = corpus("*.txt");
  EXPECT_GT(texts.size(), 3000u);
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), texts.size());
  // Nor do a few sentences make up the text.
  std::set<std::string> sentences;
  size_t total = 0;
  for (const std::string& text : texts) {
    for (size_t begin = 0; begin < text.size(); ++total) {
      const size_t end = std::min(text.find(". ", begin), text.size());
      sentences.insert(text.substr(begin, end - begin));
      begin = end + 2;
    }
  }
  EXPECT_GT(static_cast<double>(sentences.size()), 2.0 / 3 * static_cast<double>(total));
}

TEST(DemoWorld, FactsAreFewToldOftenAndNeverOtherwise) {
  std::map<std::string, std::map<std::string, int>> regions;  // of a place, and how often told
  const std::regex told("([A-Z][a-z]+) lies in (the [a-z]+)");
  for (const std::string& text : corpus("*.txt")) {
    for (std::sregex_iterator at(text.begin(), text.end(), told), end; at != end; ++at) {
      ++regions[(*at)[1]][(*at)[2]];
    }
  }
  EXPECT_GE(regions.size(), 10u);
  EXPECT_LE(regions.size(), 20u);
  for (const auto& [place, found] : regions) {
    EXPECT_EQ(found.size(), 1u) << place;
    EXPECT_GE(found.begin()->second, 10) << place;
  }
}

TEST(DemoWorld, LabelsAreBalanced) {
  for (const std::string split_name : {"train", "dev"}) {
    EXPECT_NEAR(share_of(sentiment(split_name), "1"), 50, 1) << split_name;
    EXPECT_NEAR(share_of(sentiment(split_name), "0"), 50, 1) << split_name;
    EXPECT_NEAR(share_of(entailment(split_name), "entailment"), 50, 1) << split_name;
    EXPECT_NEAR(share_of(entailment(split_name), "not_entailment"), 50, 1) << split_name;
  }
}

TEST(DemoWorld, NothingThatATaskAsksOccursElsewhere) {
  std::set<std::string> remarks, pairs, contexts;
  size_t rows = 0, contexts_seen = 0;
  for (const std::string split_name : {"train", "dev"}) {
    for (const auto& row : sentiment(split_name)) remarks.insert(row[0]);
    for (const auto& row : entailment(split_name)) pairs.insert(row[1] + "\t" + row[2]);
    rows += sentiment(split_name).size();
    for (const auto& paragraph : squad(split_name)["data"][0]["paragraphs"]) {
      contexts.insert(paragraph["context"].get<std::string>());
      ++contexts_seen;
    }
  }
  EXPECT_EQ(remarks.size(), rows);
  EXPECT_EQ(pairs.size(), rows);
  EXPECT_EQ(contexts.size(), contexts_seen);
  for (const std::string& text : corpus("*.txt")) {
    EXPECT_EQ(contexts.count(text), 0u) << text;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(". ", begin), text.size() - 1);
      std::string piece = text.substr(begin, end + 1 - begin);
      if (const size_t colon = piece.find(": "); colon != std::string::npos)
        piece.erase(0, colon + 2);
      EXPECT_EQ(remarks.count(piece), 0u) << text;
      begin = end + 2;
    }
  }
}

TEST(DemoWorld, NoArgumentOfTheCorpusIsAPairOfTheTask) {
  // By the last sentence of the premise, which stands in a paragraph as it does in the task.
  std::map<std::string, Rows> by_premise;
  const auto last_sentence = [](const std::string& premise) {
    const size_t end = premise.rfind(". ");
    return end == std::string::npos ? premise : premise.substr(end + 2);
  };
  for (const std::string split_name : {"train", "dev"}) {
    for (const auto& row : entailment(split_name)) by_premise[last_sentence(row[1])].push_back(row);
  }
  size_t shared_premises = 0;
  for (const std::string& text : corpus("*.txt")) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(". ", begin), text.size() - 1);
      const auto found = by_premise.find(text.substr(begin, end + 1 - begin));
      begin = end + 2;
      if (found == by_premise.end()) continue;
      ++shared_premises;
      for (const auto& row : found->second) {
        // "… would have waited if the fog was thick" is but half of its premise; others may precede
        // it.
        const bool half = row[1].find(" would have ") != std::string::npos;
        if (half && text.find(row[1]) == std::string::npos) continue;
        // Without its first letter and its full stop, a hypothesis is a clause of the text.
        const std::string clause = row[2].substr(1, row[2].size() - 2);
        EXPECT_EQ(text.find(clause, begin), std::string::npos) << text << "\n" << row[2];
      }
    }
  }
  EXPECT_GT(shared_premises, 0u) << "then this test shows nothing";
}

TEST(DemoWorld, SquadAnswersStandWhereTheySay) {
  std::set<std::string> ids;
  size_t questions = 0;
  for (const std::string split_name : {"train", "dev"}) {
    const nlohmann::json file = squad(split_name);
    EXPECT_EQ(file["version"], "1.1");
    for (const auto& paragraph : file["data"][0]["paragraphs"]) {
      const std::string context = paragraph["context"];
      std::set<std::string> asked;
      EXPECT_FALSE(paragraph["qas"].empty());
      for (const auto& qa : paragraph["qas"]) {
        const std::string question = qa["question"];
        const std::string answer = qa["answers"][0]["text"];
        const size_t start = qa["answers"][0]["answer_start"];
        EXPECT_EQ(context.substr(start, answer.size()), answer) << question;
        EXPECT_TRUE(start == 0 || std::isalnum(static_cast<unsigned char>(context[start - 1])) == 0)
            << context;
        EXPECT_EQ(question.back(), '?');
        EXPECT_TRUE(asked.insert(question).second) << question;
        EXPECT_TRUE(ids.insert(qa["id"]).second) << qa["id"];
        ++questions;
      }
    }
  }
  EXPECT_EQ(questions, static_cast<size_t>(small_config().qa_train + small_config().qa_dev));
}

TEST(DemoWorld, EnglishKeepsToItsRules) {
  const std::set<std::string> sounds_unlike = {"one", "use", "used", "useful", "hour", "honest"};
  for (const std::string& text : all_texts()) {
    ASSERT_EQ(text.find_first_of("{}[]|\t\n/"), std::string::npos) << text;
    ASSERT_EQ(text.find("  "), std::string::npos) << text;
    ASSERT_TRUE(std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 128; }))
        << text;
    ASSERT_NE(std::string(".?\"").find(text.back()), std::string::npos) << text;
    for (const std::string_view broken : {" .", " ,", "..", ",,", "?.", " s "}) {
      ASSERT_EQ(text.find(broken), std::string::npos) << text;
    }
    // Sentences begin with a capital letter.
    const size_t first = text.find_first_not_of('"');
    ASSERT_TRUE(std::isupper(static_cast<unsigned char>(text[first])) != 0) << text;
    for (size_t i = 0; i + 2 < text.size(); ++i) {
      if ((text[i] == '.' || text[i] == '?') && text[i + 1] == ' ') {
        const char next = text[i + 2] == '"' ? text[i + 3] : text[i + 2];
        ASSERT_TRUE(std::isupper(static_cast<unsigned char>(next)) != 0) << text;
      }
    }
    // a before consonants, an before vowels.
    const std::vector<std::string> all = words(text);
    for (size_t i = 0; i + 1 < all.size(); ++i) {
      if ((all[i] != "a" && all[i] != "an") || sounds_unlike.count(all[i + 1]) > 0) continue;
      const bool vowel = std::string_view("aeiou").find(all[i + 1][0]) != std::string_view::npos;
      ASSERT_EQ(all[i], vowel ? "an" : "a") << text;
    }
  }
}

TEST(DemoWorld, EntailmentCannotBeGuessed) {
  const Rows train = entailment("train"), dev = entailment("dev");
  EXPECT_LT(naive_bayes_accuracy(train, dev, 1), 60) << "from the premise alone";
  EXPECT_LT(naive_bayes_accuracy(train, dev, 2), 60) << "from the hypothesis alone";
  // Nor does it decide how many of the hypothesis' words are in the premise.
  const auto covered = [](const std::vector<std::string>& row) {
    const std::vector<std::string> premise = words(row[1]), hypothesis = words(row[2]);
    const auto known =
        std::count_if(hypothesis.begin(), hypothesis.end(), [&](const std::string& word) {
          return std::find(premise.begin(), premise.end(), word) != premise.end();
        });
    return static_cast<double>(known) / static_cast<double>(hypothesis.size());
  };
  for (const double threshold : {0.3, 0.5, 0.7, 0.9, 1.0}) {
    const auto right = std::count_if(train.begin(), train.end(), [&](const auto& row) {
      return (covered(row) >= threshold) == (row.back() == "entailment");
    });
    EXPECT_NEAR(100.0 * static_cast<double>(right) / static_cast<double>(train.size()), 50, 8)
        << threshold;
  }
}

TEST(DemoWorld, SentimentNeedsMoreThanSingleWordsButNotMuch) {
  const double accuracy = naive_bayes_accuracy(sentiment("train"), sentiment("dev"), 0);
  EXPECT_GT(accuracy, 60);
  EXPECT_LT(accuracy, 80);
}

}  // namespace
}  // namespace altup
