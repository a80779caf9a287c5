// Tellings of the facts that never change: residents and places.
#include "trainers/demo_plots.h"

namespace altup {

const std::vector<Beat>& resident_beats() {
  static const std::vector<Beat> beats = {
      {{"{who} [lives|has a house|has lived for many years|rents two rooms] in {place}.",
        "{who} [lives|has {his} home] in {place}, a/an {kind} in {region}.",
        "The home of {name} is a small {house} house in {place}.",
        "If you [want|wish] to visit {name}, you must [go|travel] to {place}, where {he} lives.",
        "[Since {his} youth|For ten years], {who} has lived in {place}.",
        "In {place}, everyone knows {name}, who lives [near the bridge|beside the well|next to the "
        "church]."},
       {{"Where does {ask} live?", "{place}"},
        {"In which {kind} does {ask} live?", "{place}"},
        {"[What is the home of {ask}|Where is {ask} at home]?", "{place}"},
        {"What colour is {ask}'s house?", "{house}"}}},
      {{"{who} [is|works as] a/an {prof}.",
        "{who} is a/an {prof} and [|often |usually ]works in the {shop}.",
        "{who} earns {his} living as a/an {prof}.",
        "As a/an {prof}, {who} works with {stuff} [every day|all day long|from morning to night].",
        "[Every morning|Six days a week|From early morning on], {who} {deed} in the {shop}.",
        "By trade {who} is a/an {prof}, [like {his} father|like {his} mother|as everyone knows].",
        "{who} learned to be a/an {prof} and now {deed} [|in the {shop} ]of {place}."},
       {{"What is {ask}'s profession?", "{prof}"},
        {"What does {ask} work as?", "{prof}"},
        {"[How does {ask} earn a living|What is the trade of {ask}]?", "{prof}"},
        {"[Where|In which place] does {ask} work?", "{shop}"},
        {"What does {ask} work with?", "{stuff}"}}},
      {{"{who} was born in {birthplace}.",
        "{who} comes from {birthplace}, [which|a place that] lies in {birthregion}.",
        "{who} grew up in {birthplace} and [moved away|left] [as a child|at the age of {n}|when "
        "{he} was young].",
        "[Though|Although] {who} was born in {birthplace}, {he} [feels at home|is happy] [where "
        "{he} lives now|elsewhere]."},
       {{"Where was {ask} born?", "{birthplace}"},
        {"[Where|In which place] did {ask} grow up?", "{birthplace}"},
        {"Where does {ask} come from?", "{birthplace}"}}},
      {{"{who} has a {sibrel} [called|named] {sib}.",
        "{his} {sibrel} is {sib}[|, who is older|, who is younger].",
        "{who} [often visits|writes every week to|quarrels now and then with] {his} {sibrel} "
        "{sib}.",
        "{sib} is the {sibrel} of {name}.",
        "{who} and {his} {sibrel} {sib} [look|laugh|talk] alike."},
       {{"Who is {ask}'s {sibrel}?", "{sib}"}, {"What is the name of {ask}'s {sibrel}?", "{sib}"}}},
      {{"{his} best friend is {friend}[|, a/an {friendprof}].",
        "{who} is [a good|the best] friend of {friend}.",
        "On {market_day}s, {who} [meets|plays cards with|has supper with] {his} friend {friend}.",
        "{friend}, {his} best friend, [says|thinks] that {name} is "
        "[generous|stubborn|funny|honest|shy]."},
       {{"Who is {ask}'s best friend?", "{friend}"},
        {"[Who is a friend of {ask}|What is the name of {ask}'s friend]?", "{friend}"}}},
      {{"{who} [has|keeps] a/an {animal} [called|named] {pet}.",
        "{his} {animal} {pet} [sleeps in the {dwelling}|eats {fodder}|follows {him} everywhere].",
        "{who} owns a/an {animal} whose name is {pet}.",
        "With {his} {animal} {pet}, {who} [takes long walks|is never alone|amuses the whole "
        "{kind}].",
        "{who} feeds {his} {animal} {pet} with {fodder}."},
       {{"[What is the name of {ask}'s {animal}|What is {ask}'s {animal} called]?", "{pet}"},
        {"What [kind of animal|animal] does {ask} [have|keep]?", "{animal}"},
        {"What does {pet} eat?", "{fodder}"}}},
      {{"{who} owns a/an {thingcolour} {thing}[| that once belonged to {his} grandmother].",
        "{his} dearest possession is a/an {thingcolour} {thing}.",
        "{who} would never sell {his} {thingcolour} {thing}.",
        "In {his} room [stands|lies] a/an {thingcolour} {thing}, [a gift|a present] from "
        "{friend}."},
       {{"What does {ask} own?", "{thingcolour} {thing}"},
        {"What colour is {ask}'s {object}?", "{thingcolour}"},
        {"What is {ask}'s {object} made of?", "{material}"},
        {"What is {ask}'s dearest possession?", "{thingcolour} {thing}"}}},
      {{"{who} [likes|loves] {food} [more than anything else|best of all|very much].",
        "{his} favourite [dish|food] is {food}.", "Nothing tastes better to {name} than {food}.",
        "When there is {food}, {who} is happy."},
       {{"What is {ask}'s favourite [dish|food]?", "{food}"},
        {"What does {ask} [like|love] to eat?", "{food}"}}},
      {{"In {his} free time, {who} enjoys {hobby}.", "{who} spends {his} evenings {hobby}.",
        "{who} is fond of {hobby}[, above all in {season}|, especially in {season}|].",
        "What {who} likes most is {hobby}."},
       {{"What does {ask} [enjoy|like to do]?", "{hobby}"},
        {"How does {ask} spend the [evenings|free time]?", "{hobby}"},
        {"What is {ask} fond of?", "{hobby}"}}},
      {{"{who} is afraid of {fear}.", "[Although|Though] {who} is brave, {he} is afraid of {fear}.",
        "Nothing frightens {name} so much as {fear}.",
        "{who} does not fear [wolves|storms|anybody], but {he} is afraid of {fear}."},
       {{"What is {ask} afraid of?", "{fear}"}, {"What frightens {ask}?", "{fear}"}}},
      {{"{who} thinks that {season} is the best season because [the days are so clear|the air "
        "smells so good|there is so much to do|the {kind} is so quiet then].",
        "{who} likes {season} better than any other season.",
        "{his} favourite season is {season}."},
       {{"[What is {ask}'s favourite season|Which season does {ask} like best]?", "{season}"}}},
      {{"Once a year, [always in {season}|when {season} comes], {who} travels {travel} to {trip}.",
        "{who} has been to {trip} [only once|many times|twice] and [wants|hopes] to go there "
        "again.",
        "Last {season}, {who} travelled to {trip} {travel}."},
       {{"[Where|To which place] did {ask} travel?", "{trip}"},
        {"How [did|does] {ask} travel to {trip}?", "{travel}"}}},
      {{"People [say|agree] that {name} is [kind|clever|patient|strict] and [never late|always in "
        "a hurry|rarely angry|often lost in thought].",
        "{who} is [tall|short|of middle height], with [dark|fair|red|grey] hair and [a loud "
        "laugh|quick eyes|strong hands|a quiet voice].",
        "{who} [rises|gets up] before the sun and [goes to bed|falls asleep] [early|late].",
        "Nobody in {place} [works harder|tells better jokes|knows more songs] than {name}.",
        "{who} [does not talk much|talks a great deal], but {he} [listens well|helps whenever {he} "
        "can|keeps {his} promises]."},
       {}}};
  return beats;
}

const std::vector<Beat>& place_beats() {
  static const std::vector<Beat> beats = {
      {{"{place} is a/an {kind} in {region}.",
        "{place} lies in {region}[, not far from {other}|, a day's walk from {other}|].",
        "The {kind} of {place} lies in {region}.",
        "In {region}, beside {river}, lies the {kind} of {place}.",
        "Travellers who come to {region} often stop in {place}."},
       {{"[Where is {place}|Where does {place} lie]?", "{region}"},
        {"In which [region|part of the country] is {place}?", "{region}"}}},
      {{"{place} is known for its {goods}.",
        "[Everyone knows|People far away know] the {goods} of {place}.",
        "The people of {place} [make|sell] the best {goods} in {region}.",
        "Traders come from far away to buy {goods} in {place}."},
       {{"What is {place} known for?", "{goods}"},
        {"What do [people|traders] buy in {place}?", "{goods}"}}},
      {{"The market is held on {market_day}.",
        "Every {market_day}, there is a market [in front of|behind|beside] {building}.",
        "On {market_day}, [the farmers bring|everybody brings] [eggs|cabbages|chickens|apples] to "
        "the market of {place}."},
       {{"When is the market[| held] in {place}?", "{market_day}"},
        {"On which day is there a market in {place}?", "{market_day}"}}},
      {{"In the middle of {place} stands {building}.",
        "The pride of {place} is {building}, which [is very old|was built long ago|can be seen "
        "from far away].",
        "Visitors [admire|like to see] {building}."},
       {{"What stands in the middle of {place}?", "{building}"},
        {"What is the pride of {place}?", "{building}"}}},
      {{"Near the {kind} there is {landscape}.",
        "Behind the last houses begins {landscape}, where children [play|like to play].",
        "From the {kind} you can see {landscape}."},
       {{"What [is there|can you find] near {place}?", "{landscape}"},
        {"Where do the children play?", "{landscape}"}}},
      {{"Some {population} people live there.", "{place} has about {population} inhabitants.",
        "About {population} people call {place} their home."},
       {{"How many people live in {place}?", "{population}"},
        {"How many inhabitants does {place} have?", "{population}"}}},
      {{"Travellers [sleep|stay|rest] at {inn}.", "The [only|best|oldest] inn of {place} is {inn}.",
        "At {inn}, [the inn of {place}|the only inn], you can [eat|have] {food}."},
       {{"[What is the inn of {place} called|Where do travellers sleep in {place}]?", "{inn}"},
        {"What can you eat at {inn}?", "{food}"}}},
      {{"[Every|Each] {season}, the people celebrate the {festival}.",
        "In {season}, {place} celebrates the {festival}, with [music|dancing|games] until "
        "[midnight|morning].",
        "The {festival}, which is held in {season}, [brings many guests|is the great day of the "
        "{kind}]."},
       {{"When is the {festival}[| held]?", "{season}"},
        {"Which [feast|festival] is held in {place}?", "{festival}"},
        {"What do the people of {place} celebrate?", "{festival}"}}},
      {{"{resident} lives there and works as a/an {prof}.",
        "The {prof} of the {kind} is {resident}.", "One of its people is {resident}, who {deed}."},
       {{"Who is the {prof} of {place}?", "{resident}"},
        {"What does {resident} work as?", "{prof}"},
        {"Who {deed} in {place}?", "{resident}"}}},
      {{"{river} flows [past the {kind}|through the {kind}|slowly past the houses].",
        "Boats come up {river} [in summer|with salt and grain|when the water is high].",
        "In {month}, {river} often [floods the meadows|freezes|rises]."},
       {{"Which river flows [past|through] {place}?", "{river}"}}},
      {{"The [streets|roofs|winters|evenings] of {place} are [quiet|famous|very pretty|older than "
        "anyone can say].",
        "People say that nobody who [comes to|sees] {place} [wants to leave|ever forgets it].",
        "It is not a rich place, but [nobody goes hungry|the people are friendly|the air is good].",
        "Strangers [are always welcome|soon find friends] in {place}."},
       {}}};
  return beats;
}

}  // namespace altup
