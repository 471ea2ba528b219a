"""The sentences that people type first: greetings, introductions, numbers, single words, a coffee with milk.

`basics.tsv` has them as English, a tab, German, in sections that begin with ``# name``. A line with slots such as
``{city}`` is a pattern, filled as often as its third column says; in its German column ``{the_place.dat}`` is the
dative of the same filling. Single words and numbers are enumerated here. All of them are varied as people type them:
without the final mark, with a small first letter, with contractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data.starter.adjectives import ADJECTIVES, adjectives_for
from data.starter.basics_words import (
    COLOURS,
    EATEN,
    MORE_CITIES,
    MORE_COUNTRIES,
    MORE_FEELINGS,
    MORE_LANGUAGES,
    MORE_MEN,
    MORE_NOUNS,
    MORE_SURNAMES,
    MORE_WOMEN,
    OUTSIDE,
    QUALITIES,
    SERVED,
    WEATHER,
    WHERE,
    WOMEN_JOBS,
    WORDS,
)
from data.starter.build import Dice, Item, name_of
from data.starter.grammar import Clause, Pair, Phrase, noun_phrase, pronoun_phrase, sentence, with_preposition
from data.starter.nouns import NOUN, NOUNS, Noun, nouns_of, parse
from data.starter.verbs import verbs_with
from data.starter.words import (
    CITIES,
    COUNTRIES,
    FREQUENCY,
    MEN,
    MONTHS,
    PRONOUNS,
    SEASONS,
    SURNAMES,
    WEEKDAYS,
    WOMEN,
    clock,
    english_number,
    german_number,
)

FILE = Path(__file__).resolve().parent / "basics.tsv"
ALL_NOUNS = [*NOUNS, *MORE_NOUNS]
MOST_WORDS = 6  # longer sentences of everyday.tsv are not varied

# -- slots ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filling:
    """What fills a slot: its English and German words, the latter in the nominative when used as text.

    ``to`` is the German for to the ... (zum Bahnhof), ``none`` the negated phrase (kein Buch), ``bare`` the noun alone.
    """

    en: str
    nom: str
    acc: str = ""
    dat: str = ""
    to: str = ""
    none: str = ""
    none_acc: str = ""
    bare: str = ""

    def __str__(self) -> str:
        return self.nom


Slot = Callable[[Dice], Filling]


def filling(phrase: Phrase, negative: Phrase | None = None, bare: str = "") -> Filling:
    """A noun phrase as a filling."""
    none = (negative.german("nom"), negative.german("acc")) if negative else ("", "")
    to = with_preposition("zu", phrase, "dat")
    return Filling(phrase.en_object, phrase.german("nom"), phrase.german("acc"), phrase.german("dat"), to, *none, bare)


def one_of(options: list[Filling]) -> Slot:
    return lambda dice: dice.pick(options)


def words(*tables: list[Pair]) -> Slot:
    return one_of([Filling(english, german) for table in tables for english, german in table])


def same(names: list[str]) -> Slot:
    return words([(name, name) for name in names])


def copied(make: Callable[[Dice], str]) -> Slot:
    """A slot for figures, which are the same in both languages."""

    def fill(dice: Dice) -> Filling:
        text = make(dice)
        return Filling(text, text)

    return fill


def nouns(entries: list[Noun], det: str, plural: bool = False) -> list[Filling]:
    """The nouns with a determiner."""
    return [
        filling(noun_phrase(noun, det, plural), noun_phrase(noun, det, plural, negative=True), noun.de)
        for noun in entries
    ]


def served() -> list[Filling]:
    """What one orders: a coffee, a glass of water."""
    found = nouns([NOUN[name] for name in EATEN], "a")
    for line, contents in SERVED:
        phrase = noun_phrase(parse(line)[0], "a")
        for content in contents.split():
            en, de = content.split("=")
            nom, acc, dat, gen = (f"{form} {de}" for form in phrase.de)
            found.append(filling(replace(phrase, en_object=f"{phrase.en} of {en}", de=(nom, acc, dat, gen))))
        if not contents:
            found.append(filling(phrase))
    return found


def nearest(noun: Noun) -> Filling:
    article = noun_phrase(noun, "the").german("nom").split()[0]
    return Filling(f"the nearest {noun.en}", f"{article} nächste {noun.de}")


def any_of(*classes: str) -> list[Noun]:
    """Nouns of these classes, the grammar's and those of the basics."""
    return [noun for noun in ALL_NOUNS if noun.classes & set(classes)]


def some(*classes: str) -> list[Noun]:
    """The countable ones among them."""
    return [noun for noun in any_of(*classes) if noun.countable]


def spoken(dice: Dice) -> Filling:
    value = 2 + dice.below(19 if dice.chance(0.5) else 98)
    return Filling(english_number(value), german_number(value))


def total(dice: Dice) -> Filling:
    """Two and three is five."""
    first, second = 1 + dice.below(10), 1 + dice.below(10)
    values = (first, second, first + second)
    return Filling(
        "{} and {} is {}".format(*map(english_number, values)), "{} und {} ist {}".format(*map(german_number, values))
    )


def counted(dice: Dice) -> Filling:
    return filling(noun_phrase(dice.pick(OWNED), "", True, number=2 + dice.below(11)))


def counted_in_digits(dice: Dice) -> Filling:
    noun, number = dice.pick(OWNED), 2 + dice.below(30)
    return Filling(f"{number} {noun.en_plural}", f"{number} {noun.de_plural}")


def described(*determiners: str) -> Slot:
    """The old man, a red apple."""

    def fill(dice: Dice) -> Filling:
        noun = dice.pick(DESCRIBED)
        return filling(noun_phrase(noun, dice.pick(determiners), adjective=dice.pick(adjectives_for(noun.classes))))

    return fill


def short_clause(dice: Dice, negated: float) -> Clause:
    """He sleeps. Anna is not working. The dog ran."""
    subject = pronoun_phrase(dice.pick(PRONOUNS)) if dice.chance(0.6) else name_of(dice)
    options = INTRANSITIVE
    if dice.chance(0.25):
        subject = noun_phrase(dice.pick([*nouns_of("figure")[:10], *nouns_of("animal")[:5]]))
        options = [verb for verb in INTRANSITIVE if verb.en in ("sleep", "eat", "play", "run", "swim", "wait")]
    action = dice.pick(options)
    tense = dice.pick(["present", "present", "progressive", "past"])
    if action.en == "read" and tense == "past":
        tense = "present"
    return Clause(subject, action, tense, negated=dice.chance(negated))


def statement(dice: Dice) -> Filling:
    clause = short_clause(dice, 0.2)
    return Filling(clause.english(), clause.german())


def question(dice: Dice) -> Filling:
    clause = short_clause(dice, 0.0)
    return Filling(clause.english("question"), clause.german("inverted"))


OWNED = some("thing", "clothing", "pet", "item", "idea", "food")
COUNTED = some("person", "animal", "thing", "item", "food")
NAMED = [*OWNED, *some("furniture", "own", "animal", "being", "building", "plant", "land", "body")]
PLACES = [*nouns_of("building"), *nouns_of("outdoor")[:3], *any_of("place")]
DESCRIBED = [noun for noun in some(*(name for entry in ADJECTIVES for name in entry.classes)) if noun.en in NOUN]
LIKED = any_of("food", "massfood", "drink", "animal", "liked")
PORTIONS = any_of("massfood", "drink", "spice")
FAMILY = any_of("family", "partner")
JOBS = [noun for noun in nouns_of("job") if noun.en not in ("nurse", "shop assistant")]
PERSONAL: list[Pair] = [(entry.en, entry.de) for entry in ADJECTIVES if "person" in entry.classes]
TONGUES: list[Pair] = [(english, german) for _, _, english, german in COUNTRIES]
LANDS: list[Pair] = [(english, german) for english, german, _, _ in COUNTRIES]
INTRANSITIVE = [
    verb for verb in verbs_with("-") if not verb.reflexive and verb.name not in ("arrive", "fall asleep", "smile")
]

SLOTS: dict[str, Slot] = {
    "name": same([*WOMEN, *MEN, *MORE_WOMEN, *MORE_MEN]),
    "woman": same([*WOMEN, *MORE_WOMEN]),
    "man": same([*MEN, *MORE_MEN]),
    "surname": same([*SURNAMES, *MORE_SURNAMES]),
    "city": words(CITIES, CITIES, MORE_CITIES),
    "country": words(LANDS, MORE_COUNTRIES),
    "language": words(TONGUES, TONGUES, MORE_LANGUAGES),
    "n": spoken,
    "d": copied(lambda dice: str(2 + dice.below(99))),
    "year": copied(lambda dice: str(1940 + dice.below(85))),
    "hour": copied(lambda dice: str(1 + dice.below(12))),
    "digital": copied(lambda dice: f"{6 + dice.below(17)}:{5 * dice.below(12):02}"),
    "phone": copied(lambda dice: str(100_000 + dice.below(900_000))),
    "sum": total,
    "counted": counted,
    "digits_counted": counted_in_digits,
    "clock": lambda dice: Filling(*clock(1 + dice.below(12), dice.pick([0, 0, 30, 15, 45, 10, 20, 40]))),
    "day": words(WEEKDAYS),
    "month": words(MONTHS),
    "season": words(SEASONS),
    "weather": words(WEATHER),
    "outside": words(OUTSIDE),
    "where": words(WHERE),
    "colour": words(COLOURS),
    "hue": words([(english, german.capitalize()) for english, german in COLOURS]),
    "feel": words(PERSONAL, MORE_FEELINGS),
    "quality": words(QUALITIES),
    "word": one_of(nouns(some("sky"), "")),
    "verb": words([(verb.name, verb.prefix + verb.de) for verb in INTRANSITIVE]),
    "clause": statement,
    "question": question,
    "described": described("the", "the", "my", "this"),
    "a_described": described("a"),
    "the_thing": one_of(nouns(some("thing", "clothing", "pet", "item", "own"), "the")),
    "my_thing": one_of(nouns(some("thing", "clothing", "pet", "item", "own"), "my")),
    "your_thing": one_of(nouns(some("thing", "clothing", "pet", "item", "own"), "your")),
    "my_things": one_of(nouns(some("thing", "clothing", "pet", "item"), "my", True)),
    "things": one_of(nouns(OWNED, "", True)),
    "a_thing": one_of(nouns(OWNED, "a")),
    "a_noun": one_of(nouns(NAMED, "a")),
    "the_place": one_of(nouns(PLACES, "the")),
    "a_place": one_of(nouns([noun for noun in PLACES if noun.countable], "a")),
    "nearest_place": one_of([nearest(noun) for noun in PLACES]),
    "the_public": one_of(nouns(nouns_of("longway"), "the")),
    "a_drink": one_of(served()),
    "mass": words([(noun.en, noun.de) for noun in PORTIONS]),
    "likes": one_of([option for noun in LIKED for option in nouns([noun], "", noun.countable)]),
    "my_family": one_of(nouns(FAMILY, "my")),
    "my_man": one_of(nouns([noun for noun in FAMILY if noun.gender == "m"], "my")),
    "my_woman": one_of(nouns([noun for noun in FAMILY if noun.gender == "f"], "my")),
    "your_family": one_of(nouns(FAMILY, "your")),
    "a_family": one_of(nouns([noun for noun in nouns_of("family") if noun.en not in ("mother", "father")], "a")),
    "a_job": one_of(nouns(JOBS, "a")),
    "a_woman_job": one_of([Filling(english, german, bare=german) for english, german in WOMEN_JOBS]),
}


# -- sentences --------------------------------------------------------------------------------------------------------


def read_sections(path: Path = FILE) -> Iterator[tuple[str, str, str, int]]:
    """Section, English, German and the number of fillings (0: no pattern) of each line."""
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
            continue
        english, german, *count = line.split("\t")
        yield section, english, german, int(count[0]) if count else 0


def fill(dice: Dice, english: str, german: str) -> tuple[str, str]:
    """One random filling of a pattern; slots of one kind, such as {name} and {name2}, differ."""
    names = dict.fromkeys(re.findall(r"{(\w+)}", english))
    while True:
        chosen = {name: SLOTS[name.rstrip("23")](dice) for name in names}
        if len({entry.en for entry in chosen.values()}) == len(chosen):
            break
    en = english.format_map({name: entry.en for name, entry in chosen.items()})
    return sentence(en, ""), sentence(german.format_map(chosen), "")


def single_words() -> Iterator[tuple[str, str, str]]:
    """Section, English and German of every word that may stand alone."""
    for noun in ALL_NOUNS:
        yield "nouns", noun.en, noun.de
        yield "nouns with more", f"the {noun.en}", noun_phrase(noun, "the").german("nom")
        if noun.en_plural != noun.en and noun in COUNTED:
            yield "nouns with more", noun.en_plural, noun.de_plural
    for number in [*range(101), 200, 500]:
        yield "numbers", english_number(number), german_number(number)
        yield "figures", str(number), str(number)
    yield from (("numbers", en, de) for en, de in [("a hundred", "hundert"), ("a thousand", "tausend")])
    for adjective in ADJECTIVES:
        yield "words", adjective.en, adjective.de
    for table in (WEEKDAYS, MONTHS, SEASONS, FREQUENCY, LANDS, TONGUES, CITIES, WORDS):
        yield from (("words", english, german) for english, german in table)


# -- as people type them ----------------------------------------------------------------------------------------------

CONTRACTIONS = [
    (r"\b([Ww])ill not\b", r"\1on't"),
    (r"\b([Cc]an)not\b", r"\1't"),
    (r"\b([Ll]et) us\b", r"\1's"),
    (r"\b(I|i) am (?=\w)", r"\1'm "),
    (r"\b(I|i) would like\b", r"\1'd like"),
    (r"\b([Yy]ou|[Ww]e|[Tt]hey) are (?=\w)", r"\1're "),
    (r"\b([Hh]e|[Ss]he|[Ii]t|[Tt]hat|[Ww]hat|[Ww]here|[Ww]ho|[Tt]here) is (?=\w)(?!it\b)", r"\1's "),
    (r"\b([Ii]|[Yy]ou|[Ww]e|[Tt]hey|[Hh]e|[Ss]he) will (?=\w)", r"\1'll "),
    (r"\b([Dd]o|[Dd]oes|[Dd]id|[Ii]s|[Aa]re|[Ww]as|[Ww]ere|[Hh]as|[Hh]ave) not (?=\w)", r"\1n't "),
]


def contracted(dice: Dice, item: Item) -> Item:
    """What's your name? for What is your name?, now and then with the apostrophe of a telephone."""
    english = item.en
    for long, short in CONTRACTIONS:
        english = re.sub(long, short, english)
    return replace(item, en=english.replace("'", "’") if dice.chance(0.2) else english)


def unmarked(item: Item) -> Item:
    """Without the final mark, on both sides."""
    return replace(item, en=item.en.rstrip(".!?"), de=item.de.rstrip(".!?"))


def small(item: Item) -> Item:
    """With a small first letter in English; the German keeps its capital."""
    return replace(item, en=item.en[0].lower() + item.en[1:])


def lower(item: Item) -> Item:
    """Without a final mark and without any capital in English: my name is anna."""
    bare = unmarked(item)
    return replace(bare, en=bare.en.lower())


def other_mark(item: Item) -> Item:
    """. for ! and ! for ."""
    swap = {".": "!", "!": ".", "?": "?"}
    return replace(item, en=item.en[:-1] + swap[item.en[-1]], de=item.de[:-1] + swap[item.de[-1]])


def all_forms(dice: Dice, item: Item) -> list[Item]:
    """A sentence in most of the ways in which it gets typed."""
    forms = [item, unmarked(item), lower(item)]
    if dice.chance(0.5):
        forms.append(small(item))
    if len(item.en.split()) <= 3 and dice.chance(0.5):
        forms.append(other_mark(item))
    short = contracted(dice, item)
    if short != item:
        forms += [short, dice.pick([unmarked(short), lower(short)])]
    return forms


def one_form(dice: Dice, item: Item, plain: float = 0.6) -> Item:
    """A sentence in one of the ways in which it gets typed; ``plain`` is the share that stays as it is."""
    if dice.chance(0.4):
        item = contracted(dice, item)
    if dice.chance(plain):
        return item
    return dice.pick([unmarked(item), unmarked(item), lower(item), lower(item), small(item)])


def as_typed(dice: Dice, item: Item) -> Item:
    """A long sentence, which is rarely typed otherwise than it is printed."""
    if dice.chance(0.1):
        item = contracted(dice, item)
    return unmarked(item) if dice.chance(0.03) else item


def basics(dice: Dice, everyday: list[Item]) -> Iterator[Item]:
    """All basic sentences, and the short ones of `everyday` once more in another form; some come twice."""
    for section, english, german, count in read_sections():
        if not count:
            yield from all_forms(dice, Item(english, german, section))
        seen: set[str] = set()
        attempts = 0
        while len(seen) < count and attempts < 10 * count:
            attempts += 1
            en, de = fill(dice, english, german)
            if en not in seen:
                seen.add(en)
                yield one_form(dice, Item(en, de, section))
    for section, english, german in single_words():
        item = Item(sentence(english), sentence(german), section)
        forms = [item, unmarked(item), lower(item)]
        dice.shuffle(forms)
        yield from forms[: {"numbers": 3, "figures": 1, "nouns with more": dice.below(2)}.get(section, 2)]
    for item in everyday:
        if len(item.en.split()) <= MOST_WORDS and dice.chance(0.25):
            yield replace(one_form(dice, item, plain=0.1), template="everyday, as typed")
