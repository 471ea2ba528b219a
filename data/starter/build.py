"""Random choices of the starter grammar: subjects, objects and whole clauses that make sense."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from data.starter.adjectives import ODD, Adjective, adjectives_for
from data.starter.grammar import (
    Clause,
    Pair,
    Phrase,
    Use,
    joined,
    name_phrase,
    noun_phrase,
    pronoun_phrase,
    with_preposition,
)
from data.starter.nouns import NOUN, Noun, nouns_of
from data.starter.verbs import MODALS, STATIVE, VERBS, Verb
from data.starter.words import ALL_TIMES, CITIES, COUNTRIES, FREQUENCY, HABITUAL, MANNERS, MEN, PRONOUNS, WOMEN, Time

T = TypeVar("T")
Place = tuple[Pair, frozenset[Use]]
NO_USES: frozenset[Use] = frozenset()
POSSESSIVES = ["my", "your", "his", "her", "our", "their"]
PERSONS = nouns_of("person")
FAMILY = nouns_of("family")
ACQUAINTANCES = ("neighbour", "friend", "guest", "boss", "colleague")
STRANGERS = [noun for noun in PERSONS if "family" not in noun.classes]
OBJECT_FRAMES = ("acc", "acc", "acc", "acc", "acc", "dat", "give", "give", "prep", "none", "none", "to", "in")
NO_PERFECT = {"like", "have", "be afraid of", "need", "trust", "belong", "be", "live"}
# Their past is written like their present, so a simple past would be ambiguous.
SAME_PAST = {"read", "put", "cut", "cost"}
# The German dative verb with the English construction that keeps its object optional.
BARE_PLURAL = {"like", "buy", "sell", "eat", "read", "write", "draw", "paint", "feed", "photograph", "repair", "make"}
ALWAYS_DEFINITE = {
    "look at",
    "know",
    "love",
    "close",
    "tidy up",
    "clean",
    "turn on",
    "turn off",
    "open",
    "understand",
    "forget",
    "correct",
    "give back",
    "prepare",
    "introduce",
    "follow",
    "visit",
}


@dataclass
class Dice:
    """Seeded choices built on `random.random` alone, whose sequence Python keeps from version to version."""

    seed: int
    source: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)

    def below(self, limit: int) -> int:
        return int(self.source.random() * limit)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def chance(self, share: float) -> bool:
        return self.source.random() < share

    def shuffle(self, items: list[T]) -> None:
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


@dataclass(frozen=True)
class Item:
    """One generated pair with the template and the word combinations it came from."""

    en: str
    de: str
    template: str = ""
    uses: frozenset[Use] = frozenset()


def frame_kind(verb: Verb) -> str:
    """The frame, with the many prepositional frames under one name."""
    return "prep" if "+" in verb.frame else "none" if verb.frame == "-" else verb.frame


VERBS_BY_FRAME: dict[str, list[Verb]] = {}
for _verb in VERBS:
    VERBS_BY_FRAME.setdefault(frame_kind(_verb), []).append(_verb)
OBJECTS: dict[tuple[str, str], list[Noun]] = {(v.name, v.frame): nouns_of(*v.classes) for v in VERBS if v.classes}


def adjective_for(dice: Dice, noun: Noun, gradable: bool = False) -> Adjective | None:
    """An adjective that goes with the noun, if there is one."""
    options = [entry for entry in adjectives_for(noun.classes) if entry.gradable or not gradable]
    options = [entry for entry in options if (entry.en, noun.en) not in ODD]
    return dice.pick(options) if options else None


def person_phrase(dice: Dice, adjective_share: float = 0.17, plain: bool = False) -> Phrase:
    """A person as a noun phrase: the old man, my brother, this student. ``plain``: no every, all, some, many, a."""
    if dice.chance(0.35):
        noun = dice.pick(FAMILY)
        plural = noun.en in ("brother", "sister", "son", "daughter", "aunt", "uncle") and dice.chance(0.12)
        options = (
            [*POSSESSIVES, "the"] if noun.en in ("mother", "father", "grandmother", "grandfather") else POSSESSIVES
        )
        return noun_phrase(noun, dice.pick(options), plural, some_adjective(dice, noun, 0.1))
    noun = dice.pick(STRANGERS)
    adjective = some_adjective(dice, noun, adjective_share)
    if noun.en in ACQUAINTANCES:
        options = POSSESSIVES if plain or noun.en != "friend" else [*POSSESSIVES, "a"]
        return noun_phrase(noun, dice.pick(options), noun.en != "boss" and dice.chance(0.2), adjective)
    if noun.en in ("king", "queen"):
        return noun_phrase(noun, "the", adjective=adjective)
    if dice.chance(0.2):
        options = ["the", "these"] if plain else ["the", "the", "these", "many", "some", "all"]
        return noun_phrase(noun, dice.pick(options), True, adjective)
    determiner = dice.pick(["the"] * 7 + (["this"] if plain else ["this", "a", "every"]))
    return noun_phrase(noun, determiner, False, None if determiner == "every" else adjective)


def some_adjective(dice: Dice, noun: Noun, share: float) -> Adjective | None:
    """An adjective with this probability."""
    return adjective_for(dice, noun) if dice.chance(share) else None


def name_of(dice: Dice) -> Phrase:
    """A first name."""
    return name_phrase(dice.pick(WOMEN), "f") if dice.chance(0.5) else name_phrase(dice.pick(MEN), "m")


def subject_phrase(dice: Dice, plain: bool = False) -> Phrase:
    """Who does it: a pronoun, a name, a person, or two of them."""
    roll = dice.below(100)
    if roll < 42:
        return pronoun_phrase(dice.pick(PRONOUNS))
    if roll < 54:
        return name_of(dice)
    if roll < 59:
        first = name_of(dice)
        second = name_of(dice) if dice.chance(0.4) else noun_phrase(dice.pick(FAMILY), dice.pick(["my", "his", "our"]))
        return joined(first, second) if first.en != second.en else first
    return person_phrase(dice, plain=plain)


def asked_subject(dice: Dice) -> Phrase:
    """A subject to ask about: not I."""
    while True:
        subject = subject_phrase(dice)
        if subject.en != "I":
            return subject


def third_person(dice: Dice) -> Phrase:
    """A subject that is neither I, you nor we."""
    while True:
        subject = subject_phrase(dice)
        if not subject.pronoun or subject.person in (2, 4):
            return subject


def person_object(dice: Dice, subject: Phrase, plain: bool = False) -> Phrase:
    """A person as an object: a pronoun other than the subject, a name or a noun phrase."""
    roll = dice.below(100)
    if roll < 30:
        options = [entry for entry in PRONOUNS if entry.person != subject.person]
        return pronoun_phrase(dice.pick(options))
    phrase = name_of(dice) if roll < 42 else person_phrase(dice, plain=plain)
    same = (phrase.noun == subject.noun and phrase.noun) or phrase.en in subject.en
    if same or "every" in phrase.en:
        return pronoun_phrase(PRONOUNS[0 if subject.person != 0 else 2])
    return phrase


def thing_object(dice: Dice, verb: Verb, noun: Noun, negated: bool, definite: bool = False) -> Phrase:
    """A thing, animal or place as an object, with a fitting determiner."""
    definite = definite or verb.name in ALWAYS_DEFINITE or "+" in verb.frame or verb.frame in ("dat", "owner")
    adjective = some_adjective(dice, noun, 0.28)
    if noun.classes & {"meal"}:
        return noun_phrase(noun, "the")
    if noun.classes & {"family"}:
        return noun_phrase(noun, dice.pick(POSSESSIVES), False, adjective)
    if not noun.countable:
        bare = not definite and noun.classes & {"massfood", "drink"} and dice.chance(0.65)
        det = "" if bare else dice.pick(["the", "the", "the", "this", "my"])
        return noun_phrase(noun, det, False, adjective, negative=negated)
    if verb.name in ("like", "love") and noun.classes & {"fruit", "vegetable", "animal", "baked"}:
        return noun_phrase(noun, "", True, None, negative=negated)
    number = 0
    if dice.chance(0.22) or noun.en in ("shoe", "glove"):
        options = ["the", "the", "these", dice.pick(POSSESSIVES)]
        if not definite:
            options += ["some", "many", "number"] if not negated else []
            options += ["", ""] if verb.name in BARE_PLURAL else []
        det = dice.pick(options)
        if det == "number":
            det, number = "", 2 + dice.below(11)
        return noun_phrase(noun, det, True, adjective, number=number, negative=negated)
    options = ["the"] * 6 + ["this", "this"] + [dice.pick(POSSESSIVES)] * 3
    wild = "animal" in noun.classes and "pet" not in noun.classes
    if wild or noun.classes & {"building", "outdoor", "town", "public", "food"}:
        options = ["the"] * 7 + ["this"]
    if not definite:
        options += ["a"] * 7
    return noun_phrase(noun, dice.pick(options), False, adjective, negative=negated)


def object_for(dice: Dice, verb: Verb, subject: Phrase, negated: bool, definite: bool = False) -> Phrase | None:
    """A direct (or prepositional) object that makes sense with the verb."""
    nouns = OBJECTS.get((verb.name, verb.frame))
    if not nouns:
        return None
    if "person" in verb.classes and dice.chance(0.6 if len(verb.classes) > 1 else 1.0):
        return person_object(dice, subject, negated)
    things = [noun for noun in nouns if "person" not in noun.classes] if "person" in verb.classes else nouns
    return thing_object(dice, verb, dice.pick(things), negated, definite)


DIRECTION_NOUNS = nouns_of("zu", "go")
INSIDE_NOUNS = [noun for noun in nouns_of("in", "an", "auf") if noun.classes & {"building", "room", "outdoor", "town"}]


def direction(dice: Dice, inside: bool) -> Place:
    """Where to: to the station / zum Bahnhof, to the cinema / ins Kino, into the kitchen / in die Küche, home."""
    roll = dice.below(100)
    if roll < 8:
        return ("home", "nach Hause"), NO_USES
    if roll < 28 and inside:
        noun = dice.pick(nouns_of("inside"))
        return ("into the " + noun.en, place_german("in", noun, "acc")), NO_USES
    if roll < 40:
        person = person_phrase(dice, 0.1, plain=True)
        return ("to " + person.en, contracted("zu", person)), person.uses
    noun = dice.pick(DIRECTION_NOUNS)
    german = place_german("zu", noun, "dat") if "zu" in noun.classes else place_german("in", noun, "acc")
    return ("to the " + noun.en, german), NO_USES


def contracted(preposition: str, phrase: Phrase) -> str:
    """zu with a dative phrase, contracted."""
    return with_preposition(preposition, phrase, "dat")


def place_german(preposition: str, noun: Noun, case: str, adjective: Adjective | None = None) -> str:
    """A German place with the definite article: im Garten, zur Schule."""
    return with_preposition(preposition, noun_phrase(noun, "the", adjective=adjective), case)


def location(dice: Dice, nouns: Sequence[Noun] = INSIDE_NOUNS) -> Place:
    """Where: in the garden / im Garten, at the station / am Bahnhof, on the island / auf der Insel."""
    noun = dice.pick(nouns)
    adjective = some_adjective(dice, noun, 0.15)
    preposition = next(name for name in ("in", "an", "auf") if name in noun.classes)
    phrase = noun_phrase(noun, "the", adjective=adjective)
    english = {"in": "in", "an": "at", "auf": "at" if noun.en == "market" else "on"}[preposition]
    return (f"{english} {phrase.en}", place_german(preposition, noun, "dat", adjective)), phrase.uses


def time_for(dice: Dice, when: str) -> Time:
    """A time adverbial of this kind: past, future or habit."""
    kinds = {"past": ("past", "past", "day"), "future": ("future", "future", "day"), "habit": ("habit",)}[when]
    kind = dice.pick(kinds)
    return dice.pick([time for time in ALL_TIMES if time.when == kind])


def clause(
    dice: Dice,
    tense: str = "present",
    negated: bool = False,
    subject: Phrase | None = None,
    timed: float = 0.0,
    adverb: float = 0.0,
    kinds: Sequence[str] = OBJECT_FRAMES,
    definite: bool = False,
    orderable: bool = False,
) -> Clause:
    """A random clause that makes sense. ``timed`` and ``adverb`` are the shares with a time and an often/oft."""
    subject = subject or subject_phrase(dice, plain=negated)
    while True:
        verb = dice.pick(VERBS_BY_FRAME[dice.pick(kinds)])
        if orderable and not verb.orderable:
            continue
        if tense == "progressive" and (verb.stative or verb.name in ("be afraid of", "trust")):
            continue
        if tense in ("perfect", "past") and verb.name in NO_PERFECT and not (tense == "past" and verb.de == "haben"):
            continue
        if tense == "past" and verb.name in SAME_PAST:
            continue
        if tense not in ("present", "past", "perfect", "progressive") and verb.name in STATIVE - {"see", "find", "get"}:
            continue
        if verb.name in ("arrive", "come back") and tense not in ("present", "past", "perfect", "will"):
            continue
        if verb.name == "be afraid of" and (negated or tense != "present"):
            continue
        break
    result = fill(dice, Clause(subject, verb, tense, negated=negated), definite)
    when = {"past": "past", "perfect": "", "progressive": "", "present": "habit", "will": "future"}.get(tense, "future")
    if tense in ("could", "had to", "wanted to"):
        when = "past"
    values = vars(result) | {}
    if orderable and result.tail and result.tail[0] in ("badly", "little"):
        values["tail"] = None
    if when and dice.chance(timed) and not (when == "habit" and verb.stative):
        values["time"] = time_for(dice, when)
        values["front"] = dice.chance(0.5) or (negated and result.obj is not None)
    elif tense == "present" and not negated and verb.name not in ("live", "be afraid of") and dice.chance(adverb):
        values["middle"] = dice.pick(HABITUAL)
    elif tense == "perfect" and not negated and dice.chance(adverb):
        values["middle"] = dice.pick([*FREQUENCY[1:4], FREQUENCY[6], FREQUENCY[6]])
    return Clause(**values)


def fill(dice: Dice, start: Clause, definite: bool = False) -> Clause:
    """The clause with the objects and the tail its verb asks for."""
    verb, subject, negated = start.verb, start.subject, start.negated
    values = vars(start) | {}
    kind = frame_kind(verb)
    if kind == "give":
        values["recipient"] = person_object(dice, subject, negated)
        thing = thing_object(dice, verb, dice.pick(OBJECTS[(verb.name, verb.frame)]), negated, verb.name == "explain")
        values["obj"] = thing
    elif kind in ("acc", "dat", "prep"):
        values["obj"] = object_for(dice, verb, subject, negated, definite)
    elif kind == "to":
        values["tail"], values["extra"] = direction(dice, inside=verb.name != "drive")
    elif kind == "in":
        tail, uses = location(dice, nouns_of("home" if verb.name == "live" else "stayable"))
        values["tail"], values["extra"] = tail, uses
        if dice.chance(0.33):
            city = dice.pick(CITIES)
            values["tail"], values["extra"] = ("in " + city[0], "in " + city[1]), NO_USES
    elif kind == "land":
        english, german = dice.pick([*CITIES, *[(entry[0], entry[1]) for entry in COUNTRIES]])
        values["tail"] = (f"to {english}", f"nach {german}")
    elif kind == "none" and not negated and start.tense != "progressive":
        values["tail"], values["extra"] = intransitive_tail(dice, verb, start.tense in MODALS)
    elif kind == "none" and dice.chance(0.5):
        values["tail"], values["extra"] = place_of(dice, verb)
    return Clause(**values)


PLACES_OF = {
    "sleep": "house room living_room garden hotel hospital flat library",
    "work": "factory hotel restaurant hospital school library museum bank office garden shop station airport kitchen",
    "dance": "park street theatre living_room restaurant garden kitchen castle",
    "sing": "church theatre bathroom park garden kitchen school street",
    "swim": "",
    "wait": "station hotel restaurant museum hospital shop bank library airport office park garden market "
    "street bridge river lake beach cellar church school",
    "play": "garden park street beach forest room living_room house school cellar",
    "cook": "kitchen restaurant garden hotel",
    "read": "library garden park kitchen living_room bathroom school beach",
    "learn": "school library room kitchen office garden",
    "eat": "restaurant kitchen garden park hotel office beach",
    "rest": "garden park hotel beach forest flat room church",
}
PLACE_NOUNS = {name: [NOUN[place.replace("_", " ")] for place in places.split()] for name, places in PLACES_OF.items()}


def place_of(dice: Dice, verb: Verb) -> tuple[Pair | None, frozenset[Use]]:
    """A place where one does this."""
    if verb.name == "swim":
        return dice.pick([("in the lake", "im See"), ("in the river", "im Fluss")]), NO_USES
    nouns = PLACE_NOUNS.get(verb.name)
    return location(dice, nouns) if nouns else (None, NO_USES)


MANNER_OF = {
    "sleep": ("well", "badly", "a lot", "little", "here", "at home"),
    "work": ("fast", "slowly", "a lot", "little", "alone", "here", "at home"),
    "laugh": ("loudly", "a lot"),
    "cry": ("loudly", "quietly"),
    "dance": ("well", "badly", "alone"),
    "sing": ("loudly", "quietly", "well", "badly"),
    "swim": ("fast", "slowly", "well", "badly"),
    "run": ("fast", "slowly"),
    "wait": ("here", "there", "outside"),
    "play": ("outside", "alone", "here"),
    "cook": ("well", "badly", "alone"),
    "read": ("a lot", "little", "loudly"),
    "learn": ("fast", "slowly", "a lot"),
    "eat": ("slowly", "a lot", "little", "outside", "at home"),
}


def intransitive_tail(dice: Dice, verb: Verb, modal: bool) -> tuple[Pair | None, frozenset[Use]]:
    """A manner or place for a verb without an object."""
    if verb.name in PLACES_OF and dice.chance(0.45):
        return place_of(dice, verb)
    options = MANNER_OF.get(verb.name)
    if options and dice.chance(0.7):
        chosen = dice.pick(options)
        pair = next(pair for pair in MANNERS if pair[0] == chosen)
        return (None if modal and chosen in ("badly", "little", "a lot") else pair), NO_USES
    return None, NO_USES
