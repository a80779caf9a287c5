// Picks beats (demo_plots.h), fills their slots from the cast or by chance, and keeps track of
// where each answer stands.
#include "trainers/demo_stories.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string_view>

#include "altup/util/text.h"
#include "trainers/demo_grammar.h"
#include "trainers/demo_lexicon.h"
#include "trainers/demo_plots.h"

namespace altup {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Where `answer` stands in `text` as whole words; npos where it is not there, or not only once.
size_t find_answer(std::string_view text, std::string_view answer) {
  const auto inside_word = [&](size_t i) {
    return i < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[i])) != 0 || text[i] == '-');
  };
  size_t found = std::string_view::npos;
  for (size_t at = text.find(answer); at != std::string_view::npos;
       at = text.find(answer, at + 1)) {
    if ((at > 0 && inside_word(at - 1)) || inside_word(at + answer.size())) continue;
    if (found != std::string_view::npos) return std::string_view::npos;
    found = at;
  }
  return found;
}

/// Sets `names` to different entries of `table`.
template <class Table>
void set_distinct(Slots& slots, const Table& table, std::initializer_list<const char*> names,
                  CounterRng& rng) {
  const auto order = shuffled(std::size(table), rng);
  size_t next = 0;
  for (const char* name : names) slots.set(name, std::data(table)[order[next++]]);
}

/// Tells beats one after another and decides how the main person is called in each.
class Teller {
 public:
  Teller(Slots& slots, CounterRng& rng) : slots_(slots), rng_(rng) {}

  /// `opening`: what the first sentence calls the main person; `name`: the others, unless `pronoun`
  /// (may be empty, where it would be unclear) takes its place.
  void introduce(const std::string& opening, const std::string& name, const std::string& pronoun) {
    opening_ = opening;
    name_ = name;
    pronoun_ = pronoun;
  }

  void tell(const Beat& beat) {
    const bool first = reading_.text.empty();
    std::string_view telling = pick(beat.tellings, rng_);
    while (first && !introduces(telling)) telling = pick(beat.tellings, rng_);
    const bool use_pronoun = !pronoun_.empty() && clear_subject_ && chance(0.65, rng_);
    slots_.set("who", first ? opening_ : use_pronoun ? pronoun_ : name_);
    slots_.set("name", first ? opening_ : name_);
    clear_subject_ = contains(telling, "{who}") || contains(telling, "{A}");

    if (!first) reading_.text += ' ';
    const size_t start = reading_.text.size();
    reading_.text += sentence(telling, slots_, rng_);
    for (const Question& question : beat.questions) ask(question, start);
  }

  Reading take() { return std::move(reading_); }

 private:
  static bool introduces(std::string_view telling) {
    constexpr std::array<std::string_view, 4> kIntroductions = {"{who}", "{name}", "{A}",
                                                                "{place}"};
    return std::any_of(kIntroductions.begin(), kIntroductions.end(),
                       [&](std::string_view slot) { return contains(telling, slot); });
  }

  void ask(const Question& question, size_t start) {
    const std::string answer = clause(question.answer, slots_, rng_);
    const size_t at = find_answer(std::string_view(reading_.text).substr(start), answer);
    if (at == std::string_view::npos) return;
    const std::string text = sentence(question.pattern, slots_, rng_);
    for (const ReadingQuestion& known : reading_.questions) {
      if (known.question == text) return;
    }
    reading_.questions.push_back({text, answer, start + at});
  }

  Slots& slots_;
  CounterRng& rng_;
  Reading reading_;
  std::string opening_, name_, pronoun_;
  bool clear_subject_ =
      false;  ///< the sentence before spoke of the main person, so a pronoun will be understood
};

size_t draw_length(size_t max_sentences, CounterRng& rng) {
  return 3 + rng.below(std::max<size_t>(max_sentences, 3) - 2);
}

Slots resident_slots(const Cast& cast, const Resident& person, CounterRng& rng) {
  const Place& home = cast.places[person.home];
  const Place& birthplace = cast.places[person.birthplace];
  const Resident& sibling = cast.residents[person.sibling];
  const Resident& friend_ = cast.residents[person.best_friend];
  Slots slots;
  slots.set("he", person.female ? "she" : "he").set("him", person.female ? "her" : "him");
  slots.set("his", person.female ? "her" : "his");
  slots.set("ask", chance(0.6, rng) ? person.first : person.full_name());
  slots.set("place", home.name)
      .set("kind", home.kind)
      .set("region", lexicon::kRegions[home.region]);
  slots.set("house", person.house_colour);
  slots.set("prof", person.profession->name).set("stuff", person.profession->stuff);
  slots.set("shop", person.profession->workplace).set("deed", person.profession->deed);
  slots.set("birthplace", birthplace.name).set("birthregion", lexicon::kRegions[birthplace.region]);
  slots.set("sibrel", sibling.female ? "sister" : "brother").set("sib", sibling.first);
  slots.set("friend", friend_.full_name()).set("friendprof", friend_.profession->name);
  slots.set("animal", person.pet->name).set("pet", person.pet_name);
  slots.set("fodder", person.pet->food).set("dwelling", person.pet->dwelling);
  slots.set("thing", person.treasure.name()).set("thingcolour", person.treasure_colour);
  slots.set("object", person.treasure.thing->name).set("material", person.treasure.material->name);
  slots.set("food", person.food).set("hobby", person.hobby).set("fear", person.fear);
  slots.set("season", person.season).set("market_day", home.market_day);
  slots.set("trip", cast.places[(person.home + 30) % cast.places.size()].name)
      .set("travel", pick(lexicon::kTravel, rng))
      .set("n", pick(lexicon::kNumbers, rng));
  return slots;
}

Reading tell_resident(const Cast& cast, size_t max_sentences, CounterRng& rng) {
  const Resident& person = pick(cast.residents, rng);
  Slots slots = resident_slots(cast, person, rng);
  Teller teller(slots, rng);
  teller.introduce(person.full_name(), person.first, slots.at("he"));
  const auto& beats = resident_beats();
  const auto order = shuffled(beats.size(), rng);
  const size_t length = std::min(draw_length(max_sentences, rng), beats.size());
  for (size_t i = 0; i < length; ++i) teller.tell(beats[order[i]]);
  return teller.take();
}

Reading tell_place(const Cast& cast, size_t max_sentences, CounterRng& rng) {
  const size_t index = rng.below(cast.places.size());
  const Place& place = cast.places[index];
  std::vector<const Resident*> people;
  for (const Resident& person : cast.residents) {
    if (cast.places[person.home].name == place.name) people.push_back(&person);
  }
  const Resident& resident = *pick(people, rng);
  Slots slots;
  slots.set("place", place.name)
      .set("kind", place.kind)
      .set("region", lexicon::kRegions[place.region]);
  slots.set("other", cast.places[(index + std::size(lexicon::kRegions)) % cast.places.size()].name);
  slots.set("river", place.river).set("inn", place.inn).set("landscape", place.landscape);
  slots.set("building", place.building)
      .set("goods", place.goods)
      .set("market_day", place.market_day);
  slots.set("festival", place.festival).set("season", place.festival_season);
  slots.set("population", place.population)
      .set("food", pick(lexicon::kFoods, rng))
      .set("month", pick(lexicon::kMonths, rng));
  slots.set("resident", resident.full_name()).set("prof", resident.profession->name);
  slots.set("deed", resident.profession->deed);

  Teller teller(slots, rng);
  const auto& beats = place_beats();
  const auto order = shuffled(beats.size() - 1, rng);
  const size_t length = std::min(draw_length(max_sentences, rng), beats.size());
  teller.tell(beats[0]);
  for (size_t i = 0; i + 1 < length; ++i) teller.tell(beats[1 + order[i]]);
  return teller.take();
}

Slots episode_slots(const Cast& cast, CounterRng& rng) {
  constexpr const char* kErrands[] = {
      "buy a/an {thing2}",     "sell some {goods}", "visit an old aunt",
      "see the {festival}",    "learn to {skill}",  "find work as a/an {prof2}",
      "have {food2} for once", "watch the boats",   "look at {building}",
      "buy {goods2}",          "ask for advice",    "hear the choir"};
  Slots slots = draw_people(cast, rng);
  const std::string pronoun = slots.at("A.he");
  slots.set("rel",
            slots.at("B.he") == "she" ? pick(lexicon::kWomen, rng) : pick(lexicon::kMen, rng));
  // For A alone, and only where it cannot be taken for one of the others.
  const bool clear = pronoun != slots.at("B.he") && pronoun != slots.at("C.he");
  slots.set("pronoun", clear ? pronoun : "");
  const Place& place = pick(cast.places, rng);
  slots.set("place", place.name);
  do {
    slots.set("place2", pick(cast.places, rng).name);
  } while (slots.at("place2") == place.name);
  set_distinct(slots, lexicon::kDays, {"day", "day2"}, rng);
  set_distinct(slots, lexicon::kMonths, {"month", "month2"}, rng);
  set_distinct(slots, lexicon::kNumbers, {"n", "n2", "n3", "n4"}, rng);
  set_distinct(slots, lexicon::kSpots, {"spot", "spot2"}, rng);
  set_distinct(slots, lexicon::kGoods, {"goods", "goods2"}, rng);
  set_distinct(slots, lexicon::kFoods, {"food", "food2"}, rng);
  set_distinct(slots, lexicon::kSkills, {"skill", "skill2"}, rng);
  const Object object = draw_object(rng);
  Object other = draw_object(rng);
  while (other.thing == object.thing) other = draw_object(rng);
  slots.set("thing", object.name()).set("object", object.thing->name).set("thing2", other.name());
  const lexicon::Profession& profession = pick(lexicon::kProfessions, rng);
  slots.set("prof", profession.name).set("prof2", pick(lexicon::kProfessions, rng).name);
  const lexicon::Animal& animal = pick(lexicon::kAnimals, rng);
  slots.set("animal", animal.name)
      .set("fodder", animal.food)
      .set("pet", pick(lexicon::kPetNames, rng));
  slots.set("season", pick(lexicon::kSeasons, rng)).set("colour", pick(lexicon::kColours, rng));
  slots.set("travel", pick(lexicon::kTravel, rng)).set("trouble", pick(lexicon::kTroubles, rng));
  slots.set("weather", pick(lexicon::kWeather, rng)).set("mishap", pick(lexicon::kMishaps, rng));
  slots.set("delay", pick(lexicon::kDelays, rng)).set("fright", pick(lexicon::kFrights, rng));
  slots.set("festival", pick(lexicon::kFestivals, rng))
      .set("building", pick(lexicon::kBuildings, rng));
  slots.set("instrument", pick(lexicon::kInstruments, rng))
      .set("inn", draw_inn(rng))
      .set("many", pick(lexicon::kTens, rng));
  const auto errands = shuffled(std::size(kErrands), rng);
  slots.set("errand", clause(kErrands[errands[0]], slots, rng));
  slots.set("errand2", clause(kErrands[errands[1]], slots, rng));
  return slots;
}

Reading tell_episode(const Cast& cast, size_t max_sentences, CounterRng& rng) {
  Slots slots = episode_slots(cast, rng);
  Teller teller(slots, rng);
  teller.introduce(slots.at("A"), slots.at("A"), slots.at("pronoun"));
  size_t told = 0;
  for (const Beat& beat : pick(episode_plots(), rng)) {
    if (told == max_sentences) break;
    if (beat.optional && chance(0.4, rng)) continue;
    teller.tell(beat);
    ++told;
  }
  return teller.take();
}

}  // namespace

Reading draw_reading(const Cast& cast, size_t max_sentences, CounterRng& rng) {
  const double kind = rng.uniform();
  if (kind < 0.60) return tell_resident(cast, max_sentences, rng);
  if (kind < 0.80) return tell_place(cast, max_sentences, rng);
  return tell_episode(cast, max_sentences, rng);
}

std::string draw_letter(const Cast& cast, CounterRng& rng) {
  constexpr const char* kOpenings[] = {
      "I [arrived|have arrived] in {place} [on {day}|at last], [{travel}|after {n} days on the "
      "road].",
      "Thank you for your letter, which [came|reached me] on {day}.",
      "I am writing to you from {place}, where I have [found work as a/an {prof}|been for {n} "
      "weeks].",
      "You asked how I am: I am [well|tired|happy here|a little homesick]."};
  constexpr const char* kMiddles[] = {
      "I wanted to {errand}, but [I could not, because {trouble}|so far I have not had the time].",
      "Yesterday I met {C}, a/an {prof2}, who [sends you greetings|told me to {errand2}].",
      "I sleep at {inn}, where the [host|cook] makes {food}.",
      "Please send me my {thing}, which I left {spot}.",
      "On {day2} I bought a/an {colour} {thing2} for {n2} coins.",
      "Do you remember the {festival}? [It is held here, too|I have not laughed like that since].",
      "Your {animal} {pet} is [well|fat and happy] and eats {fodder}.",
      "I have learned to {skill}, [though not very well|and it was not hard].",
      "The weather is [fine|bad], and yesterday {trouble}.",
      "They say that {place2} is [pretty|dull], so I want to go there in {month}."};
  constexpr const char* kClosings[] = {
      "I will be home [in {n3} weeks|on {day2}|in {month2}]. Your {rel}, {B}.",
      "Write soon and tell me [everything|about the {festival}|how {C} is]. Your {B}.",
      "Give my love to {C}. Your {rel} {B}."};
  const Slots slots = episode_slots(cast, rng);
  std::string letter = sentence("[Dear|My dear] {A},", slots, rng);
  letter += " " + sentence(pick(kOpenings, rng), slots, rng);
  const auto order = shuffled(std::size(kMiddles), rng);
  const size_t length = 2 + rng.below(3);
  for (size_t i = 0; i < length; ++i) letter += " " + sentence(kMiddles[order[i]], slots, rng);
  return letter + " " + sentence(pick(kClosings, rng), slots, rng);
}

std::string draw_dialogue(const Cast& cast, CounterRng& rng) {
  // Every entry is a remark of A and its answer by B.
  constexpr const char* kTurns[] = {
      "\"Where are you going?\" asked {A}. \"To {place},\" [said|answered] {B}. \"I want to "
      "{errand}.\"",
      "\"Have you seen my {thing}?\" asked {A}. \"[Yes, it is {spot}|Look {spot}],\" said {B}.",
      "\"How much is the {colour} {thing2}?\" {A} wanted to know. \"I ask {n} coins[|, because it "
      "is "
      "old|, and not a coin less],\" said {B}.",
      "\"Who is that?\" asked {A}. \"That is {C}, the {prof} of {place2},\" {B} answered.",
      "\"Why are you so late?\" asked {A}. \"Because {trouble},\" [said|answered] {B}.",
      "\"What shall we eat?\" asked {A}. \"[There is {food}|I would like {food}],\" said {B}.",
      "\"Can you {skill}?\" {A} asked. \"[Yes, {C} taught me|No, but I can {skill2}],\" said {B}.",
      "\"When is the {festival}?\" asked {A}. \"[On {day}|In {month}], [as always|I think],\" said "
      "{B}.",
      "\"What is your {animal} called?\" asked {A}. \"{pet}[|, and it eats only {fodder}],\" {B} "
      "answered.",
      "\"What do you do?\" asked {A}. \"I am a/an {prof2},\" said {B}, \"and I live in "
      "{place2}.\""};
  constexpr const char* kScenes[] = {
      "{A} met {B} [at the market of {place}|on the road to {place}|by the well].",
      "[On {day}|One evening], {A} and {B} were talking [at {inn}|{spot}].",
      "{B} [was working|was resting] {spot} when {A} came by."};
  const Slots slots = episode_slots(cast, rng);
  std::string talk = sentence(pick(kScenes, rng), slots, rng);
  const auto order = shuffled(std::size(kTurns), rng);
  const size_t length = 2 + rng.below(2);
  for (size_t i = 0; i < length; ++i) talk += " " + sentence(kTurns[order[i]], slots, rng);
  return talk;
}

}  // namespace altup
