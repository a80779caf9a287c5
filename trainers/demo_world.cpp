// Puts the parts together. The tasks are drawn first, and what they ask is held out of the corpus
// that follows. Each candidate text is drawn with a generator of its own, keyed by (seed, stream,
// index), so that the text of one file does not depend on how much of another was asked for, unless
// the same text turns up in both.
#include "trainers/demo_world.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "altup/util/files.h"
#include "altup/util/random.h"
#include "altup/util/text.h"
#include "trainers/demo_cast.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_inferences.h"
#include "trainers/demo_opinions.h"
#include "trainers/demo_rules.h"
#include "trainers/demo_stories.h"

namespace altup {
namespace {

constexpr size_t kPartBytes = 1'000'000;
constexpr size_t kCorpusSentences = 8;   // at most, in a paragraph that tells something
constexpr size_t kContextSentences = 4;  // likewise where questions are asked about it
constexpr size_t kQuestionsPerContext = 3;
constexpr int64_t kMostRemarks = 40'000;  // of some 75,000 that the grammar can make

/// First half of a generator's key; 1 is the cast's.
enum Stream : uint64_t {
  kCorpus = 2,
  kValidation,
  kSentimentTrain,
  kSentimentDev,
  kEntailmentTrain,
  kEntailmentDev,
  kQaTrain,
  kQaDev,
};

struct World {
  uint64_t seed;
  Cast cast;
  /// Everything written so far that must not be written again: paragraphs, remarks, premise and
  /// hypothesis.
  std::unordered_set<std::string> taken;
};

std::string pair_key(const std::string& premise, const std::string& hypothesis) {
  return premise + '\t' + hypothesis;
}

/// At most `count` of the questions that `reading` answers, in their order.
std::vector<ReadingQuestion> sample_questions(const Reading& reading, size_t count,
                                              CounterRng& rng) {
  std::vector<uint32_t> order = shuffled(reading.questions.size(), rng);
  order.resize(std::min(order.size(), count));
  std::sort(order.begin(), order.end());
  std::vector<ReadingQuestion> questions;
  for (const uint32_t i : order) questions.push_back(reading.questions[i]);
  return questions;
}

// --- corpus
// -----------------------------------------------------------------------------------------------------

std::string quiz(const World& world, CounterRng& rng) {
  const Reading reading = draw_reading(world.cast, kContextSentences, rng);
  std::string text = reading.text;
  for (const ReadingQuestion& question :
       sample_questions(reading, 1 + rng.below(kQuestionsPerContext), rng)) {
    text += " " + question.question + " " + capitalized(question.answer) + ".";
  }
  return text;
}

/// Whether some premise of a paragraph and a sentence or clause of a later argument are a pair of
/// the task.
bool asks_task(const World& world, const std::vector<std::string>& premises,
               const Inference& inference) {
  const std::string& last = inference.premise;  // without its full stop, it is a clause like others
  return std::any_of(premises.begin(), premises.end(), [&](const std::string& premise) {
    return world.taken.count(pair_key(premise, inference.follows)) > 0 ||
           world.taken.count(pair_key(premise, inference.does_not_follow)) > 0 ||
           world.taken.count(pair_key(premise, last.substr(0, last.size() - 1))) > 0;
  });
}

std::string arguments(const World& world, CounterRng& rng) {
  std::string text;
  std::vector<std::string> premises;
  const size_t count = 2 + rng.below(2);
  for (size_t i = 0; i < count; ++i) {
    Inference inference;
    premises.emplace_back();
    do {
      inference = draw_inference(world.cast, rng);
      premises.back() = inference.premise;
    } while (asks_task(world, premises, inference));
    text += (i > 0 ? " " : "") + draw_argument(inference, rng);
  }
  return text;
}

std::string draw_paragraph(const World& world, CounterRng& rng) {
  const double kind = rng.uniform();
  if (kind < 0.32) return draw_reading(world.cast, kCorpusSentences, rng).text;
  if (kind < 0.50) return quiz(world, rng);
  if (kind < 0.64) return draw_review(world.cast, world.taken, rng);
  if (kind < 0.73) return draw_guest_book(world.cast, world.taken, rng);
  if (kind < 0.88) return arguments(world, rng);
  if (kind < 0.92) return draw_rules(world.cast, rng);
  if (kind < 0.96) return draw_letter(world.cast, rng);
  return draw_dialogue(world.cast, rng);
}

/// Paragraphs with blank lines between them, until there are `bytes` of them; cut into files of
/// kPartBytes.
std::vector<std::string> draw_corpus(World& world, Stream stream, size_t bytes) {
  std::vector<std::string> parts(1);
  size_t written = 0;
  for (uint64_t index = 0; written < bytes; ++index) {
    CounterRng rng(world.seed, stream, index);
    const std::string paragraph = draw_paragraph(world, rng);
    if (!world.taken.insert(paragraph).second) continue;
    if (parts.back().size() >= kPartBytes) parts.emplace_back();
    const std::string text = (parts.back().empty() ? "" : "\n") + paragraph + "\n";
    parts.back() += text;
    written += text.size();
  }
  return parts;
}

// --- tasks
// ------------------------------------------------------------------------------------------------------

/// Labels come in turn, so that there are as many of one as of the other; the order of the lines is
/// then shuffled.
std::string shuffled_lines(const std::string& header, const std::vector<std::string>& lines,
                           bool numbered, CounterRng rng) {
  std::string text = header + "\n";
  int64_t index = 0;
  for (const uint32_t i : shuffled(lines.size(), rng)) {
    if (numbered) text += str(index++, "\t");
    text += lines[i] + "\n";
  }
  return text;
}

std::string draw_sentiment(World& world, Stream stream, int64_t count) {
  std::vector<std::string> lines;
  uint64_t index = 0;
  for (; lines.size() < static_cast<size_t>(count); ++index) {
    CounterRng rng(world.seed, stream, index);
    const bool positive = lines.size() % 2 == 0;
    const std::string remark = draw_remark(positive, rng);
    if (!world.taken.insert(remark).second) continue;
    lines.push_back(str(remark, "\t", positive ? 1 : 0));
  }
  return shuffled_lines("sentence\tlabel", lines, /*numbered=*/false,
                        CounterRng(world.seed, stream, index));
}

std::string draw_entailment(World& world, Stream stream, int64_t count) {
  std::vector<std::string> lines;
  uint64_t index = 0;
  for (; lines.size() < static_cast<size_t>(count); ++index) {
    CounterRng rng(world.seed, stream, index);
    const bool follows = lines.size() % 2 == 0;
    const Inference inference = draw_inference(world.cast, rng);
    const std::string& hypothesis = follows ? inference.follows : inference.does_not_follow;
    if (!world.taken.insert(pair_key(inference.premise, hypothesis)).second) continue;
    lines.push_back(str(inference.told(), "\t", capitalized(hypothesis), ".\t",
                        follows ? "entailment" : "not_entailment"));
  }
  return shuffled_lines("index\tsentence1\tsentence2\tlabel", lines, /*numbered=*/true,
                        CounterRng(world.seed, stream, index));
}

std::string draw_qa(World& world, Stream stream, std::string_view split, int64_t count) {
  using Json = nlohmann::ordered_json;
  Json paragraphs = Json::array();
  int64_t asked = 0;
  for (uint64_t index = 0; asked < count; ++index) {
    CounterRng rng(world.seed, stream, index);
    const Reading reading = draw_reading(world.cast, kContextSentences, rng);
    if (reading.questions.empty() || !world.taken.insert(reading.text).second) continue;
    Json questions = Json::array();
    const size_t wanted = std::min<size_t>(1 + rng.below(kQuestionsPerContext), count - asked);
    for (const ReadingQuestion& question : sample_questions(reading, wanted, rng)) {
      const Json answer = {{"answer_start", question.answer_start}, {"text", question.answer}};
      questions.push_back({{"answers", Json::array({answer})},
                           {"question", question.question},
                           {"id", str("demo-", split, "-", asked++)}});
    }
    paragraphs.push_back({{"context", reading.text}, {"qas", questions}});
  }
  const Json article = {{"title", "The_demo_world"}, {"paragraphs", paragraphs}};
  return Json{{"data", Json::array({article})}, {"version", "1.1"}}.dump() + "\n";
}

}  // namespace

void write_demo_world(const DemoWorldConfig& config, const std::filesystem::path& directory) {
  if (config.sentiment_train + config.sentiment_dev > kMostRemarks) {
    throw std::invalid_argument(str("the demo world has no ",
                                    config.sentiment_train + config.sentiment_dev,
                                    " different opinions; expected at most ", kMostRemarks));
  }
  World world{config.seed, make_cast(config.seed), {}};
  for (const char* folder : {"pretrain", "SST-2", "RTE", "squad"}) {
    std::filesystem::create_directories(directory / folder);
  }
  // The dev sets come first, so that they stay the same when more training data is asked for.
  const auto write = [&](const char* name, const std::string& text) {
    write_file_atomic(directory / name, text);
  };
  write("SST-2/dev.tsv", draw_sentiment(world, kSentimentDev, config.sentiment_dev));
  write("SST-2/train.tsv", draw_sentiment(world, kSentimentTrain, config.sentiment_train));
  write("RTE/dev.tsv", draw_entailment(world, kEntailmentDev, config.entailment_dev));
  write("RTE/train.tsv", draw_entailment(world, kEntailmentTrain, config.entailment_train));
  write("squad/dev-v1.1.json", draw_qa(world, kQaDev, "dev", config.qa_dev));
  write("squad/train-v1.1.json", draw_qa(world, kQaTrain, "train", config.qa_train));

  const std::vector<std::string> validation =
      draw_corpus(world, kValidation, config.validation_bytes);
  write("pretrain/validation.txt", join(validation, "\n"));
  const std::vector<std::string> parts = draw_corpus(world, kCorpus, config.pretraining_bytes);
  for (size_t i = 0; i < parts.size(); ++i) {
    write(str("pretrain/part-", i < 10 ? "0" : "", i, ".txt").c_str(), parts[i]);
  }
}

}  // namespace altup
