"""The adjectives of the starter grammar, as a table.

One adjective per line: English ; German, and after it comparative and superlative stem when the rule does not give
them ; the noun classes it goes with. ``more`` before the English word: more/most instead of -er/-est.
``=stem`` gives a different stem before an ending (teuer, ein teures Auto).
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
big ; groß größer größt ; figure animal fruit vegetable baked vehicle furniture building room outdoor town opening box
small ; klein ; figure animal fruit vegetable baked vehicle furniture building room outdoor town opening box dishes
old ; alt älter ältest ; person animal text clothing vehicle furniture building town box device art music show
new ; neu ; text clothing vehicle furniture building thing device music show mind job learn
young ; jung jünger jüngst ; person animal
good ; gut besser best ; text show music mind person speech food massfood drink
bad ; schlecht schlechter schlechtest ; text show music mind speech
beautiful ; schön ; clothing building room outdoor town art music plant tale
ugly ; hässlich ; clothing building furniture art
more expensive ; teuer=teur teurer teuerst ; clothing vehicle furniture device thing building massfood
cheap ; billig ; clothing vehicle furniture device thing massfood
fast ; schnell ; vehicle
slow ; langsam ; vehicle
red ; rot röter rötest ; clothing vehicle plant box furniture opening
blue ; blau blauer blauest ; clothing vehicle box furniture opening dishes
green ; grün ; clothing vehicle box furniture opening
yellow ; gelb ; clothing vehicle box plant dishes
black ; schwarz schwärzer schwärzest ; clothing vehicle box animal furniture
white ; weiß weißer weißest ; clothing vehicle animal building furniture plant
brown ; braun ; clothing animal furniture box
grey ; grau ; clothing animal vehicle
long ; lang länger längst ; text clothing speech show river
short ; kurz kürzer kürzest ; text clothing speech event
warm ; warm wärmer wärmst ; clothing drink room dish
cold ; kalt kälter kältest ; drink room dish
hot ; heiß heißer heißest ; drink dish
fresh ; frisch frischer frischest ; food massfood
sweet ; süß süßer süßest ; fruit baked drink
more delicious ; lecker ; food massfood baked
dirty ; schmutzig ; clothing vehicle dishes room opening
clean ; sauber=sauber ; clothing vehicle dishes room
heavy ; schwer ; furniture box machine
strong ; stark stärker stärkst ; person animal
rich ; reich ; person
poor ; arm ärmer ärmst ; person
happy ; glücklich ; person
sad ; traurig ; person music tale
tired ; müde=müd müder müdest ; person
sick ; krank kränker kränkst ; person animal
healthy ; gesund gesünder gesündest ; person animal
hungry ; hungrig ; person animal
friendly ; freundlich ; person
nice ; nett netter nettest ; person
clever ; klug klüger klügst ; person pet
lazy ; faul ; person pet
more famous ; berühmt berühmter berühmtest ; job building art music town
more polite ; höflich ; person
more curious ; neugierig ; person pet
more interesting ; interessant interessanter interessantest ; text show mind town learn event
more boring ; langweilig ; text show event
more important ; wichtig ; text speech mind event learn
more difficult ; schwierig ; speech learn mind play
easy ; einfach ; speech learn play
funny ; lustig ; tale show music play
more dangerous ; gefährlich ; outdoor way
quiet ; ruhig ; outdoor town room
loud ; laut lauter lautest ; device music
empty ; leer ; box dishes room building
full ; voll ; box dishes
more broken ; kaputt kaputter kaputtest ; device dishes opening furniture vehicle
dark ; dunkel=dunkl dunkler dunkelst ; room outdoor clothing
bright ; hell ; room
more modern ; modern ; building room device town
more wonderful ; wunderbar ; event outdoor music
round ; rund runder rundest ; furniture box
soft ; weich ; baked
wet ; nass nasser nassest ; clothing pet
dry ; trocken=trocken ; clothing
thick ; dick ; text clothing
thin ; dünn ; text clothing
narrow ; schmal ; way opening
wide ; breit breiter breitest ; way opening river
ripe ; reif ; fruit
wild ; wild wilder wildest ; animal
high ; hoch=hoh höher höchst ; tall
more right ; richtig ; answers
more wrong ; falsch falscher falschest ; answers
more strange ; seltsam ; speech tale mind
deep ; tief ; water
"""

# Adjectives that say nothing in a comparison.
ABSOLUTE = {
    "broken",
    "right",
    "wrong",
    "empty",
    "full",
    "new",
    "round",
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "brown",
    "grey",
    "ripe",
    "hungry",
    "sick",
    "wet",
    "dry",
    "wild",
}
DOUBLED = {"big", "hot", "sad", "wet", "thin"}
EN_IRREGULAR = {"good": ("better", "best"), "bad": ("worse", "worst")}
DE_SPLIT_STEM = "="


@dataclass(frozen=True)
class Adjective:
    """One adjective with its degrees."""

    en: str
    en_comparative: str
    en_superlative: str
    de: str
    de_stem: str
    de_comparative: str
    de_superlative: str
    classes: frozenset[str]

    @property
    def gradable(self) -> bool:
        return self.en not in ABSOLUTE


def english_degrees(word: str, periphrastic: bool) -> tuple[str, str]:
    """big -> bigger, biggest; famous -> more famous, most famous."""
    if word in EN_IRREGULAR:
        return EN_IRREGULAR[word]
    if periphrastic:
        return f"more {word}", f"most {word}"
    stem = word
    if word.endswith("y") and word not in ("grey",):
        stem = word[:-1] + "i"
    elif word.endswith("e"):
        stem = word[:-1]
    elif word in DOUBLED:
        stem = word + word[-1]
    return stem + "er", stem + "est"


def parse(table: str) -> list[Adjective]:
    """Read the table above."""
    adjectives = []
    for line in table.strip().splitlines():
        english, german, classes = (part.strip() for part in line.split(";"))
        periphrastic = english.startswith("more ")
        word = english.removeprefix("more ")
        forms = german.split()
        de, _, stem = forms[0].partition(DE_SPLIT_STEM)
        comparative, superlative = english_degrees(word, periphrastic)
        adjectives.append(
            Adjective(
                en=word,
                en_comparative=comparative,
                en_superlative=superlative,
                de=de,
                de_stem=stem or de,
                de_comparative=forms[1] if len(forms) > 1 else de + "er",
                de_superlative=forms[2] if len(forms) > 2 else de + "st",
                classes=frozenset(classes.split()),
            )
        )
    return adjectives


# What the classes allow but nobody says: an old girl, a young grandfather.
ODD = {("old", "girl"), ("old", "boy"), ("old", "child"), ("young", "grandmother"), ("young", "grandfather")}

ADJECTIVES: list[Adjective] = parse(TABLE)
ADJECTIVE: dict[str, Adjective] = {adjective.en: adjective for adjective in ADJECTIVES}


def adjectives_for(classes: frozenset[str]) -> list[Adjective]:
    """Every adjective that goes with a noun of these classes, in table order."""
    return [adjective for adjective in ADJECTIVES if adjective.classes & classes]
