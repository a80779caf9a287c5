// Tellings of episodes. Their people and things are drawn anew each time, so what happened must be
// read.
#include "trainers/demo_plots.h"

namespace altup {
namespace {

std::vector<Beat> journey() {
  return {
      {{"[One morning|One evening|On {day}|In {month}|Late in {season}], {A} [set out for|left "
        "for|travelled to|started for] {place} with {A.his} {rel} {B}.",
        "{A} and {A.his} {rel} {B} [set out for|left for|went to] {place} [on {day}|in "
        "{month}|early one morning]."},
       {{"[Where did {A} go|Which place did {A} travel to|Where did {A} and {B} go]?", "{place}"},
        {"Who [travelled|went] with {A}?", "{B}"},
        {"What is the name of {A}'s {rel}?", "{B}"},
        {"When did they [leave|set out]?", "{day}"},
        {"[When|In which month] did they [leave|set out]?", "{month}"}}},
      {{"They [travelled|went] {travel}.", "They [travelled|went] {travel}, which took {n} hours.",
        "Since [the road was bad|they were in no hurry], they went {travel}."},
       {{"How did {A} and {B} travel?", "{travel}"}, {"How many hours did it take?", "{n}"}},
       true},
      {{"{A} [wanted|hoped|planned] to {errand}, and {B} [wanted|hoped] to {errand2}.",
        "{A}'s plan was to {errand}, while {B} only wanted to {errand2}."},
       {{"What did {A} [want|hope|plan] to do?", "{errand}"},
        {"What did {B} [want|hope] to do?", "{errand2}"}},
       true},
      {{"On the way, they had to [wait|stop] because {trouble}.",
        "They [arrived late|lost half a day] because {trouble}.",
        "Half way there, they [rested|stopped] for {n2} hours, because {trouble}."},
       {{"Why did they [stop|wait|arrive late]?", "{trouble}"},
        {"How long did they stop?", "{n2} hours"}},
       true},
      {{"They [slept|spent the night|stayed] at {inn}, where they ate {food}.",
        "At {inn}, they [found a room|found beds] and had {food} for supper."},
       {{"Where did {A} and {B} [sleep|spend the night]?", "{inn}"},
        {"What did they eat?", "{food}"}},
       true},
      {{"In {place}, {who} [met|talked to|was welcomed by] {C}, a/an {prof}.",
        "{C}, a/an {prof}, showed them [the market|the way|the old town] when they arrived."},
       {{"What [is|was] {C}'s profession?", "{prof}"}, {"Whom did {A} meet in {place}?", "{C}"}}},
      {{"{A} bought a/an {thing} from {C} for {n3} [silver|gold|copper] coins.",
        "{C} sold {A} a/an {thing} for {n3} [silver|gold|copper] coins."},
       {{"What did {A} buy?", "{thing}"},
        {"What did {C} sell?", "{thing}"},
        {"How many coins did {A} pay?", "{n3}"},
        {"Who sold {A} the {object}?", "{C}"}}},
      {{"They came home [after {n4} days|on {day2}], [tired but happy|wet and hungry|with many "
        "stories to tell].",
        "It was {day2} when they were home again."},
       {{"[When did they come home|When were they home again]?", "{day2}"}},
       true}};
}

std::vector<Beat> lost_thing() {
  return {
      {{"[On {day}|One day in {season}|Last {season}], {A} lost {A.his} {colour} {thing}.",
        "{A} [could not find|was looking for] {A.his} {colour} {thing} [on {day}|one morning].",
        "The {colour} {thing} of {A} was [missing|gone]."},
       {{"What did {A} lose?", "{colour} {thing}"},
        {"What was {A} looking for?", "{colour} {thing}"},
        {"What colour was the {object}?", "{colour}"},
        {"When did {A} lose the {object}?", "{day}"}}},
      {{"It was a gift from {A.his} {rel} {B}.",
        "{A.his} {rel} {B} had given it to {A.him} [many years ago|on {day2}|for {A.his} "
        "birthday]."},
       {{"Who had given {A} the {object}?", "{B}"}, {"What is the name of {A}'s {rel}?", "{B}"}},
       true},
      {{"{who} looked {spot2}, but [it was not there|found only dust|in vain].",
        "First {who} searched {spot2} and [found nothing|found only an old shoe]."},
       {{"Where did {A} look first?", "{spot2}"}},
       true},
      {{"[In the end|At last|Two days later], {C} found it {spot}.",
        "It was {C}, a/an {prof} from {place}, who found it {spot}.",
        "Then {C} [saw|discovered] the {object} {spot}."},
       {{"Who found the {object}?", "{C}"},
        {"Where was the {object}?", "{spot}"},
        {"Where did {C} find it?", "{spot}"},
        {"What is {C}'s profession?", "{prof}"}}},
      {{"{A} was [so glad|so happy|very pleased] and gave {C} {food} as thanks.",
        "To thank {C.him}, {A} [invited {C} to supper|cooked {food} for {C}]."},
       {{"What did {A} give to {C}?", "{food}"}, {"What did {A} cook?", "{food}"}}},
      {{"Since then, {who} keeps the {object} [in a drawer|under {A.his} pillow|where nobody can "
        "find it].",
        "\"I will never [lose|forget] it again,\" said {A}."},
       {},
       true}};
}

std::vector<Beat> trade() {
  return {
      {{"On {day}, {A} [went|drove] to the market of {place} to sell {goods}.",
        "{A} sells {goods} at the market of {place} every {day}."},
       {{"What [did|does] {A} sell?", "{goods}"},
        {"When [did|does] {A} go to the market?", "{day}"},
        {"[Where|In which place] [did|does] {A} sell {goods}?", "{place}"}}},
      {{"[Next to|Opposite] {A.him} stood {B}, who sold {goods2}.",
        "At the next [table|stall], {B} [offered|was selling] {goods2}."},
       {{"Who sold {goods2}?", "{B}"}, {"What did {B} sell?", "{goods2}"}}},
      {{"[Few people came|There were not many buyers] because {weather}.",
        "Business was [slow|poor] that day, since {weather}."},
       {{"Why [did few people come|was business poor]?", "{weather}"}},
       true},
      {{"{C}, a/an {prof}, bought {goods} for {n} coins.",
        "The first [buyer|customer] was {C}, who took {goods} and paid {n} coins."},
       {{"Who bought {goods}?", "{C}"},
        {"How many coins did {C} pay?", "{n}"},
        {"What did {C} buy?", "{goods}"}}},
      {{"{B} had less luck and [sold nothing|earned only {n2} coins].",
        "By noon, {B} had [earned {n2} coins|sold everything for {n2} coins]."},
       {{"How many coins did {B} earn?", "{n2}"}},
       true},
      {{"With the money, {A} bought a/an {thing} for {A.his} {rel}.",
        "{A} spent the money on a/an {thing}, a present for {A.his} {rel}."},
       {{"What did {A} buy with the money?", "{thing}"}, {"For whom was the {object}?", "{rel}"}},
       true},
      {{"{A} went home {travel}.", "In the evening, {who} [counted the money|went home {travel}]."},
       {{"How did {A} go home?", "{travel}"}},
       true}};
}

std::vector<Beat> feast() {
  return {{{"The {festival} of {place} was held [in {month}|on {day}].",
            "[In {month}|On {day}], {place} celebrated the {festival}."},
           {{"When was the {festival}?", "{month}"},
            {"When was the {festival}?", "{day}"},
            {"Where was the {festival}?", "{place}"},
            {"What did {place} celebrate?", "{festival}"}}},
          {{"{A} played the {instrument} while {B} [sang|danced].",
            "The music was made by {A}, who played the {instrument}."},
           {{"Who played the {instrument}?", "{A}"}, {"What did {A} play?", "{instrument}"}}},
          {{"Everybody ate {food}, which {C} had [cooked|prepared|made].",
            "{C} had [made|prepared] {food} for {many} guests."},
           {{"Who made {food}?", "{C}"},
            {"What did the guests eat?", "{food}"},
            {"What had {C} made?", "{food}"}}},
          {{"The prize for the best [song|costume|cake] was a/an {thing}, and it went to {B}.",
            "{B} won the first prize, a/an {colour} {thing}."},
           {{"Who won the [first prize|prize]?", "{B}"}, {"What was the prize?", "{thing}"}}},
          {{"It ended early because {weather}.", "The dance had to stop because {weather}."},
           {{"Why did it end early?", "{weather}"}, {"Why did the dance stop?", "{weather}"}},
           true},
          {{"{C} said that it was the best feast [in {n2} years|since {C.his} childhood].",
            "\"I have never danced so much,\" said {B}."},
           {},
           true}};
}

std::vector<Beat> repair() {
  return {
      {{"{A}'s {thing} [broke|was damaged] [on {day}|in {month}|during a storm].",
        "[On {day}|In {month}], {A} dropped {A.his} {thing}, and it was damaged."},
       {{"What [broke|was damaged]?", "{thing}"}, {"When was the {object} damaged?", "{day}"}}},
      {{"{who} took it to {B}, the {prof} of {place}.",
        "{A.his} {rel} {B}, a/an {prof} in {place}, knew what to do."},
       {{"Who is the {prof} of {place}?", "{B}"},
        {"What is {B}'s profession?", "{prof}"},
        {"Where does {B} work?", "{place}"}}},
      {{"{B} [worked on it for|needed] {n} [hours|days][| and used only {B.his} best tools].",
        "The work took {n} [hours|days], because {delay}."},
       {{"How long did the work take?", "{n}"}, {"Why did the work take so long?", "{delay}"}}},
      {{"{A} paid {n2} coins.", "It cost {A} {n2} coins and a basket of {goods}."},
       {{"How many coins did {A} pay?", "{n2}"}, {"How many coins did it cost?", "{n2}"}}},
      {{"Meanwhile, {C} lent {A.him} a/an {thing2}.",
        "Until it was ready, {A} borrowed a/an {thing2} from {C}."},
       {{"Who lent {A} something?", "{C}"},
        {"What did {C} lend to {A}?", "{thing2}"},
        {"What did {A} borrow?", "{thing2}"}},
       true},
      {{"Now it [looks|is] as good as new.", "\"It is better than before,\" said {A}."}, {}, true}};
}

std::vector<Beat> animal() {
  return {
      {{"{A} and {B} have a/an {animal} called {pet}.",
        "{pet} is the {animal} of {A} and {B}, who live in {place}."},
       {{"What is the {animal} called?", "{pet}"},
        {"What kind of animal is {pet}?", "{animal}"},
        {"Where do {A} and {B} live?", "{place}"}}},
      {{"[On {day}|One night], {pet} [ran away|escaped] because {fright}.",
        "[On {day}|One night], {pet} was [gone|missing], although the door was shut."},
       {{"Why did {pet} [run away|escape]?", "{fright}"},
        {"When was {pet} [gone|missing]?", "{day}"}}},
      {{"{A} searched {spot}, and {B} searched {spot2}.",
        "While {A} looked {spot}, {B} looked {spot2}."},
       {{"Where did {A} [search|look]?", "{spot}"}, {"Where did {B} [search|look]?", "{spot2}"}}},
      {{"[After {n} hours|In the end], {C}, a/an {prof}, [brought {pet} back|found {pet} near "
        "{place2}].",
        "A/an {prof} named {C} had seen {pet} on the road to {place2}."},
       {{"Who [found|had seen] {pet}?", "{C}"},
        {"Where was {pet}?", "{place2}"},
        {"What is {C}'s profession?", "{prof}"}}},
      {{"{pet} was [hungry|tired|wet], but not hurt, and got {fodder}.",
        "At home, {pet} ate a large bowl of {fodder}."},
       {{"What did {pet} [get|eat]?", "{fodder}"}},
       true},
      {{"{C} did not want any money, but {C.he} accepted a/an {thing}.",
        "{A} gave {C} a/an {thing} as a reward."},
       {{"What did {C} [get|accept]?", "{thing}"}, {"What did {A} give to {C}?", "{thing}"}}}};
}

std::vector<Beat> lesson() {
  return {
      {{"{A} [wanted|had always wanted] to learn to {skill}.",
        "\"Can you teach me to {skill}?\" {A} asked [one day|on {day}]."},
       {{"What did {A} want to learn?", "{skill}"}}},
      {{"{B}, a/an {prof} from {place}, [agreed to teach|offered to teach] {A.him}.",
        "{A} asked {B}, who is a/an {prof} in {place}, for help."},
       {{"Who [taught {A}|was {A}'s teacher]?", "{B}"},
        {"Where does {B} come from?", "{place}"},
        {"What is {B}'s profession?", "{prof}"}}},
      {{"They met every {day2} {spot}.", "Every {day2}, they practised {spot} for {n} hours."},
       {{"When did they [meet|practise]?", "{day2}"},
        {"Where did they [meet|practise]?", "{spot}"}}},
      {{"At first it [was hard|did not go well], because {A} [was impatient|did not listen].",
        "{A} made many mistakes, but {B} [never|did not] [laughed|complained|lost patience]."},
       {},
       true},
      {{"After {n2} weeks, {A} could {skill} [quite well|better than {B}|without help].",
        "It took {n2} weeks until {A} was able to {skill}."},
       {{"How many weeks did it take?", "{n2}"}, {"What can {A} do now?", "{skill}"}}},
      {{"In return, {A} taught {B} to {skill2}.", "To thank {B}, {A} gave {B.him} a/an {thing}."},
       {{"What did {A} teach {B}?", "{skill2}"}, {"What did {A} give to {B}?", "{thing}"}}}};
}

std::vector<Beat> race() {
  return {
      {{"[Last {season}|On {day}|In {month}], there was a race from {place} to {place2}.",
        "A race from {place} to {place2} was held [on {day}|in {month}|last {season}]."},
       {{"Where did the race [begin|start]?", "{place}"},
        {"Where did the race end?", "{place2}"},
        {"When was the race?", "{month}"},
        {"When was the race?", "{day}"}}},
      {{"{A}, {B} and {C} took part.", "Among the {n} runners were {A}, {B} and {C}."},
       {{"How many runners were there?", "{n}"}},
       true},
      {{"{B} was the fastest at first, but {B.he} [fell|stopped] because {mishap}.",
        "{B} led until {mishap}, and then {B.he} had to stop."},
       {{"Why did {B} [stop|fall]?", "{mishap}"}, {"Who was the fastest at first?", "{B}"}}},
      {{"{A} came first and {C} came second.", "The winner was {A}, while {C} came second.",
        "Nobody could catch {A}, who won before {C}."},
       {{"Who [won|won the race|came first|was the winner]?", "{A}"}, {"Who came second?", "{C}"}}},
      {{"{A} got a/an {thing}, and {C} got {food}.",
        "The prize for {A} was a/an {thing}; {C} had to be content with {food}."},
       {{"What did {A} get?", "{thing}"}, {"What did {C} get?", "{food}"}}},
      {{"\"[Next year I will be faster|I was not ready],\" said {B}.",
        "{B} [was not sad|laughed about it] and [went home {travel}|danced all night]."},
       {{"How did {B} go home?", "{travel}"}},
       true}};
}

std::vector<Beat> building() {
  return {
      {{"[In {month}|Last {season}|In spring], the people of {place} began to build {building}.",
        "{place} needed {building}, and so the people began to build it in {month}."},
       {{"What did the people build?", "{building}"},
        {"When did they begin?", "{month}"},
        {"Where did the people build {building}?", "{place}"}}},
      {{"{A} drew the plan, and {B} brought the [stones|wood|bricks] from {place2}.",
        "The plan was made by {A}, the [stones|bricks|beams] came from {place2}."},
       {{"Who [drew|made] the plan?", "{A}"},
        {"From where did the [stones|bricks|beams] come?", "{place2}"},
        {"Who brought the [stones|wood|bricks]?", "{B}"}}},
      {{"The work stopped for {n} weeks because {weather}.",
        "For {n} weeks nobody could work, because {weather}."},
       {{"Why did the work stop?", "{weather}"}, {"How long did the work stop?", "{n} weeks"}},
       true},
      {{"{C}, a/an {prof}, gave {n2} coins for it.",
        "It was {C}, the {prof}, who paid for the roof."},
       {{"Who [paid for|gave money for] it?", "{C}"},
        {"How many coins did {C} give?", "{n2}"},
        {"What is {C}'s profession?", "{prof}"}}},
      {{"It was finished [in {month2}|after {n3} months].",
        "[In {month2}|After {n3} months], {B} laid the last stone."},
       {{"When was it finished?", "{month2}"}, {"Who laid the last stone?", "{B}"}}},
      {{"{A} is proud of it, although {A.he} says that it is too small.",
        "Some think that it is ugly, but {A} likes it."},
       {},
       true}};
}

std::vector<Beat> illness() {
  return {
      {{"{A} fell ill [on {day}|in {month}|last {season}] and had to stay in bed[| for {n} days].",
        "[On {day}|In {month}], {A} could not work, because {A.he} was ill."},
       {{"Who was ill?", "{A}"},
        {"When did {A} fall ill?", "{day}"},
        {"When did {A} fall ill?", "{month}"}}},
      {{"{A.his} {rel} {B} [sent for|called] {C}, the doctor of {place}.",
        "The doctor, {C}, came from {place} {travel}."},
       {{"Who is the doctor?", "{C}"},
        {"Who [sent for|called] the doctor?", "{B}"},
        {"Where does the doctor come from?", "{place}"}}},
      {{"The doctor came late because {trouble}.",
        "It took {n2} hours until the doctor arrived, because {trouble}."},
       {{"Why did the doctor come late?", "{trouble}"}, {"How many hours did it take?", "{n2}"}},
       true},
      {{"{C} told {A.him} to eat {food} and to sleep.",
        "\"Eat {food} and stay warm,\" {C} told {A.him}."},
       {{"What should {A} eat?", "{food}"}}},
      {{"{B} brought {A.him} a/an {thing} [to cheer {A.him} up|so that {A.he} would not be bored].",
        "To cheer {A.him} up, {B} [told stories|sang songs] and brought a/an {thing}."},
       {{"What did {B} bring?", "{thing}"}, {"Who brought the {object}?", "{B}"}}},
      {{"After {n3} days, {A} was healthy again.",
        "{who} [was well again|could work again] on {day2}."},
       {{"When was {A} well again?", "{day2}"}, {"After how many days was {A} healthy?", "{n3}"}},
       true}};
}

std::vector<Beat> quarrel() {
  return {
      {{"{A} and {B} quarrelled about a/an {colour} {thing}.",
        "For {n} weeks, {A} and {B} did not speak, because both wanted the {colour} {thing}."},
       {{"What did {A} and {B} quarrel about?", "{colour} {thing}"},
        {"What colour was the {object}?", "{colour}"},
        {"How long did they not speak?", "{n} weeks"}}},
      {{"{A} said that {A.he} had bought it in {place}.", "\"I bought it in {place},\" said {A}."},
       {{"Where had {A} bought it?", "{place}"}}},
      {{"{B} said that {C} had given it to {B.him} on {day}.",
        "But {B} [was sure|insisted] that it was a present from {C}."},
       {{"Who had given it to {B}?", "{C}"}, {"When had {C} given it to {B}?", "{day}"}}},
      {{"So they asked {C}, who [thought for {n2} days|laughed].",
        "They went to {C}, a/an {prof}, and asked what was true."},
       {{"Whom did they ask?", "{C}"}, {"What is {C}'s profession?", "{prof}"}}},
      {{"{C} remembered that there were two of them, one {spot} and one {spot2}.",
        "It turned out that {B}'s was still {spot}."},
       {{"Where was {B}'s {object}?", "{spot}"}}},
      {{"Now {A} and {B} are friends again and [eat {food} together|laugh about it].",
        "They made peace over a plate of {food}."},
       {{"What did they eat?", "{food}"}},
       true}};
}

}  // namespace

const std::vector<std::vector<Beat>>& episode_plots() {
  static const std::vector<std::vector<Beat>> plots = {journey(),  lost_thing(), trade(),  feast(),
                                                       repair(),   animal(),     lesson(), race(),
                                                       building(), illness(),    quarrel()};
  return plots;
}

}  // namespace altup
