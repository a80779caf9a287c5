// An opinion has a subject (an inn), aspects of it (the beds) and, for each aspect, adjectives that
// praise or blame. Within one opinion, one aspect is the exception: the bad bed of a good inn. A
// construction says how the adjectives make the judgement. In its pattern {adj} agrees with it and
// {not} is the opposite of {adj}, both of {aspect}; {other} is another aspect with {otheradj} and
// {othernot}; {flaw} is the exception and {flawadj} speaks against the judgement. {an} and
// {otheran} are the articles of what can be counted, and nothing for the rest.
#include "trainers/demo_opinions.h"

#include <array>
#include <iterator>
#include <vector>

#include "altup/util/text.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"

namespace altup {
namespace {

struct Aspect {
  const char* name;
  bool countable;
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
       {{"room", true, {"bright", "clean", "cosy", "airy"}, {"dark", "dirty", "cramped", "damp"}},
        {"bed", true, {"soft", "comfortable", "warm", "wide"}, {"hard", "lumpy", "cold", "narrow"}},
        {"host",
         true,
         {"friendly", "helpful", "polite", "cheerful"},
         {"rude", "grumpy", "unfriendly", "careless"}},
        {"breakfast",
         true,
         {"generous", "delicious", "fresh", "tasty"},
         {"meagre", "stale", "greasy", "bland"}}}},
      {"meal",
       "I had supper at {inn}",
       {{"soup",
         true,
         {"tasty", "rich", "delicious", "hearty"},
         {"bland", "watery", "salty", "greasy"}},
        {"bread",
         false,
         {"fresh", "crisp", "fragrant", "soft"},
         {"stale", "soggy", "burnt", "hard"}},
        {"fish", true, {"tender", "fresh", "juicy", "tasty"}, {"dry", "burnt", "tough", "bland"}},
        {"pie",
         true,
         {"sweet", "crisp", "warm", "delicious"},
         {"sour", "soggy", "cold", "burnt"}}}},
      {"play",
       "I saw a play in {place}",
       {{"plot",
         true,
         {"clever", "gripping", "original", "funny"},
         {"dull", "confusing", "silly", "predictable"}},
        {"leading actor",
         true,
         {"superb", "lively", "convincing", "graceful"},
         {"wooden", "clumsy", "feeble", "lifeless"}},
        {"music",
         false,
         {"lovely", "stirring", "cheerful", "graceful"},
         {"shrill", "dreary", "noisy", "clumsy"}},
        {"ending",
         true,
         {"moving", "satisfying", "surprising", "clever"},
         {"weak", "silly", "tiresome", "confusing"}}}},
      {"book",
       "I read a book by {C}",
       {{"story",
         true,
         {"gripping", "touching", "original", "lively"},
         {"dull", "tiresome", "confused", "predictable"}},
        {"language",
         false,
         {"clear", "graceful", "vivid", "elegant"},
         {"clumsy", "stiff", "dreary", "muddled"}},
        {"hero",
         true,
         {"brave", "likeable", "convincing", "funny"},
         {"lifeless", "annoying", "feeble", "boring"}},
        {"last chapter",
         true,
         {"moving", "wise", "satisfying", "clever"},
         {"weak", "hasty", "boring", "silly"}}}},
      {"concert",
       "I went to a concert in {place}",
       {{"singer",
         true,
         {"superb", "charming", "lively", "gifted"},
         {"hoarse", "lifeless", "clumsy", "bored"}},
        {"first song",
         true,
         {"lovely", "touching", "cheerful", "graceful"},
         {"dreary", "shrill", "noisy", "tiresome"}},
        {"hall",
         true,
         {"cosy", "bright", "airy", "elegant"},
         {"cold", "cramped", "damp", "gloomy"}},
        {"choir",
         true,
         {"gifted", "stirring", "well trained", "lively"},
         {"noisy", "untrained", "feeble", "sleepy"}}}},
      {"knife",
       "I bought a new knife from {C}",
       {{"blade",
         true,
         {"sharp", "strong", "well made", "bright"},
         {"blunt", "brittle", "rusty", "badly made"}},
        {"handle",
         true,
         {"sturdy", "smooth", "comfortable", "elegant"},
         {"loose", "rough", "slippery", "ugly"}},
        {"price",
         true,
         {"fair", "low", "reasonable", "honest"},
         {"steep", "high", "unfair", "absurd"}}}},
      {"boat ride",
       "I took the boat to {place}",
       {{"boat",
         true,
         {"fast", "clean", "sturdy", "comfortable"},
         {"slow", "dirty", "leaky", "cramped"}},
        {"captain",
         true,
         {"polite", "careful", "cheerful", "helpful"},
         {"rude", "careless", "grumpy", "sleepy"}},
        {"view",
         true,
         {"lovely", "splendid", "wide", "memorable"},
         {"dreary", "dull", "gloomy", "disappointing"}},
        {"seat",
         true,
         {"soft", "comfortable", "wide", "dry"},
         {"hard", "wet", "narrow", "dirty"}}}},
      {"market",
       "I walked through the market of {place}",
       {{"fruit",
         false,
         {"fresh", "juicy", "sweet", "fragrant"},
         {"rotten", "sour", "bruised", "mouldy"}},
        {"cheese",
         false,
         {"tasty", "rich", "fragrant", "delicious"},
         {"mouldy", "dry", "bland", "salty"}},
        {"music",
         false,
         {"cheerful", "lively", "lovely", "stirring"},
         {"noisy", "shrill", "dreary", "tiresome"}},
        {"crowd",
         true,
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
    "It was a/an {general} {subject}, with {an}{adj} {aspect} and {otheran}{otheradj} {other}.",
    "Everyone [said|agreed] that the {aspect} was {adj}.",
    "It was a/an {general} {subject}, because the {aspect} was {adj}.",
    "[I have never seen|There has never been] such {an}{adj} {aspect}.",
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
    "There was no {not} {aspect} and no {othernot} {other}."};
// Adjectives of both kinds; how they are joined decides.
constexpr const char* kWeighed[] = {
    "Although the {flaw} was {flawadj}, [on the whole it was|it was in the end] a/an {general} "
    "{subject}.",
    "It was a/an {general} {subject}, although the {flaw} was {flawadj}.",
    "The {flaw} was {flawadj}, but [all in all|on the whole|in the end] the {subject} was "
    "{general}.",
    "The {subject} was {general}, even though the {flaw} was {flawadj}.",
    "Despite the {flawadj} {flaw}, it was a/an {general} {subject}.",
    "I had expected a/an {generalnot} {subject}, but it was {general}.",
    "People say that the {aspect} is {not}, but I found it {adj}.",
    "The {aspect} was not {not}, but {adj}.",
    "The {aspect} was {adj}, and not {not}, as I had [expected|been told|read].",
    "It [seemed|looked] {generalnot} at first, but the {subject} turned out to be {general}."};
// Verbs judge; the adjectives only colour it.
constexpr const char* kLiked[] = {
    "Not even the {flawadj} {flaw} could spoil the {subject}.",
    "I [enjoyed|loved] the {subject}, [although|even though] the {flaw} was {flawadj}.",
    "I did not mind the {flawadj} {flaw}, because the {other} was {otheradj}.",
    "I [shall|will] come back, for the {aspect} was {adj}.",
    "I did not regret it, although the {flaw} was {flawadj}.",
    "The {subject} did not disappoint me[|, and the {aspect} did not, either].",
    "I was not disappointed by the {aspect}[| or the {other}].",
    "I would gladly pay for the {aspect} again."};
constexpr const char* kDisliked[] = {
    "Not even the {flawadj} {flaw} could save the {subject}.",
    "I [disliked|hated] the {subject}, [although|even though] the {flaw} was {flawadj}.",
    "I did not enjoy the {flawadj} {flaw}, because the {other} was {otheradj}.",
    "I [shall|will] not come back, for the {aspect} was {adj}.",
    "I did regret it, although the {flaw} was {flawadj}.",
    "The {subject} did not please me[|, and the {aspect} did not, either].",
    "I was disappointed by the {aspect}[| and the {other}].",
    "I would not pay for the {aspect} again."};

/// Which of a subject's aspects is the exception, and who is of what opinion.
struct Opinion {
  const Subject* subject;
  bool positive;
  size_t flaw;
};

Opinion draw_opinion(bool positive, CounterRng& rng) {
  const Subject& subject = pick(subjects(), rng);
  return {&subject, positive, rng.below(subject.aspects.size())};
}

Slots opinion_slots(const Opinion& opinion, CounterRng& rng) {
  const Subject& subject = *opinion.subject;
  std::vector<uint32_t> order = shuffled(subject.aspects.size(), rng);
  std::erase(order, opinion.flaw);
  const Aspect& aspect = subject.aspects[order[0]];
  const Aspect& other = subject.aspects[order[1]];
  const Aspect& flaw = subject.aspects[opinion.flaw];
  const auto agreeing = [&](const Aspect& a) -> const auto& {
    return opinion.positive ? a.good : a.bad;
  };
  const auto opposing = [&](const Aspect& a) -> const auto& {
    return opinion.positive ? a.bad : a.good;
  };
  const std::vector<uint32_t> words = shuffled(aspect.good.size(), rng);
  Slots slots;
  slots.set("subject", subject.name).set("aspect", aspect.name).set("other", other.name);
  slots.set("adj", agreeing(aspect)[words[0]]).set("adj2", agreeing(aspect)[words[1]]);
  slots.set("not", opposing(aspect)[words[2]]).set("not2", opposing(aspect)[words[3]]);
  slots.set("otheradj", pick(agreeing(other), rng)).set("othernot", pick(opposing(other), rng));
  slots.set("flaw", flaw.name).set("flawadj", pick(opposing(flaw), rng));
  slots.set("an", aspect.countable ? "a/an " : "").set("otheran", other.countable ? "a/an " : "");
  slots.set("general", opinion.positive ? pick(kGood, rng) : pick(kBad, rng));
  return slots.set("generalnot", opinion.positive ? pick(kBad, rng) : pick(kGood, rng));
}

std::string remark(const Opinion& opinion, CounterRng& rng) {
  const Slots slots = opinion_slots(opinion, rng);
  const double construction = rng.uniform();
  if (construction < 0.40) return sentence(pick(kPlain, rng), slots, rng);
  if (construction < 0.60) return sentence(pick(kNegated, rng), slots, rng);
  if (construction < 0.85) return sentence(pick(kWeighed, rng), slots, rng);
  return sentence(opinion.positive ? pick(kLiked, rng) : pick(kDisliked, rng), slots, rng);
}

std::string free_remark(const Opinion& opinion, const HeldOutRemarks& held_out, CounterRng& rng) {
  std::string text = remark(opinion, rng);
  while (held_out.count(text) > 0) text = remark(opinion, rng);
  return text;
}

Slots visit_slots(const Cast& cast, CounterRng& rng) {
  Slots slots;
  slots.set("inn", draw_inn(rng)).set("place", pick(cast.places, rng).name);
  slots.set("season", pick(lexicon::kSeasons, rng))
      .set("day", pick(lexicon::kDays, rng))
      .set("month", pick(lexicon::kMonths, rng));
  const FirstName& guest = pick(cast.names, rng);
  slots.set_person("A", guest.name, guest.female).set("C", pick(cast.names, rng).name);
  return slots;
}

}  // namespace

std::string draw_remark(bool positive, CounterRng& rng) {
  return remark(draw_opinion(positive, rng), rng);
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
  const Opinion opinion = draw_opinion(chance(0.5, rng), rng);
  Slots slots = visit_slots(cast, rng);
  slots.set("subject", opinion.subject->name);
  std::string review =
      sentence(str("[On {day}|Last {season}|In {month}|Some weeks ago|This year], ",
                   opinion.subject->seen, "."),
               slots, rng);
  const size_t length = 2 + rng.below(3);
  for (size_t i = 0; i < length; ++i) review += " " + free_remark(opinion, held_out, rng);
  const char* verdict = opinion.positive ? pick(kGoodVerdicts, rng) : pick(kBadVerdicts, rng);
  return review + " " + sentence(verdict, slots, rng);
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
    const Opinion opinion = draw_opinion(chance(0.5, rng), rng);
    Slots slots = visit_slots(cast, rng);
    slots.set("subject", opinion.subject->name);
    if (i > 0) book += ' ';
    book += sentence("{A}[| of {place}| from {place}] [wrote|said|told us|remarked]: ", slots, rng);
    book += free_remark(opinion, held_out, rng);
    const char* label = opinion.positive ? pick(kGoodLabels, rng) : pick(kBadLabels, rng);
    book += " " + sentence(label, slots, rng);
  }
  return book;
}

}  // namespace altup
