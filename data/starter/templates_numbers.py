"""Sentence templates with numbers: ages, prices, clock times, dates, seasons."""

from __future__ import annotations

from dataclasses import replace

from data.starter.adjectives import ADJECTIVES
from data.starter.build import (
    POSSESSIVES,
    Dice,
    Item,
    adjective_for,
    clause,
    subject_phrase,
    third_person,
)
from data.starter.grammar import Clause, Phrase, noun_phrase, sentence
from data.starter.nouns import NOUN, nouns_of
from data.starter.registry import copula, statement, template
from data.starter.verbs import verb
from data.starter.words import (
    CITIES,
    MONTHS,
    SEASONS,
    WEEKDAYS,
    Time,
    clock,
    date,
    english_number,
    english_ordinal,
    german_number,
    german_ordinal,
)


@template(3)
def ages(dice: Dice) -> Item | None:
    subject = subject_phrase(dice)
    if "every" in subject.en or "many" in subject.en or "some" in subject.en:
        return None
    number = 2 + dice.below(88)
    return copula(
        subject, f"{english_number(number)} years old", f"{german_number(number)} Jahre alt", past=dice.chance(0.1)
    )


@template(4)
def prices(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("food", "clothing", "device", "furniture", "own", "text"))
    adjective = adjective_for(dice, noun) if dice.chance(0.4) else None
    plural = noun.countable and dice.chance(0.2)
    subject = noun_phrase(noun, "these" if plural else dice.pick(["the", "this"]), plural, adjective)
    number = dice.pick([2 + dice.below(98), 2 + dice.below(19), 100 + dice.below(900)])
    amount = (f"{english_number(number)} euros", f"{german_number(number)} Euro")
    if dice.chance(0.3):
        amount = (f"{number} euros", f"{number} Euro")
    tense = "will" if dice.chance(0.15) else "present"
    return statement(Clause(subject, verb("cost", "price"), tense, tail=amount))


def clock_time(dice: Dice) -> tuple[str, str]:
    return clock(1 + dice.below(12), dice.pick([0, 0, 0, 30, 30, 30, 15, 45, 5, 10, 20, 40, 50, 55]))


@template(1)
def what_time(dice: Dice) -> Item | None:
    english, german = clock_time(dice)
    part = dice.pick([("", ""), ("already ", "schon "), ("only ", "erst ")])
    past = dice.chance(0.3)
    return Item(
        f"It {'was' if past else 'is'} {part[0]}{english}.", f"Es {'war' if past else 'ist'} {part[1]}{german}."
    )


@template(6)
def at_a_time(dice: Dice) -> Item | None:
    english, german = clock_time(dice)
    tense = dice.pick(["present", "past", "will", "must", "want to"])
    built = clause(dice, tense, kinds=("none", "to", "acc"))
    if built.verb.stative or built.middle:
        return None
    moment = ("at " + english, "um " + german)
    if dice.chance(0.15):
        day = dice.pick(WEEKDAYS)
        if tense == "present":
            return None
        moment = (f"on {day[0]} at {english}", f"am {day[1]} um {german}")
    return statement(with_time(built, moment, dice.chance(0.35) and tense == "present"))


def with_time(built: Clause, moment: tuple[str, str], front: bool) -> Clause:
    """The clause with another time adverbial."""
    return replace(built, time=Time(*moment, "any"), front=front)


@template(4)
def timetable(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("public"))
    subject = noun_phrase(noun, dice.pick(["the", "the", "the", "our", "my"]))
    action = dice.pick([verb("arrive", "-"), verb("depart", "leave")])
    built = Clause(subject, action, dice.pick(["present", "present", "will", "past"]))
    goal = dice.pick(CITIES)
    if dice.chance(0.5) and "longway" in noun.classes:
        subject_en = f"{subject.en} to {goal[0]}"
        if action.name == "arrive":
            subject_en = f"{subject.en} from {goal[0]}"
        link = "aus" if action.name == "arrive" else "nach"
        nominative = f"{subject.german('nom')} {link} {goal[1]}"
        built = replace(built, subject=replace(subject, en=subject_en, de=(nominative, "", "", "")))
    english, german = clock_time(dice)
    return statement(with_time(built, ("at " + english, "um " + german), dice.chance(0.2)))


@template(2)
def today_is(dice: Dice) -> Item | None:
    day = dice.pick(
        [("today", "heute", "is", "ist"), ("tomorrow", "morgen", "is", "ist"), ("yesterday", "gestern", "was", "war")]
    )
    moment = date(1 + dice.below(31), 1 + dice.below(12), "nom")
    if dice.chance(0.08):
        moment = dice.pick(WEEKDAYS)
    return Item(sentence(f"{day[0]} {day[2]} {moment[0]}"), sentence(f"{day[1]} {day[3]} {moment[1]}"))


@template(5)
def on_a_date(dice: Dice) -> Item | None:
    moment = date(1 + dice.below(31), 1 + dice.below(12), "dat")
    roll = dice.below(3)
    if roll == 0:
        det = dice.pick([*POSSESSIVES, "the"])
        phrase = (
            noun_phrase(NOUN["birthday"], dice.pick(POSSESSIVES))
            if dice.chance(0.4)
            else noun_phrase(dice.pick([NOUN["party"], NOUN["wedding"], NOUN["concert"], NOUN["meeting"]]), det)
        )
        past = dice.chance(0.3)
        return copula(phrase, moment[0], moment[1], past)
    built = clause(dice, "past" if roll == 1 else "will", kinds=("none", "land", "to", "acc"))
    if built.verb.stative or built.verb.name in ("laugh", "cry", "smile"):
        return None
    return statement(
        with_time(replace(built, tail=None) if built.verb.frame == "-" else built, moment, dice.chance(0.3))
    )


@template(2)
def ordinals(dice: Dice) -> Item | None:
    number = 1 + dice.below(12)
    noun = dice.pick(
        [
            NOUN[name]
            for name in (
                "question",
                "day",
                "street",
                "door",
                "lesson",
                "exercise",
                "book",
                "trip",
                "child",
                "week",
                "month",
                "mistake",
                "word",
                "sentence",
                "answer",
            )
        ]
    )
    shown = noun_phrase(noun, "the")
    endings = {"m": ("e", "en"), "f": ("e", "e"), "n": ("e", "e")}[noun.gender]
    english = f"the {english_ordinal(number)} {noun.en}"
    cases = [
        f"{shown.german(case).split()[0]} {german_ordinal(number)}{ending} {noun.de}"
        for case, ending in zip(("nom", "acc"), endings, strict=True)
    ]
    adjective = adjective_for(dice, noun)
    if adjective and dice.chance(0.6):
        whole = Phrase(english, english, (cases[0], cases[1], "", ""), 2, noun.gender, noun=noun.en)
        return replace(
            copula(whole, adjective.en, adjective.de, dice.chance(0.4)),
            uses=frozenset({("adjective noun", adjective.en, noun.en)}),
        )
    ordinal = dice.pick(["this", "that"])
    return Item(
        sentence(f"{ordinal} is {english}"), sentence(f"{'dies' if ordinal == 'this' else 'das'} ist {cases[0]}")
    )


@template(2)
def seasons(dice: Dice) -> Item | None:
    season = dice.pick([*SEASONS, *MONTHS])
    subject = dice.pick(
        [
            ("it", "es"),
            ("the city", "die Stadt"),
            ("the weather", "das Wetter"),
            ("the lake", "der See"),
            ("the garden", "der Garten"),
            ("the forest", "der Wald"),
            ("the park", "der Park"),
        ]
    )
    words = {
        "it": ["cold", "warm", "dark", "hot"],
        "the lake": ["cold", "warm", "beautiful", "quiet"],
        "the weather": ["good", "bad", "beautiful", "warm", "cold"],
    }
    chosen = dice.pick(words.get(subject[0], ["beautiful", "quiet", "green", "wonderful", "empty"]))
    adjective = next(entry for entry in ADJECTIVES if entry.en == chosen)
    degree = dice.pick([("", ""), ("very ", "sehr "), ("often ", "oft "), ("not ", "nicht ")])
    past = dice.chance(0.4)
    be = ("was", "war") if past else ("is", "ist")
    uses = frozenset({("adjective noun", adjective.en, subject[0].removeprefix("the "))})
    if dice.chance(0.5):
        return Item(
            sentence(f"in {season[0]} {subject[0]} {be[0]} {degree[0]}{adjective.en}"),
            sentence(f"im {season[1]} {be[1]} {subject[1]} {degree[1]}{adjective.de}"),
            uses=uses,
        )
    return Item(
        sentence(f"{subject[0]} {be[0]} {degree[0]}{adjective.en} in {season[0]}"),
        sentence(f"{subject[1]} {be[1]} im {season[1]} {degree[1]}{adjective.de}"),
        uses=uses,
    )


@template(2)
def since(dice: Dice) -> Item | None:
    """has lived here for two years: wohnt seit zwei Jahren hier."""
    number, unit = 2 + dice.below(10), NOUN[dice.pick(["year", "month", "week", "day", "hour"])]
    span = (
        f"for {english_number(number)} {unit.en_plural}",
        f"seit {german_number(number)} {unit.german('dat', True)}",
    )
    subject = third_person(dice) if dice.chance(0.6) else subject_phrase(dice)
    name = dice.pick(["live", "work", "wait", "learn", "sleep"])
    if (name == "live" and unit.en == "hour") or (name in ("sleep", "wait") and unit.en != "hour"):
        return None
    action = verb(name, "in" if name == "live" else "-")
    where = dice.pick([("in " + city[0], "in " + city[1]) for city in CITIES]) if name in ("live", "work") else ("", "")
    built = Clause(
        subject,
        replace(
            action,
            en_participle="been "
            + {"live": "living", "work": "working", "wait": "waiting", "learn": "learning", "sleep": "sleeping"}[name],
        ),
        "perfect",
    )
    german = Clause(subject, action, "present", tail=("", f"{span[1]} {where[1]}".strip()))
    return Item(
        sentence(f"{built.english()} {where[0]} {span[0]}".replace("  ", " ")),
        sentence(german.german()),
        uses=built.uses,
    )
