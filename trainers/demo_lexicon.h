// The words that are common to the demo world's texts, as tables. What belongs together stands in
// one row, so that the corpus, the rules that it states and the tasks agree: a potter works with
// clay wherever one appears.
#pragma once

namespace altup::lexicon {

struct Profession {
  const char* name;       // {A} is a potter
  const char* stuff;      // works with clay
  const char* workplace;  // in the pottery
  const char* deed;       // and makes jugs
};
inline constexpr Profession kProfessions[] = {
    {"baker", "flour", "bakery", "bakes bread"},
    {"smith", "iron", "forge", "makes horseshoes"},
    {"weaver", "wool", "weaving house", "weaves blankets"},
    {"potter", "clay", "pottery", "makes jugs"},
    {"carpenter", "wood", "timber yard", "builds tables"},
    {"miller", "grain", "mill", "grinds flour"},
    {"fisher", "nets", "harbour", "catches herring"},
    {"gardener", "seeds", "garden", "grows roses"},
    {"teacher", "chalk", "school", "teaches children"},
    {"doctor", "medicine", "hospital", "heals the sick"}};

/// A material and what it is a kind of; a thing is made of materials of one kind.
struct Material {
  const char* name;
  int kind;
};
enum MaterialKind { kMetal, kWood, kCloth };
inline constexpr const char* kMaterialKinds[] = {"metal", "wood", "cloth"};
inline constexpr Material kMaterials[] = {{"copper", kMetal}, {"iron", kMetal}, {"silver", kMetal},
                                          {"oak", kWood},     {"pine", kWood},  {"walnut", kWood},
                                          {"linen", kCloth},  {"silk", kCloth}, {"velvet", kCloth}};
struct Thing {
  const char* name;
  int kind;
};
inline constexpr Thing kThings[] = {{"lamp", kMetal}, {"knife", kMetal},   {"bell", kMetal},
                                    {"ring", kMetal}, {"box", kWood},      {"chair", kWood},
                                    {"flute", kWood}, {"bowl", kWood},     {"scarf", kCloth},
                                    {"hat", kCloth},  {"blanket", kCloth}, {"cloak", kCloth}};
inline constexpr const char* kColours[] = {"red", "blue", "green", "white", "black", "grey"};

struct Animal {
  const char* name;
  int kind;
  const char* food;
  const char* dwelling;
};
enum AnimalKind { kBird, kFourLegged };
inline constexpr const char* kAnimalKinds[] = {"bird", "four-legged animal"};
inline constexpr Animal kAnimals[] = {
    {"hen", kBird, "corn", "coop"},          {"goose", kBird, "grass", "pond"},
    {"owl", kBird, "mice", "barn"},          {"raven", kBird, "scraps", "old oak"},
    {"cat", kFourLegged, "mice", "house"},   {"dog", kFourLegged, "bones", "kennel"},
    {"goat", kFourLegged, "leaves", "yard"}, {"pony", kFourLegged, "hay", "stable"}};
inline constexpr const char* kPetNames[] = {"Patch",  "Pepper", "Biscuit", "Shadow",
                                            "Clover", "Pebble", "Ginger",  "Bramble"};

inline constexpr const char* kRegions[] = {"the north", "the south", "the east", "the west"};
inline constexpr const char* kPlaceKinds[] = {"village", "town", "port", "hamlet"};
inline constexpr const char* kLandscapes[] = {"a dark forest", "a wide lake",   "a steep hill",
                                              "an old quarry", "a sandy beach", "an apple orchard"};
inline constexpr const char* kBuildings[] = {"a round tower", "a stone bridge", "a large school",
                                             "an old mill",   "a white chapel", "a lighthouse"};
inline constexpr const char* kGoods[] = {"honey", "pottery", "cheese", "apples",
                                         "bells", "carpets", "soap",   "salt"};
inline constexpr const char* kFestivals[] = {"Lantern Fair", "Harvest Dance", "Boat Race",
                                             "Kite Day", "Snow Market"};
inline constexpr const char* kFoods[] = {"pea soup",   "apple pie", "fried trout", "barley bread",
                                         "onion tart", "plum cake", "goat cheese", "pancakes"};
inline constexpr const char* kHobbies[] = {
    "singing in the choir", "playing chess",      "collecting shells", "climbing hills", "dancing",
    "telling stories",      "watching the stars", "flying kites"};
inline constexpr const char* kFears[] = {"thunder",  "spiders", "deep water",
                                         "the dark", "wolves",  "ghosts"};

/// Two words on each of two sides; those of a side mean the same, and the sides exclude each other.
struct Opposites {
  const char *one[2], *other[2];
};
/// {A} was …
inline constexpr Opposites kMoods[] = {
    {{"happy", "glad"}, {"sad", "unhappy"}},       {{"rich", "wealthy"}, {"poor", "needy"}},
    {{"tired", "weary"}, {"rested", "refreshed"}}, {{"ill", "sick"}, {"healthy", "well"}},
    {{"angry", "cross"}, {"calm", "composed"}},    {{"brave", "fearless"}, {"fearful", "cowardly"}},
    {{"silent", "quiet"}, {"noisy", "loud"}},      {{"clever", "smart"}, {"foolish", "silly"}}};
/// {A} … the lamp
inline constexpr Opposites kDeeds[] = {{{"found", "discovered"}, {"lost", "mislaid"}},
                                       {{"mended", "repaired"}, {"broke", "damaged"}},
                                       {{"bought", "purchased"}, {"gave away", "donated"}},
                                       {{"kept", "held on to"}, {"threw away", "discarded"}},
                                       {{"hid", "concealed"}, {"showed", "displayed"}},
                                       {{"finished", "completed"}, {"began", "started"}}};

inline constexpr const char* kDays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};
inline constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
inline constexpr const char* kSeasons[] = {"spring", "summer", "autumn", "winter"};
inline constexpr const char* kNumbers[] = {"two", "three", "four",  "five",
                                           "six", "seven", "eight", "nine"};
inline constexpr const char* kTens[] = {"twenty", "thirty", "forty"};
inline constexpr const char* kPopulations[] = {"two hundred", "three hundred", "six hundred",
                                               "two thousand", "three thousand"};

inline constexpr const char* kWomen[] = {"sister", "aunt",      "cousin",
                                         "friend", "neighbour", "daughter"};
inline constexpr const char* kMen[] = {"brother", "uncle", "cousin", "friend", "neighbour", "son"};

inline constexpr const char* kSpots[] = {"under the bench", "behind the stove", "in the attic",
                                         "by the well",     "in the hay",       "on the roof"};
inline constexpr const char* kTravel[] = {"by boat", "on foot", "by cart", "on horseback"};
/// Clauses that hinder a plan; each can follow "because" and stand alone.
inline constexpr const char* kTroubles[] = {"it was raining",       "the bridge was closed",
                                            "the road was flooded", "the fog was thick",
                                            "the gate was locked",  "a storm was coming"};
/// Likewise, each for plans of its own kind: an outing, a race, a craft, an animal at home.
inline constexpr const char* kWeather[] = {"it was raining", "a storm was coming",
                                           "the fog was thick", "it was too hot"};
inline constexpr const char* kMishaps[] = {"a shoe was torn", "one foot hurt",
                                           "the road was slippery", "a goose was in the way"};
inline constexpr const char* kDelays[] = {"the right tools were missing",
                                          "the shop was full of work", "the light was bad",
                                          "nothing could be found"};
inline constexpr const char* kFrights[] = {"there was thunder", "a dog barked", "a pot fell down",
                                           "strangers came"};
inline constexpr const char* kSkills[] = {"swim", "read", "ride", "row a boat", "skate", "juggle"};
inline constexpr const char* kInstruments[] = {"violin", "harp", "flute", "drum"};
inline constexpr const char* kInnAdjectives[] = {"Red", "Silver", "Golden", "White", "Old"};
inline constexpr const char* kInnNouns[] = {"Goose", "Anchor", "Lion", "Kettle", "Crown"};

}  // namespace altup::lexicon
