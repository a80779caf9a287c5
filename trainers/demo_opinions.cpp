// An opinion has a subject (an inn), aspects of it (the beds) and, for each aspect, adjectives that
// praise or blame. A construction says how the adjectives make the judgement: in the patterns,
// {adj} agrees with it, {not} is its opposite, and {aspect} and {other} are two aspects.
#include "trainers/demo_opinions.h"

#include <array>
#include <iterator>
#include <vector>

#include "altup/util/text.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"

namespace altup {
namespace {

using namespace lexicon;

struct Aspect {
  const char* name;
  std::array<const char*, 4> good, bad;
};

struct Subject {
  const char* name;
  const char* seen;  ///< "{I} visited the inn": how one comes to judge it
  std::vector<Aspect> aspects;
};

const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = {
      {"inn",
       "I slept at {inn}",
       {{"room", {"bright", "clean", "cosy", "airy"}, {"dark", "dirty", "cramped", "damp"}},
        {"bed", {"soft", "comfortable", "warm", "wide"}, {"hard", "lumpy", "cold", "narrow"}},
        {"host",
         {"friendly", "helpful", "polite", "cheerful"},
         {"rude", "grumpy", "unfriendly", "careless"}},
        {"breakfast",
         {"generous", "delicious", "fresh", "tasty"},
         {"meagre", "stale", "greasy", "bland"}}}},
      {"meal",
       "I had supper at {inn}",
       {{"soup", {"tasty", "rich", "delicious", "hearty"}, {"bland", "watery", "salty", "greasy"}},
        {"bread", {"fresh", "crisp", "fragrant", "soft"}, {"stale", "soggy", "burnt", "hard"}},
        {"fish", {"tender", "fresh", "juicy", "tasty"}, {"dry", "burnt", "tough", "bland"}},
        {"pie", {"sweet", "crisp", "warm", "delicious"}, {"sour", "soggy", "cold", "burnt"}}}},
      {"play",
       "I saw a play in {place}",
       {{"plot",
         {"clever", "gripping", "original", "funny"},
         {"dull", "confusing", "silly", "predictable"}},
        {"leading actor",
         {"superb", "lively", "convincing", "graceful"},
         {"wooden", "clumsy", "feeble", "lifeless"}},
        {"music",
         {"lovely", "stirring", "cheerful", "graceful"},
         {"shrill", "dreary", "noisy", "clumsy"}},
        {"ending",
         {"moving", "satisfying", "surprising", "clever"},
         {"weak", "silly", "tiresome", "confusing"}}}},
      {"book",
       "I read a book by {C}",
       {{"story",
         {"gripping", "touching", "original", "lively"},
         {"dull", "tiresome", "confused", "predictable"}},
        {"language",
         {"clear", "graceful", "vivid", "elegant"},
         {"clumsy", "stiff", "dreary", "muddled"}},
        {"hero",
         {"brave", "likeable", "convincing", "funny"},
         {"lifeless", "annoying", "feeble", "boring"}},
        {"last chapter",
         {"moving", "wise", "satisfying", "clever"},
         {"weak", "hasty", "boring", "silly"}}}},
      {"concert",
       "I went to a concert in {place}",
       {{"singer",
         {"superb", "charming", "lively", "gifted"},
         {"hoarse", "lifeless", "clumsy", "bored"}},
        {"first song",
         {"lovely", "touching", "cheerful", "graceful"},
         {"dreary", "shrill", "noisy", "tiresome"}},
        {"hall", {"cosy", "bright", "airy", "elegant"}, {"cold", "cramped", "damp", "gloomy"}},
        {"choir",
         {"gifted", "stirring", "well trained", "lively"},
         {"noisy", "untrained", "feeble", "sleepy"}}}},
      {"knife",
       "I bought a new knife from {C}",
       {{"blade",
         {"sharp", "strong", "well made", "bright"},
         {"blunt", "brittle", "rusty", "badly made"}},
        {"handle",
         {"sturdy", "smooth", "comfortable", "elegant"},
         {"loose", "rough", "slippery", "ugly"}},
        {"price", {"fair", "low", "reasonable", "honest"}, {"steep", "high", "unfair", "absurd"}}}},
      {"boat ride",
       "I took the boat to {place}",
       {{"boat", {"fast", "clean", "sturdy", "comfortable"}, {"slow", "dirty", "leaky", "cramped"}},
        {"captain",
         {"polite", "careful", "cheerful", "helpful"},
         {"rude", "careless", "grumpy", "sleepy"}},
        {"view",
         {"lovely", "splendid", "wide", "memorable"},
         {"dreary", "dull", "gloomy", "disappointing"}},
        {"seat", {"soft", "comfortable", "wide", "dry"}, {"hard", "wet", "narrow", "dirty"}}}},
      {"market",
       "I walked through the market of {place}",
       {{"fruit", {"fresh", "juicy", "sweet", "fragrant"}, {"rotten", "sour", "bruised", "mouldy"}},
        {"cheese", {"tasty", "rich", "fragrant", "delicious"}, {"mouldy", "dry", "bland", "salty"}},
        {"music",
         {"cheerful", "lively", "lovely", "stirring"},
         {"noisy", "shrill", "dreary", "tiresome"}},
        {"crowd",
         {"cheerful", "polite", "friendly", "lively"},
         {"rude", "noisy", "unfriendly", "grumpy"}}}}};
  return all;
}

/// Words for the whole; {adj} and {not} of the general kind come from these.
constexpr const char* kGood[] = {"wonderful", "excellent", "delightful", "splendid",
                                 "charming",  "good",      "pleasant"};
constexpr const char* kBad[] = {"terrible",  "awful", "dreadful",  "bad",
                                "miserable", "poor",  "unpleasant"};

// The judgement can be told from the adjectives.
constexpr const char* kPlain[] = {
    "The {aspect} was {adj}.",
    "The {aspect} was {adj} and {adj2}.",
    "The {aspect} was [very|really|quite|truly] {adj}, and the {other} was {otheradj}.",
    "I found the {aspect} {adj} and the {other} {otheradj}.",
    "It was a/an {general} {subject}, with a/an {adj} {aspect} and a/an {otheradj} {other}.",
    "Everyone [said|agreed] that the {aspect} was {adj}.",
    "It was a/an {general} {subject}, because the {aspect} was {adj}.",
    "[I have never seen|There has never been] such a/an {adj} {aspect}.",
    "Both the {aspect} and the {other} were {general}.",
    "I have rarely found a/an {subject} so {general}."};
// The adjectives are the opposite of the judgement.
constexpr const char* kNegated[] = {
    "The {aspect} was not {not}[| at all].",
    "The {aspect} was [anything but|far from|by no means|never|hardly] {not}.",
    "I cannot say that the {aspect} was {not}.",
    "Nobody would call the {aspect} {not}[| or the {other} {othernot}].",
    "The {aspect} was neither {not} nor {not2}.",
    "It was not a/an {generalnot} {subject}[|, for the {aspect} was not {not}].",
    "I found nothing {generalnot} about the {subject}.",
    "[There was no|I saw no] {not} {aspect} and no {othernot} {other}."};
// Adjectives of both kinds; how they are joined decides.
constexpr const char* kWeighed[] = {
    "Although the {aspect} was {not}, [on the whole it was|it was in the end] a/an {general} "
    "{subject}.",
    "It was a/an {general} {subject}, although the {aspect} was {not}.",
    "The {aspect} was {not}, but [all in all|on the whole|in the end] the {subject} was {general}.",
    "The {subject} was {general}, even though the {aspect} was {not}.",
    "Despite the {not} {aspect}, it was a/an {general} {subject}.",
    "I had expected a/an {generalnot} {subject}, but it was {general}.",
    "People say that the {aspect} is {not}, but I found it {adj}.",
    "The {aspect} was not {not}, but {adj}.",
    "The {aspect} was {adj}, and not {not}, as I had [feared|been told|read].",
    "It [seemed|looked] {generalnot} at first, but the {subject} turned out to be {general}."};
// Whether the {subject} was liked is said by verbs; {not} and {adj} only colour it.
constexpr const char* kLiked[] = {
    "Not even the {not} {aspect} could spoil the {subject}.",
    "I [enjoyed|loved] the {subject}, [although|even though] the {aspect} was {not}.",
    "I did not mind the {not} {aspect}, because the {other} was {otheradj}.",
    "I [shall|will] come back, for the {aspect} was {adj}.",
    "I did not regret it, although the {aspect} was {not}.",
    "The {subject} did not disappoint me.",
    "I was not disappointed by the {aspect}[| or the {other}].",
    "I would gladly pay for the {aspect} again."};
constexpr const char* kDisliked[] = {
    "Not even the {not} {aspect} could save the {subject}.",
    "I [disliked|hated] the {subject}, [although|even though] the {aspect} was {not}.",
    "I did not enjoy the {not} {aspect}, because the {other} was {otheradj}.",
    "I [shall|will] not come back, for the {aspect} was {adj}.",
    "I regretted it, although the {aspect} was {not}.",
    "The {subject} did not please me.",
    "I was disappointed by the {aspect}[| or rather the {other}].",
    "I would never pay for the {aspect} again."};

Slots opinion_slots(const Subject& subject, bool positive, CounterRng& rng) {
  const auto order =
      random_permutation(static_cast<uint32_t>(subject.aspects.size()), CounterRng(rng.next_u64()));
  const Aspect& aspect = subject.aspects[order[0]];
  const Aspect& other = subject.aspects[order[1]];
  const size_t first = rng.below(4);
  const size_t second = (first + 1 + rng.below(3)) % 4;
  const auto& agreeing = positive ? aspect.good : aspect.bad;
  const auto& opposing = positive ? aspect.bad : aspect.good;
  Slots slots;
  slots.set("subject", subject.name).set("aspect", aspect.name).set("other", other.name);
  slots.set("adj", agreeing[first]).set("adj2", agreeing[second]);
  slots.set("not", opposing[first]).set("not2", opposing[second]);
  slots.set("otheradj", pick(positive ? other.good : other.bad, rng));
  slots.set("othernot", pick(positive ? other.bad : other.good, rng));
  slots.set("general", positive ? pick(kGood, rng) : pick(kBad, rng));
  slots.set("generalnot", positive ? pick(kBad, rng) : pick(kGood, rng));
  return slots;
}

std::string remark(const Subject& subject, bool positive, CounterRng& rng) {
  const Slots slots = opinion_slots(subject, positive, rng);
  const double construction = rng.uniform();
  if (construction < 0.45) return sentence(pick(kPlain, rng), slots, rng);
  if (construction < 0.65) return sentence(pick(kNegated, rng), slots, rng);
  if (construction < 0.85) return sentence(pick(kWeighed, rng), slots, rng);
  return sentence(positive ? pick(kLiked, rng) : pick(kDisliked, rng), slots, rng);
}

std::string free_remark(const Subject& subject, bool positive, const HeldOutRemarks& held_out,
                        CounterRng& rng) {
  std::string text = remark(subject, positive, rng);
  while (held_out.count(text) > 0) text = remark(subject, positive, rng);
  return text;
}

Slots visit_slots(const Cast& cast, CounterRng& rng) {
  Slots slots;
  slots.set("inn", draw_inn(rng)).set("place", pick(cast.places, rng).name);
  slots.set("season", pick(kSeasons, rng))
      .set("day", pick(kDays, rng))
      .set("month", pick(kMonths, rng));
  const FirstName& guest = pick(cast.names, rng);
  slots.set_person("A", guest.name, guest.female).set("C", pick(cast.names, rng).name);
  return slots;
}

}  // namespace

std::string draw_remark(bool positive, CounterRng& rng) {
  return remark(pick(subjects(), rng), positive, rng);
}

std::string draw_review(const Cast& cast, const HeldOutRemarks& held_out, CounterRng& rng) {
  constexpr const char* kGoodVerdicts[] = {
      "[My opinion is|On the whole, my impression is] positive.",
      "[In short|All in all], [it was a good {subject}|I liked it|I was content|I recommend it].",
      "It was worth every coin, and I will come back.",
      "[I praise|I recommend] this {subject} to everyone.",
      "Was the {subject} good? Yes, it was[ good|]."};
  constexpr const char* kBadVerdicts[] = {
      "[My opinion is|On the whole, my impression is] negative.",
      "[In short|All in all], [it was a bad {subject}|I did not like it|I was annoyed|I cannot "
      "recommend it].",
      "It was a waste of money, and I will not come back.",
      "[I warn everyone of|I do not recommend] this {subject}.",
      "Was the {subject} good? No, it was [bad|not]."};
  const Subject& subject = pick(subjects(), rng);
  const bool positive = chance(0.5, rng);
  Slots slots = visit_slots(cast, rng);
  slots.set("subject", subject.name);
  std::string review = sentence(
      str("[On {day}|Last {season}|In {month}|Some weeks ago|This year], ", subject.seen, "."),
      slots, rng);
  const size_t length = 2 + rng.below(3);
  for (size_t i = 0; i < length; ++i) review += " " + free_remark(subject, positive, held_out, rng);
  return review + " " +
         sentence(positive ? pick(kGoodVerdicts, rng) : pick(kBadVerdicts, rng), slots, rng);
}

std::string draw_guest_book(const Cast& cast, const HeldOutRemarks& held_out, CounterRng& rng) {
  constexpr const char* kGoodLabels[] = {
      "That is praise.", "{A} meant it as praise.", "This opinion is positive.",
      "So {A} was [happy|content|pleased] with the {subject}.", "That was a positive remark."};
  constexpr const char* kBadLabels[] = {
      "That is a complaint.", "{A} meant it as a complaint.", "This opinion is negative.",
      "So {A} was [unhappy|annoyed|angry] about the {subject}.", "That was a negative remark."};
  std::string book;
  const size_t length = 2 + rng.below(3);
  for (size_t i = 0; i < length; ++i) {
    const Subject& subject = pick(subjects(), rng);
    const bool positive = chance(0.5, rng);
    Slots slots = visit_slots(cast, rng);
    slots.set("subject", subject.name);
    if (i > 0) book += ' ';
    book += sentence("{A}[| of {place}| from {place}] [wrote|said|told us|remarked]: ", slots, rng);
    book += free_remark(subject, positive, held_out, rng);
    book += " " + sentence(positive ? pick(kGoodLabels, rng) : pick(kBadLabels, rng), slots, rng);
  }
  return book;
}

}  // namespace altup
