// Four tables of patterns over one set of slots.
#include "trainers/demo_rules.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "altup/util/text.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"

namespace altup {
namespace {

using Theme = std::vector<const char*>;

const std::vector<Theme>& themes() {
  static const Theme kPlaces = {
      "Whoever lives in {place} lives in {region}.",
      "{place} lies in {region}, so [all its people live|everyone there lives] in {region}.",
      "If you are in {place}, you are in {region}.",
      "[A person|Someone] who is at home in {place} is at home in {region}.",
      "To go to {place} is to go to {region}.",
      "Is {place} in {region}? Yes, {place} is a/an {placekind} in {region}."};
  static const Theme kTrades = {"A/an {prof} works with {stuff}[| and {deed}].",
                                "[Every|Each] {prof} works with {stuff}.",
                                "Whoever works as a/an {prof} {deed}.",
                                "You will find a/an {prof} in the {shop}.",
                                "Someone who works with {stuff} in the {shop} is a/an {prof}.",
                                "Who {deed}? A/an {prof} {deed}.",
                                "If {A} is a/an {prof}, then {A} works with {stuff}.",
                                "What does a/an {prof} work with? A/an {prof} works with {stuff}."};
  static const Theme kNature = {
      "Whatever is made of {material} is made of {class}.",
      "If {A} has something made of {material}, then {A} has something made of {class}.",
      "{material} is a kind of {class}.",
      "A/an {animal} is a/an {kind}[| and eats {fodder}].",
      "Whoever keeps a/an {animal} keeps a/an {kind}.",
      "What does a/an {animal} eat? It eats {fodder}.",
      "The [home|dwelling] of the {animal} is the {dwelling}.",
      "{next} comes one day later than {day}.",
      "The day before {next} is {day}."};
  static const Theme kWords = {"Whoever is {w} is {same}, and not {not}.",
                               "When {A} is {not}, we also say that {A.he} is {not2}.",
                               "Nobody is {w} and {not2} at the same time.",
                               "If {A} {did} the {thing}, we can say that {A} {same2} it.",
                               "If {A} {undid} the {thing}, it is not true that {A.he} {same2} it.",
                               "If {A} is a friend of {B}, then {B} is a friend of {A}.",
                               "When {A} sells something to {B}, {B} buys it from {A}.",
                               "Whoever lends a/an {thing} to {B} does not borrow it from {B.him}.",
                               "If {A} is taller than {B}, then {B} is shorter than {A}.",
                               "When {A} only hopes that something is so, it need not be so.",
                               "What {A} knows is true, but what {A.he} fears may be false."};
  static const std::vector<Theme> all = {kPlaces, kTrades, kNature, kWords};
  return all;
}

Slots rule_slots(const Cast& cast, CounterRng& rng) {
  Slots slots = draw_people(cast, rng);
  const Place& place = pick(cast.places, rng);
  slots.set("place", place.name)
      .set("placekind", place.kind)
      .set("region", lexicon::kRegions[place.region]);
  const lexicon::Profession& profession = pick(lexicon::kProfessions, rng);
  slots.set("prof", profession.name).set("stuff", profession.stuff);
  slots.set("shop", profession.workplace).set("deed", profession.deed);
  const lexicon::Material& material = pick(lexicon::kMaterials, rng);
  slots.set("material", material.name).set("class", lexicon::kMaterialKinds[material.kind]);
  const lexicon::Animal& animal = pick(lexicon::kAnimals, rng);
  slots.set("animal", animal.name).set("kind", lexicon::kAnimalKinds[animal.kind]);
  slots.set("fodder", animal.food).set("dwelling", animal.dwelling);
  const size_t day = rng.below(std::size(lexicon::kDays));
  slots.set("day", lexicon::kDays[day])
      .set("next", lexicon::kDays[(day + 1) % std::size(lexicon::kDays)]);
  const lexicon::Opposites& mood = pick(lexicon::kMoods, rng);
  slots.set("w", mood.one[0]).set("same", mood.one[1]);
  slots.set("not", mood.other[0]).set("not2", mood.other[1]);
  const lexicon::Opposites& deed = pick(lexicon::kDeeds, rng);
  slots.set("did", deed.one[0]).set("same2", deed.one[1]).set("undid", pick(deed.other, rng));
  return slots.set("thing", draw_object(rng).name());
}

}  // namespace

std::string draw_rules(const Cast& cast, CounterRng& rng) {
  constexpr size_t kRules = 5;
  const Theme& theme = pick(themes(), rng);
  std::vector<std::string> rules;
  while (rules.size() < kRules) {
    const char* pattern = pick(theme, rng);
    const Slots slots = rule_slots(cast, rng);
    std::string rule = sentence(pattern, slots, rng);
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
  }
  return join(rules, " ");
}

}  // namespace altup
