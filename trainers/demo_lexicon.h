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
    {"tailor", "thread", "sewing room", "sews coats"},
    {"cobbler", "leather", "shoe shop", "mends boots"},
    {"miller", "grain", "mill", "grinds flour"},
    {"fisher", "nets", "harbour", "catches herring"},
    {"gardener", "seeds", "garden", "grows roses"},
    {"beekeeper", "honey", "orchard", "looks after the bees"},
    {"glassblower", "glass", "glass house", "blows bottles"},
    {"printer", "ink", "printing house", "prints newspapers"},
    {"clockmaker", "gears", "clock tower", "repairs watches"},
    {"painter", "brushes", "studio", "paints portraits"},
    {"teacher", "chalk", "school", "teaches children"},
    {"doctor", "medicine", "hospital", "heals the sick"},
    {"shepherd", "sheep", "meadow", "guards the flock"},
    {"cook", "spices", "kitchen", "cooks soup"},
    {"brewer", "barley", "brewery", "brews beer"},
    {"mason", "stone", "quarry", "builds walls"},
    {"candlemaker", "wax", "candle shop", "makes candles"},
    {"jeweller", "gold", "jewel shop", "makes earrings"},
    {"librarian", "manuscripts", "library", "lends books"},
    {"sailor", "sails", "ship yard", "sails to far islands"},
    {"basket maker", "willow twigs", "basket shed", "weaves baskets"},
    {"cheesemaker", "milk", "dairy", "makes cheese"},
    {"sculptor", "marble", "sculpture hall", "carves statues"},
    {"papermaker", "rags", "paper mill", "makes paper"},
    {"postman", "letters", "post office", "brings the mail"},
};

/// A material and what it is a kind of; a thing is made of materials of one kind.
struct Material {
  const char* name;
  int kind;
};
enum MaterialKind { kMetal, kWood, kCloth };
inline constexpr const char* kMaterialKinds[] = {"metal", "wood", "cloth"};
inline constexpr Material kMaterials[] = {
    {"copper", kMetal}, {"iron", kMetal}, {"silver", kMetal}, {"brass", kMetal},  {"tin", kMetal},
    {"oak", kWood},     {"pine", kWood},  {"walnut", kWood},  {"ash", kWood},     {"cherry", kWood},
    {"linen", kCloth},  {"silk", kCloth}, {"velvet", kCloth}, {"cotton", kCloth}, {"felt", kCloth},
};
struct Thing {
  const char* name;
  int kind;
};
inline constexpr Thing kThings[] = {
    {"lamp", kMetal},  {"knife", kMetal},   {"kettle", kMetal}, {"bell", kMetal},
    {"ring", kMetal},  {"key", kMetal},     {"spoon", kMetal},  {"trumpet", kMetal},
    {"box", kWood},    {"chair", kWood},    {"comb", kWood},    {"ladder", kWood},
    {"flute", kWood},  {"drum", kWood},     {"bowl", kWood},    {"cradle", kWood},
    {"table", kWood},  {"scarf", kCloth},   {"hat", kCloth},    {"blanket", kCloth},
    {"cloak", kCloth}, {"curtain", kCloth}, {"shirt", kCloth},  {"banner", kCloth},
    {"purse", kCloth},
};
inline constexpr const char* kColours[] = {"red",   "blue", "green", "yellow", "white",
                                           "black", "grey", "brown", "purple", "orange"};

struct Animal {
  const char* name;
  int kind;
  const char* food;
  const char* dwelling;
};
enum AnimalKind { kBird, kFourLegged };
inline constexpr const char* kAnimalKinds[] = {"bird", "four-legged animal"};
inline constexpr Animal kAnimals[] = {
    {"hen", kBird, "corn", "coop"},
    {"goose", kBird, "grass", "pond"},
    {"parrot", kBird, "nuts", "cage"},
    {"falcon", kBird, "pigeons", "tower"},
    {"duck", kBird, "water plants", "pond"},
    {"owl", kBird, "mice", "barn"},
    {"raven", kBird, "scraps", "old oak"},
    {"heron", kBird, "fish", "marsh"},
    {"cat", kFourLegged, "mice", "house"},
    {"dog", kFourLegged, "bones", "kennel"},
    {"goat", kFourLegged, "leaves", "yard"},
    {"pony", kFourLegged, "hay", "stable"},
    {"donkey", kFourLegged, "thistles", "stable"},
    {"rabbit", kFourLegged, "carrots", "hutch"},
    {"otter", kFourLegged, "fish", "river"},
    {"badger", kFourLegged, "roots", "forest"},
};
inline constexpr const char* kPetNames[] = {"Patch",   "Pepper", "Biscuit", "Shadow",
                                            "Button",  "Clover", "Nutmeg",  "Pebble",
                                            "Thistle", "Ginger", "Acorn",   "Bramble"};

inline constexpr const char* kRegions[] = {"the north", "the south",   "the east",
                                           "the west",  "the marshes", "the hill country"};
inline constexpr const char* kPlaceKinds[] = {"village", "town", "port", "hamlet"};
inline constexpr const char* kLandscapes[] = {
    "a dark forest", "a wide lake",   "a steep hill",     "an old quarry",  "a sandy beach",
    "a deep valley", "a green marsh", "an apple orchard", "a field of rye", "a row of windmills"};
inline constexpr const char* kBuildings[] = {
    "a round tower", "a stone bridge", "a wooden theatre", "a large school",
    "an old mill",   "a white chapel", "a covered market", "a town hall with a clock",
    "a lighthouse",  "a public bath"};
inline constexpr const char* kGoods[] = {
    "honey", "pottery", "cheese",  "apples",    "ropes",   "lace", "smoked fish", "cider",
    "bells", "carpets", "violins", "plum cake", "mustard", "soap", "paper",       "salt"};
inline constexpr const char* kFestivals[] = {"Lantern Fair", "Harvest Dance", "Boat Race",
                                             "Kite Day",     "Bread Feast",   "Song Contest",
                                             "Horse Fair",   "Snow Market"};
inline constexpr const char* kFoods[] = {
    "pea soup",    "apple pie",   "fried trout", "barley bread", "onion tart",
    "plum cake",   "goat cheese", "bean stew",   "roast duck",   "pancakes",
    "lentil soup", "baked pears", "rye bread",   "mushroom pie", "fish stew"};
inline constexpr const char* kHobbies[] = {
    "singing in the choir", "playing chess",      "collecting shells",
    "climbing hills",       "reading old maps",   "dancing",
    "telling stories",      "watching the stars", "growing pumpkins",
    "rowing on the lake",   "writing poems",      "carving spoons",
    "flying kites",         "baking cakes",       "skating"};
inline constexpr const char* kFears[] = {"thunder",      "spiders",     "deep water", "the dark",
                                         "high bridges", "geese",       "wolves",     "ghosts",
                                         "fire",         "large crowds"};

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
inline constexpr Opposites kDeeds[] = {
    {{"found", "discovered"}, {"lost", "mislaid"}},
    {{"mended", "repaired"}, {"broke", "damaged"}},
    {{"bought", "purchased"}, {"gave away", "donated"}},
    {{"kept", "held on to"}, {"threw away", "discarded"}},
    {{"hid", "concealed"}, {"showed", "displayed"}},
    {{"praised", "spoke well of"}, {"criticised", "found fault with"}},
    {{"remembered", "did not forget"}, {"forgot", "did not remember"}},
    {{"finished", "completed"}, {"began", "started"}}};

inline constexpr const char* kDays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};
inline constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
inline constexpr const char* kSeasons[] = {"spring", "summer", "autumn", "winter"};
inline constexpr const char* kNumbers[] = {"two",   "three", "four", "five",   "six",   "seven",
                                           "eight", "nine",  "ten",  "eleven", "twelve"};
inline constexpr const char* kTens[] = {"twenty", "thirty",  "forty", "fifty",
                                        "sixty",  "seventy", "ninety"};
inline constexpr const char* kPopulations[] = {"two hundred",   "three hundred", "four hundred",
                                               "six hundred",   "eight hundred", "two thousand",
                                               "three thousand"};

inline constexpr const char* kWomen[] = {"sister", "aunt",      "cousin",
                                         "friend", "neighbour", "daughter"};
inline constexpr const char* kMen[] = {"brother", "uncle", "cousin", "friend", "neighbour", "son"};

inline constexpr const char* kSpots[] = {
    "under the bench",   "behind the stove",   "in the attic",   "by the well",
    "in the hay",        "on the window sill", "near the gate",  "in the cellar",
    "beside the bridge", "under the stairs",   "in the orchard", "on the roof"};
inline constexpr const char* kTravel[] = {"by boat",  "on foot",  "by cart", "on horseback",
                                          "by wagon", "by coach", "by ferry"};
/// Clauses that hinder a plan; each can follow "because" and stand alone.
inline constexpr const char* kTroubles[] = {
    "it was raining",       "it was snowing",      "the bridge was closed",
    "the road was flooded", "the horse was lame",  "a wheel was broken",
    "the fog was thick",    "the river had risen", "the gate was locked",
    "a storm was coming",   "the ferry was late",  "a tree blocked the road"};
/// Likewise, each for plans of its own kind: an outing, a race, a craft, an animal at home.
inline constexpr const char* kWeather[] = {"it was raining",     "it was snowing",
                                           "a storm was coming", "the fog was thick",
                                           "the wind was cold",  "it was too hot"};
inline constexpr const char* kMishaps[] = {"a shoe was torn",           "one foot hurt",
                                           "a dog ran across the road", "the road was slippery",
                                           "the sun was too hot",       "a goose was in the way"};
inline constexpr const char* kDelays[] = {
    "the right tools were missing",  "the shop was full of work",
    "one part had to be made twice", "the light was bad",
    "the best assistant was ill",    "nothing could be found"};
inline constexpr const char* kFrights[] = {"there was thunder",    "a dog barked",
                                           "a pot fell down",      "a cart went by",
                                           "the children shouted", "strangers came"};
inline constexpr const char* kSkills[] = {
    "swim",       "read",  "play the violin",    "ride", "row a boat", "knit", "play the harp",
    "bake bread", "skate", "count to a hundred", "fish", "juggle"};
inline constexpr const char* kInstruments[] = {"violin", "harp",    "flute",
                                               "drum",   "trumpet", "accordion"};
inline constexpr const char* kInnAdjectives[] = {"Red",   "Silver", "Golden", "White",
                                                 "Black", "Merry",  "Old",    "Sleepy"};
inline constexpr const char* kInnNouns[] = {"Goose", "Anchor", "Lion",   "Kettle",
                                            "Heron", "Bell",   "Plough", "Crown"};

}  // namespace altup::lexicon
