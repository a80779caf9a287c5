// Who and what there is in the demo world: places and residents with facts that never change, and
// other people, who appear in episodes and arguments and whose facts hold in that text alone. So a
// question about a resident may be answered from memory, and one about somebody else only by
// reading.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "altup/util/random.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"

namespace altup {

struct FirstName {
  std::string name;
  bool female;
};

/// "copper lamp": a thing with the material that it is made of.
struct Object {
  const lexicon::Thing* thing;
  const lexicon::Material* material;
  std::string name() const { return std::string(material->name) + " " + thing->name; }
};

struct Place {
  std::string name;
  int region;  ///< index into lexicon::kRegions
  const char* kind;
  std::string river, inn;
  const char *landscape, *building, *goods, *market_day, *festival, *festival_season, *population;
};

struct Resident {
  std::string first, last;
  bool female;
  int home, birthplace;  ///< indices into Cast::places
  const lexicon::Profession* profession;
  const lexicon::Animal* pet;
  const char* pet_name;
  Object treasure;
  const char *treasure_colour, *house_colour, *food, *hobby, *fear, *season;
  int sibling;  ///< index into Cast::residents, who has the same last name and this one as sibling
  int best_friend;
  std::string full_name() const { return first + " " + last; }
};

struct Cast {
  std::vector<FirstName> names;  ///< of the people who are no residents
  std::vector<Place> places;
  std::vector<Resident> residents;
};

Cast make_cast(uint64_t seed);

/// The slots {A}, {B} and {C} for three people with different first names.
Slots draw_people(const Cast& cast, CounterRng& rng);
/// A thing with a material that suits it.
Object draw_object(CounterRng& rng);
/// "the Silver Goose"
std::string draw_inn(CounterRng& rng);

}  // namespace altup
