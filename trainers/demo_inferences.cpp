// Every kind of inference is a small table and a function that draws one. Whether a clause follows
// never shows in the premise or in the clause alone: it takes both to tell.
#include "trainers/demo_inferences.h"

#include <array>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "altup/util/text.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"

namespace altup {
namespace {

/// Ways to say one relation of {X} to {Y}; with X and Y exchanged, each says something else.
struct Relation {
  std::vector<const char*> forms;
  bool of_things = false;
};
const std::vector<Relation>& relations() {
  static const std::vector<Relation> all = {
      {{"{X} sold the {thing} to {Y}", "{Y} bought the {thing} from {X}",
        "the {thing} was sold to {Y} by {X}"}},
      {{"{X} gave the {thing} to {Y}", "{Y} got the {thing} from {X}",
        "the {thing} was given to {Y} by {X}"}},
      {{"{X} lent the {thing} to {Y}", "{Y} borrowed the {thing} from {X}"}},
      {{"{X} taught {Y} to {skill}", "{Y} learned to {skill} from {X}"}},
      {{"{X} is taller than {Y}", "{Y} is shorter than {X}"}},
      {{"{X} is older than {Y}", "{Y} is younger than {X}"}},
      {{"{X} is faster than {Y}", "{Y} is slower than {X}"}},
      {{"{X} is stronger than {Y}", "{Y} is weaker than {X}"}},
      {{"{X} arrived before {Y}", "{Y} arrived after {X}"}},
      {{"{X} defeated {Y} in the race", "{Y} lost the race to {X}"}},
      {{"{X} is the child of {Y}", "{Y} is a parent of {X}"}},
      {{"{X} works for {Y}", "{Y} employs {X}"}},
      {{"{X} visited {Y}", "{Y} was visited by {X}", "{Y} had a visit from {X}"}},
      {{"{X} helped {Y}", "{Y} was helped by {X}", "{Y} got help from {X}"}},
      {{"{X} invited {Y} to supper", "{Y} was invited to supper by {X}"}},
      {{"{X} followed {Y} to {place}", "{Y} was followed to {place} by {X}"}},
      {{"the {X} hangs above the {Y}", "the {Y} is below the {X}"}, true},
      {{"the {X} stands to the left of the {Y}", "the {Y} stands to the right of the {X}"}, true},
      {{"the {X} is in front of the {Y}", "the {Y} is behind the {X}"}, true},
      {{"the {X} is heavier than the {Y}", "the {Y} is lighter than the {X}"}, true}};
  return all;
}

Slots people(const Cast& cast, CounterRng& rng) {
  Slots slots = draw_people(cast, rng);
  slots.set("place", pick(cast.places, rng).name).set("thing", draw_object(rng).name());
  return slots.set("skill", pick(lexicon::kSkills, rng)).set("n", pick(lexicon::kNumbers, rng));
}

/// Something that is so for A by `first` and something that is so for B by `second`, and what
/// follows from each.
struct Contrast {
  std::string first, second;
  std::string follows_first, follows_second;
};

/// `says` tells {x} of {P}; `concludes` tells of {P} what follows, {f}.
Inference contrast(const char* says, const char* concludes, const Contrast& facts, Slots slots,
                   CounterRng& rng) {
  slots.set("P", slots.at("A")).set("x", facts.first);
  const std::string one = clause(says, slots, rng);
  slots.set("P", slots.at("B")).set("x", facts.second);
  const std::string two = clause(says, slots, rng);
  slots.set("one", one).set("two", two);

  Inference inference;
  inference.premise =
      sentence("[{one}|{one}|{one}|{one}|{one}|{one}, and {two}|{two}, but {one}].", slots, rng);
  slots.set("P", slots.at("A")).set("f", facts.follows_first);
  inference.follows = clause(concludes, slots, rng);
  slots.set("f", facts.follows_second);
  inference.does_not_follow = clause(concludes, slots, rng);
  return inference;
}

/// Two entries of `table` that `property` tells apart.
template <class Table, class Property>
auto draw_apart(const Table& table, Property property, CounterRng& rng) {
  const auto* one = &pick(table, rng);
  const auto* two = &pick(table, rng);
  while (property(*one) == property(*two)) two = &pick(table, rng);
  return std::make_pair(one, two);
}

Inference region(const Cast& cast, CounterRng& rng) {
  const auto [one, two] = draw_apart(
      cast.places, [](const Place& p) { return p.region; }, rng);
  return contrast(
      "{P} [lives|is at home] in {x}", "{P} lives in {f}",
      {one->name, two->name, lexicon::kRegions[one->region], lexicon::kRegions[two->region]},
      people(cast, rng), rng);
}

Inference home(const Cast& cast, CounterRng& rng) {
  const auto [one, two] = draw_apart(
      cast.places, [](const Place& p) { return p.name; }, rng);
  const Contrast facts = {one->name, two->name, one->name, two->name};
  return chance(0.5, rng) ? contrast("{P} [lives in|is at home in] {x}",
                                     "the home of {P} is in {f}", facts, people(cast, rng), rng)
                          : contrast("{P} [travelled|went] to {x}", "{P} visited {f}", facts,
                                     people(cast, rng), rng);
}

Inference profession(const Cast& cast, CounterRng& rng) {
  const auto [one, two] = draw_apart(
      lexicon::kProfessions, [](const lexicon::Profession& p) { return std::string_view(p.name); },
      rng);
  constexpr const char* kSays = "{P} [is|works as] a/an {x}";
  const int question = static_cast<int>(rng.below(3));
  if (question == 0) {
    return contrast(kSays, "{P} works with {f}", {one->name, two->name, one->stuff, two->stuff},
                    people(cast, rng), rng);
  }
  if (question == 1) {
    return contrast(kSays, "{P} works in the {f}",
                    {one->name, two->name, one->workplace, two->workplace}, people(cast, rng), rng);
  }
  return contrast(kSays, "{P} {f}", {one->name, two->name, one->deed, two->deed}, people(cast, rng),
                  rng);
}

Inference animal(const Cast& cast, CounterRng& rng) {
  const auto [one, two] = draw_apart(
      lexicon::kAnimals, [](const lexicon::Animal& a) { return a.kind; }, rng);
  return contrast(
      "{P} [has|keeps|owns] a/an {x}", "{P} has a/an {f}",
      {one->name, two->name, lexicon::kAnimalKinds[one->kind], lexicon::kAnimalKinds[two->kind]},
      people(cast, rng), rng);
}

Inference material(const Cast& cast, CounterRng& rng) {
  const Object one = draw_object(rng);
  Object two = draw_object(rng);
  while (two.material->kind == one.material->kind) two = draw_object(rng);
  return contrast("{P} [has|owns|carries] a/an {x}", "{P} has something made of {f}",
                  {one.name(), two.name(), lexicon::kMaterialKinds[one.material->kind],
                   lexicon::kMaterialKinds[two.material->kind]},
                  people(cast, rng), rng);
}

/// One of the two words on a side as the premise, the other word of the same side or one of the
/// other side after it.
Inference opposites(const lexicon::Opposites& words, const char* says, Slots slots,
                    CounterRng& rng) {
  const bool flip = chance(0.5, rng);
  const auto& side = flip ? words.other : words.one;
  const auto& wrong = flip ? words.one : words.other;
  const size_t first = rng.below(2);
  Inference inference;
  slots.set("w", side[first]);
  inference.premise = sentence(str("[|||On that day, |In the end, |As far as I know, ]", says,
                                   "[|||, although {B} did not believe it]."),
                               slots, rng);
  slots.set("w", side[1 - first]);
  inference.follows = clause(says, slots, rng);
  slots.set("w", pick(wrong, rng));
  inference.does_not_follow = clause(says, slots, rng);
  return inference;
}

Inference mood(const Cast& cast, CounterRng& rng) {
  return opposites(pick(lexicon::kMoods, rng), "{A} was {w}", people(cast, rng), rng);
}

Inference deed(const Cast& cast, CounterRng& rng) {
  return opposites(pick(lexicon::kDeeds, rng), "{A} {w} the {thing}", people(cast, rng), rng);
}

Inference relation(const Cast& cast, CounterRng& rng) {
  const Relation& relation = pick(relations(), rng);
  Slots slots = people(cast, rng);
  std::string x = slots.at("A"), y = slots.at("B");
  if (relation.of_things) {
    const auto [one, two] = draw_apart(
        lexicon::kThings, [](const lexicon::Thing& t) { return std::string_view(t.name); }, rng);
    x = one->name;
    y = two->name;
  }
  const size_t form = rng.below(relation.forms.size());
  const size_t other = (form + 1 + rng.below(relation.forms.size() - 1)) % relation.forms.size();
  Inference inference;
  slots.set("X", x).set("Y", y);
  inference.premise = sentence(relation.forms[form], slots, rng) + ".";
  inference.follows = clause(relation.forms[other], slots, rng);
  slots.set("X", y).set("Y", x);
  inference.does_not_follow = clause(pick(relation.forms, rng), slots, rng);
  return inference;
}

/// What holds both ways: whoever is the neighbour of somebody has that person as a neighbour.
Inference mutual(const Cast& cast, CounterRng& rng) {
  constexpr const char* kForms[] = {"{X} is a neighbour of {Y}", "{X} is a cousin of {Y}",
                                    "{X} is a friend of {Y}",    "{X} is married to {Y}",
                                    "{X} met {Y} in {place}",    "{X} quarrelled with {Y}"};
  const char* form = pick(kForms, rng);
  const char* distraction = pick(kForms, rng);
  while (distraction == form) distraction = pick(kForms, rng);
  Slots slots = people(cast, rng);
  slots.set("X", slots.at("A")).set("Y", slots.at("B"));
  slots.set("one", clause(form, slots, rng));
  slots.set("X", slots.at("C")).set("Y", slots.at("B"));
  slots.set("two", clause(distraction, slots, rng));
  Inference inference;
  inference.premise = sentence("[{one}, and {two}|{two}, and {one}].", slots, rng);
  slots.set("X", slots.at("B")).set("Y", slots.at("A"));
  inference.follows = clause(form, slots, rng);
  slots.set("Y", slots.at("C"));
  inference.does_not_follow = clause(form, slots, rng);
  return inference;
}

Inference chain(const Cast& cast, CounterRng& rng) {
  constexpr std::array<const char*, 2> kPairs[] = {{"taller", "shorter"},
                                                   {"older", "younger"},
                                                   {"faster", "slower"},
                                                   {"stronger", "weaker"},
                                                   {"richer", "poorer"}};
  const auto& pair = pick(kPairs, rng);
  const bool flip = chance(0.5, rng);
  Slots slots = people(cast, rng);
  slots.set("more", pair[flip]).set("less", pair[!flip]);
  Inference inference;
  inference.premise = sentence("{A} is {more} than {B}, and {B} is {more} than {C}.", slots, rng);
  const char* follows = chance(0.5, rng) ? "{A} is {more} than {C}" : "{C} is {less} than {A}";
  const char* does_not = chance(0.5, rng) ? "{C} is {more} than {A}" : "{A} is {less} than {C}";
  inference.follows = clause(follows, slots, rng);
  inference.does_not_follow = clause(does_not, slots, rng);
  return inference;
}

Inference company(const Cast& cast, CounterRng& rng) {
  constexpr const char* kOutings[] = {
      "went to {place}", "came to the feast", "danced all night",      "learned to {skill}",
      "saw the {thing}", "crossed the river", "helped in the harvest", "sang in the choir"};
  Slots slots = people(cast, rng);
  slots.set("did", clause(pick(kOutings, rng), slots, rng));
  slots.set("one", slots.at(chance(0.5, rng) ? "A" : "B"));
  Inference inference;
  inference.premise = sentence(
      "[{A} and {B} {did}, but {C} stayed at home|{C} stayed at home, while {A} and {B} {did}].",
      slots, rng);
  const bool outing = chance(0.5, rng);
  inference.follows = clause(outing ? "{one} {did}" : "{C} stayed at home", slots, rng);
  inference.does_not_follow =
      clause(chance(0.5, rng) ? "{C} {did}" : "{one} stayed at home", slots, rng);
  return inference;
}

Inference belief(const Cast& cast, CounterRng& rng) {
  const auto order = shuffled(std::size(lexicon::kTroubles), rng);
  Slots slots = people(cast, rng);
  slots.set("true", lexicon::kTroubles[order[0]]).set("open", lexicon::kTroubles[order[1]]);
  slots.set("knows", clause("{A} [knew|had seen|noticed|remembered] that {true}", slots, rng));
  slots.set("thinks", clause("{B} [hoped|feared|dreamt|pretended] that {open}", slots, rng));
  return {sentence("[{knows}, and {thinks}|{thinks}, but {knows}].", slots, rng), slots.at("true"),
          slots.at("open")};
}

Inference because(const Cast& cast, CounterRng& rng) {
  const auto order = shuffled(std::size(lexicon::kTroubles), rng);
  Slots slots = people(cast, rng);
  slots.set("true", lexicon::kTroubles[order[0]]).set("open", lexicon::kTroubles[order[1]]);
  slots.set("late", clause("[did not go to {place}|came late|waited for {n} hours|stayed in "
                           "{place}|asked {B} for help]",
                           slots, rng));
  slots.set(
      "went",
      clause("[went to {place}|left the house|crossed the river|came to the feast|started early]",
             slots, rng));
  const std::string fact =
      sentence("[{A} {late} because {true}|since {true}, {A} {late}|{A} {went}, although {true}].",
               slots, rng);
  const std::string guess = sentence(
      "[{C} would have stayed at home if {open}|if {open}, {C} would have waited].", slots, rng);
  return {fact + " " + guess, slots.at("true"), slots.at("open")};
}

Inference instead(const Cast& cast, CounterRng& rng) {
  const auto [one, two] = draw_apart(
      cast.places, [](const Place& p) { return p.name; }, rng);
  Slots slots = people(cast, rng);
  slots.set("x", one->name).set("y", two->name);
  Inference inference;
  inference.premise = sentence(
      "{A} [did not go to {x}, but to {y}|went to {y} and not to {x}|wanted to go to {x}, but went "
      "to {y} instead].",
      slots, rng);
  inference.follows =
      clause(chance(0.5, rng) ? "{A} went to {y}" : "{A} did not go to {x}", slots, rng);
  inference.does_not_follow =
      clause(chance(0.5, rng) ? "{A} went to {x}" : "{A} did not go to {y}", slots, rng);
  return inference;
}

Inference next_day(const Cast& cast, CounterRng& rng) {
  constexpr const char* kEvents[] = {"fair",  "race", "wedding", "concert",
                                     "feast", "play", "market",  "dance"};
  const auto [one, two] = draw_apart(
      kEvents, [](std::string_view e) { return e; }, rng);
  const size_t days = std::size(lexicon::kDays);
  const size_t day = rng.below(days);
  const bool later = chance(0.5, rng);
  Slots slots = people(cast, rng);
  slots.set("one", *one).set("two", *two).set("day", lexicon::kDays[day]);
  slots.set("shift", later ? "one day later" : "one day earlier");
  slots.set("right", lexicon::kDays[(day + (later ? 1 : days - 1)) % days]);
  slots.set("wrong", lexicon::kDays[(day + (later ? days - 1 : 1)) % days]);
  return {sentence("The {one}[| in {place}] was on {day}, and the {two} was {shift}.", slots, rng),
          clause("the {two} was on {right}", slots, rng),
          clause("the {two} was on {wrong}", slots, rng)};
}

/// Whether the two sides say yes or no alike; each side in words of its own.
Inference polarity(const Cast& cast, CounterRng& rng) {
  struct Sides {
    std::vector<const char*> premise, hypothesis;
  };
  static const Sides kYes = {
      {"{A} went to {place}", "{A} has been to {place}", "{A} travelled to {place}"},
      {"{A} visited {place}", "{A} was in {place}"}};
  static const Sides kNo = {
      {"{A} never went to {place}", "{A} has not been to {place}", "{A} did not travel to {place}"},
      {"{A} did not visit {place}", "{A} was never in {place}"}};
  const bool yes = chance(0.5, rng);
  const Slots slots = people(cast, rng);
  Inference inference;
  inference.premise = sentence(pick((yes ? kYes : kNo).premise, rng), slots, rng) + ".";
  inference.follows = clause(pick((yes ? kYes : kNo).hypothesis, rng), slots, rng);
  inference.does_not_follow = clause(pick((yes ? kNo : kYes).hypothesis, rng), slots, rng);
  return inference;
}

/// A kind of inference and how many draws in a hundred are of it. Most take two words to tell, which a
/// small model learns in half a minute; the others, from rules of the world to chains of two steps, are
/// there so that a better model can show it.
struct Kind {
  Inference (*draw)(const Cast&, CounterRng&);
  int percent;
};
constexpr Kind kKinds[] = {{polarity, 63}, {region, 12},  {animal, 8},     {mood, 5},
                           {deed, 1},      {material, 1}, {profession, 1}, {home, 1},
                           {relation, 1},  {mutual, 1},   {chain, 1},      {company, 1},
                           {belief, 1},    {because, 1},  {instead, 1},    {next_day, 1}};

const Kind& pick_kind(CounterRng& rng) {
  auto place = static_cast<int>(rng.below(100));
  const Kind* kind = std::begin(kKinds);
  while (place >= kind->percent) place -= (kind++)->percent;
  return *kind;
}

}  // namespace

Inference draw_inference(const Cast& cast, CounterRng& rng) {
  constexpr const char* kBeginnings[] = {
      "It was a/an [cold|warm|quiet] {day} in {season}.",
      "It happened {n} years ago.",
      "This is a/an [old|true] story.",
      "Every child in {place} knows [this|it|the story].",
      "They tell this in {place}.",
      "It was {season}, and the [days|nights] were [long|short]."};
  Inference inference = pick_kind(rng).draw(cast, rng);
  if (chance(0.1, rng)) {
    Slots slots;
    slots.set("place", pick(cast.places, rng).name)
        .set("day", pick(lexicon::kDays, rng))
        .set("season", pick(lexicon::kSeasons, rng))
        .set("n", pick(lexicon::kNumbers, rng));
    inference.beginning = sentence(pick(kBeginnings, rng), slots, rng);
  }
  return inference;
}

std::string draw_argument(const Inference& inference, CounterRng& rng) {
  Slots slots;
  slots.set("told", inference.told())
      .set("yes", inference.follows)
      .set("no", inference.does_not_follow);
  return sentence(
      "{told} [[This means|It follows|So it is true] that {yes}.|"
      "[In other words|So|Therefore], {yes}.|"
      "[It does not follow|This does not mean|It is not true] that {no}.|"
      "[Is it true|Does it follow] that {yes}? Yes.|"
      "[Is it true|Does it follow] that {no}? No.|"
      "[It follows|This means] that {yes}, but not that {no}.]",
      slots, rng);
}

}  // namespace altup
