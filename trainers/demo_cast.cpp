// Draws the cast. Names are built from syllables, so that a small vocabulary of word pieces covers
// them.
#include "trainers/demo_cast.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "trainers/demo_grammar.h"

namespace altup {
namespace {

constexpr uint64_t kCastStream = 1;
// Few enough that a corpus of some megabytes tells every fact hundreds of times.
constexpr size_t kNames = 24;
constexpr size_t kPlaces = 12;
constexpr size_t kResidents = 24;

constexpr const char* kOnsets[] = {"A",   "Be", "Bri", "Co", "Da", "Do", "E",  "Fe",  "Gi", "Gre",
                                   "Ha",  "Hu", "I",   "Jo", "Ka", "Li", "Lo", "Ma",  "Mi", "Ne",
                                   "Ni",  "O",  "Pe",  "Pi", "Ra", "Ro", "Sa", "Sti", "Su", "Ta",
                                   "The", "Ti", "U",   "Ve", "Wi", "Yo", "Za"};
constexpr const char* kMiddles[] = {"b",  "d",  "l",  "m",  "n",  "r",  "v",
                                    "ll", "nn", "lv", "nd", "rm", "st", "rk"};
constexpr const char* kFemaleEnds[] = {"a",    "ia", "ina", "ela", "eth", "ie",
                                       "enna", "is", "y",   "ora", "isse"};
constexpr const char* kMaleEnds[] = {"o",  "an",  "or", "ik", "us", "ald",
                                     "in", "ert", "am", "ek", "ulf"};
/// What the syllables above make by chance and what is a word already.
const std::set<std::string_view> kWords = {
    "Venus", "Manor", "Minus", "Roman", "Human", "Woman", "Media", "India", "Mania", "Body", "Many",
    "Baby",  "Lady",  "Gin",   "Robin", "Linen", "Minor", "Tiny",  "Army",  "Holy",  "Elder"};

constexpr const char* kLastStarts[] = {"Ven",  "Hal",   "Mor",  "Tar", "Brand", "Lock",
                                       "Stel", "Under", "Fair", "Wal", "Gar",   "Pen",
                                       "Har",  "Rand",  "Bir",  "Cal"};
constexpr const char* kLastEnds[] = {"low",   "wright", "well",  "by",  "son",
                                     "hurst", "gate",   "field", "ley", "mont"};
constexpr const char* kPlaceStarts[] = {
    "Ald", "Brack", "Cold", "Dun",   "Elm", "Fern", "Gran", "Hal", "Kel", "Lang", "Mar", "Nor",
    "Pen", "Rush",  "Sel",  "Thorn", "Ul",  "Wend", "Yar",  "Ash", "Bel", "Crom", "Tol", "Os"};
constexpr const char* kPlaceEnds[] = {"ford", "mere",  "wick", "holm",  "ton",  "bury",
                                      "dale", "stead", "by",   "haven", "moor", "bridge"};
constexpr const char* kRiverStarts[] = {"Av",  "Bren", "Dov", "El",   "Is", "Lor",
                                        "Mir", "Nev",  "Sor", "Tarn", "Ur", "Wel"};
constexpr const char* kRiverEnds[] = {"el", "on", "a", "ey", "is", "ow"};

/// One entry of `starts` with one of `ends`.
template <class Starts, class Ends>
std::string compound(const Starts& starts, const Ends& ends, CounterRng& rng) {
  std::string word = pick(starts, rng);
  return word += pick(ends, rng);
}

/// True for "Elmmoor".
bool doubles_letter(const std::string& word) {
  return std::adjacent_find(word.begin(), word.end()) != word.end();
}

std::vector<FirstName> draw_names(size_t count, CounterRng& rng) {
  std::set<std::string> taken;
  std::vector<FirstName> names;
  while (names.size() < count) {
    const bool female = names.size() % 2 == 0;
    const std::string start = compound(kOnsets, kMiddles, rng);
    const std::string name = start + (female ? pick(kFemaleEnds, rng) : pick(kMaleEnds, rng));
    if (name.size() < 4 || name.size() > 7 || kWords.count(name) > 0) continue;
    // Names that begin alike would be hard to tell apart for a reader, too.
    if (!taken.insert(start).second) continue;
    names.push_back({name, female});
  }
  return names;
}

std::vector<Place> draw_places(CounterRng& rng) {
  std::set<std::string> taken;
  std::vector<Place> places;
  while (places.size() < kPlaces) {
    Place place;
    place.name = compound(kPlaceStarts, kPlaceEnds, rng);
    if (doubles_letter(place.name) || !taken.insert(place.name).second) continue;
    place.region = static_cast<int>(places.size() % std::size(lexicon::kRegions));
    place.kind = pick(lexicon::kPlaceKinds, rng);
    place.river = "the " + compound(kRiverStarts, kRiverEnds, rng);
    place.inn = draw_inn(rng);
    place.landscape = pick(lexicon::kLandscapes, rng);
    place.building = pick(lexicon::kBuildings, rng);
    place.goods = pick(lexicon::kGoods, rng);
    place.market_day = pick(lexicon::kDays, rng);
    place.festival = pick(lexicon::kFestivals, rng);
    place.festival_season = pick(lexicon::kSeasons, rng);
    place.population = pick(lexicon::kPopulations, rng);
    places.push_back(place);
  }
  return places;
}

Resident draw_resident(size_t index, const FirstName& name, const std::string& last,
                       CounterRng& rng) {
  Resident person;
  person.first = name.name;
  person.last = last;
  person.female = name.female;
  person.home = static_cast<int>(7 * index % kPlaces);  // so that every place has residents
  person.birthplace = static_cast<int>((person.home + 1 + rng.below(kPlaces - 1)) % kPlaces);
  person.profession = &pick(lexicon::kProfessions, rng);
  person.pet = &pick(lexicon::kAnimals, rng);
  person.pet_name = pick(lexicon::kPetNames, rng);
  person.treasure = draw_object(rng);
  person.treasure_colour = pick(lexicon::kColours, rng);
  person.house_colour = pick(lexicon::kColours, rng);
  person.food = pick(lexicon::kFoods, rng);
  person.hobby = pick(lexicon::kHobbies, rng);
  person.fear = pick(lexicon::kFears, rng);
  person.season = pick(lexicon::kSeasons, rng);
  return person;
}

/// Brothers and sisters come in pairs, 0 and 1, 2 and 3, …, and share a last name.
std::vector<Resident> draw_residents(const std::vector<FirstName>& names, CounterRng& rng) {
  std::set<std::string> taken;
  std::vector<Resident> residents;
  while (residents.size() < kResidents) {
    const std::string last = compound(kLastStarts, kLastEnds, rng);
    if (!taken.insert(last).second) continue;
    for (int i = 0; i < 2; ++i) {
      const size_t index = residents.size();
      residents.push_back(draw_resident(index, names[index], last, rng));
      residents.back().sibling = static_cast<int>(index ^ 1);
    }
  }
  for (size_t i = 0; i < kResidents; ++i) {
    // An even distance of at least two never meets the person or the sibling.
    const size_t distance = 2 * (1 + rng.below(kResidents / 2 - 1));
    residents[i].best_friend = static_cast<int>((i + distance) % kResidents);
  }
  return residents;
}

}  // namespace

Cast make_cast(uint64_t seed) {
  CounterRng rng(seed, kCastStream);
  Cast cast;
  std::vector<FirstName> names = draw_names(kNames + kResidents, rng);
  cast.places = draw_places(rng);
  cast.residents = draw_residents(names, rng);
  names.erase(names.begin(), names.begin() + kResidents);
  cast.names = std::move(names);
  return cast;
}

Object draw_object(CounterRng& rng) {
  const lexicon::Thing& thing = pick(lexicon::kThings, rng);
  while (true) {
    const lexicon::Material& material = pick(lexicon::kMaterials, rng);
    if (material.kind == thing.kind) return {&thing, &material};
  }
}

std::string draw_inn(CounterRng& rng) {
  const std::string adjective = pick(lexicon::kInnAdjectives, rng);
  return "the " + adjective + " " + pick(lexicon::kInnNouns, rng);
}

Slots draw_people(const Cast& cast, CounterRng& rng) {
  constexpr std::string_view kSlots[] = {"A", "B", "C"};
  const std::vector<uint32_t> order = shuffled(cast.names.size(), rng);
  Slots slots;
  for (size_t i = 0; i < std::size(kSlots); ++i) {
    const FirstName& name = cast.names[order[i]];
    slots.set_person(kSlots[i], name.name, name.female);
  }
  return slots;
}

}  // namespace altup
