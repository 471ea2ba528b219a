"""Sentence templates with a subordinate or relative clause."""

from __future__ import annotations

from dataclasses import replace

from data.starter.adjectives import ADJECTIVES, Adjective
from data.starter.build import (
    Dice,
    Item,
    adjective_for,
    asked_subject,
    clause,
    name_of,
    third_person,
)
from data.starter.grammar import Clause, Phrase, Use, noun_phrase, pronoun_phrase, sentence
from data.starter.inflect import RELATIVE, english_be, english_was, pick_ending
from data.starter.nouns import NOUN, nouns_of
from data.starter.registry import template
from data.starter.verbs import IRREGULAR, PRETERITE, verb, verbs_with
from data.starter.words import PRONOUNS

PERSONAL = [entry for entry in ADJECTIVES if "person" in entry.classes]
FEELINGS = [
    entry
    for entry in PERSONAL
    if entry.en
    in (
        "happy",
        "sad",
        "tired",
        "sick",
        "healthy",
        "hungry",
        "old",
        "young",
        "rich",
        "poor",
        "strong",
        "lazy",
        "clever",
    )
]
IT = {"m": "er", "f": "sie", "n": "es", "pl": "sie"}


def short_subject(dice: Dice) -> Phrase:
    """A pronoun, a name or a plain noun phrase."""
    roll = dice.below(10)
    if roll < 6:
        return pronoun_phrase(dice.pick(PRONOUNS))
    return name_of(dice) if roll < 8 else third_person(dice)


def short_clause(dice: Dice, *tenses: str, subject: Phrase | None = None) -> Clause:
    """A clause for the inside of a longer sentence."""
    tense = dice.pick(tenses or ("present", "present", "past", "will", "can", "must"))
    negated = dice.chance(0.15) and tense != "must"
    return clause(dice, tense, negated=negated, subject=subject or short_subject(dice))


def feeling(dice: Dice, subject: Phrase, past: bool = False) -> tuple[str, str, Adjective]:
    """she is tired / sie müde ist, verb last."""
    adjective = dice.pick(FEELINGS)
    en = (english_was if past else english_be)(subject.person)
    de = (PRETERITE if past else IRREGULAR)["sein"][subject.person]
    return f"{subject.en} {en} {adjective.en}", f"{subject.german('nom')} {adjective.de} {de}", adjective


def feeling_uses(subject: Phrase, adjective: Adjective) -> frozenset[Use]:
    return frozenset({("adjective noun", adjective.en, subject.noun)}) if subject.noun else frozenset()


def back(subject: Phrase) -> Phrase:
    """The pronoun that takes a subject up again; a person keeps to he and she."""
    if subject.pronoun:
        return subject
    if subject.person == 4:
        return pronoun_phrase(PRONOUNS[5])
    return pronoun_phrase(PRONOUNS[3 if subject.gender == "f" else 2])


def mental(dice: Dice, name: str) -> tuple[frozenset[Use], str, str]:
    """A subject with think, know, say or hope."""
    subject = short_subject(dice)
    action = verb(name, "clause")
    built = Clause(subject, action)
    return built.uses, built.english(), built.german()


@template(8)
def that_clause(dice: Dice) -> Item | None:
    outer, english, german = mental(dice, dice.pick(["think", "know", "say", "hope"]))
    inner = short_clause(dice)
    return Item(
        sentence(f"{english} that {inner.english()}"),
        sentence(f"{german}, dass {inner.german('sub')}"),
        uses=inner.uses | outer,
    )


@template(3)
def that_feeling(dice: Dice) -> Item | None:
    outer, english, german = mental(dice, dice.pick(["think", "know", "say", "hope"]))
    subject = short_subject(dice)
    en, de, adjective = feeling(dice, subject, dice.chance(0.2))
    return Item(
        sentence(f"{english} that {en}"),
        sentence(f"{german}, dass {de}"),
        uses=feeling_uses(subject, adjective) | subject.uses | outer,
    )


@template(4)
def whether(dice: Dice) -> Item | None:
    inner = short_clause(dice, "present", "past", "will", "can", "perfect")
    if dice.chance(0.5):
        subject = short_subject(dice)
        know = Clause(subject, verb("know", "clause"), negated=True)
        return Item(
            sentence(f"{know.english()} whether {inner.english()}"),
            sentence(f"{know.german()}, ob {inner.german('sub')}"),
            uses=inner.uses | know.uses,
        )
    asker = pronoun_phrase(PRONOUNS[1]) if dice.chance(0.4) else asked_subject(dice)
    know = Clause(asker, verb("know", "clause"))
    return Item(
        sentence(f"{know.english('question')} whether {inner.english()}", "?"),
        sentence(f"{know.german('inverted')}, ob {inner.german('sub')}", "?"),
        uses=inner.uses | know.uses,
    )


@template(3)
def indirect_question(dice: Dice) -> Item | None:
    word = dice.pick([("when", "wann"), ("why", "warum"), ("where", "wo")])
    inner = short_clause(dice, "present", "past", "will", "can")
    if word[0] == "where":
        inner = replace(inner, tail=None)
        if inner.verb.frame in ("to", "in", "land", "give") or inner.verb.stative or inner.negated:
            return None
    know = Clause(short_subject(dice), verb("know", "clause"), negated=dice.chance(0.6))
    return Item(
        sentence(f"{know.english()} {word[0]} {inner.english()}"),
        sentence(f"{know.german()}, {word[1]} {inner.german('sub')}"),
        uses=inner.uses | know.uses,
    )


@template(6)
def because(dice: Dice) -> Item | None:
    link = dice.pick([("because", "weil"), ("because", "weil"), ("although", "obwohl")])
    main = short_clause(dice, "present", "past", "will", "must")
    past = main.tense == "past"
    subject = back(main.subject) if dice.chance(0.7) else short_subject(dice)
    if dice.chance(0.6):
        english, german, adjective = feeling(dice, subject, past)
        uses = main.uses | feeling_uses(subject, adjective) | subject.uses
    else:
        tense = dice.pick(["wanted to", "had to"] if past else ["want to", "must"])
        inner = clause(dice, tense, negated=dice.chance(0.2) and "want" in tense, subject=subject)
        english, german, uses = inner.english(), inner.german("sub"), main.uses | inner.uses
    return Item(
        sentence(f"{main.english()} {link[0]} {english}"), sentence(f"{main.german()}, {link[1]} {german}"), uses=uses
    )


@template(6)
def when_first(dice: Dice) -> Item | None:
    """If she is tired, she stays at home: the subordinate clause first, then the verb."""
    link = dice.pick([("if", "wenn"), ("when", "wenn"), ("because", "weil"), ("although", "obwohl")])
    subject = short_subject(dice)
    tense = dice.pick(["present", "present", "will", "can", "must"])
    main = clause(dice, tense, subject=back(subject) if dice.chance(0.7) else short_subject(dice))
    main = replace(main, front=False)
    if dice.chance(0.45):
        english, german, adjective = feeling(dice, subject)
        uses = feeling_uses(subject, adjective) | subject.uses
    elif dice.chance(0.2):
        english, german = dice.pick(
            [
                ("it rains", "es regnet"),
                ("it snows", "es schneit"),
                ("the sun shines", "die Sonne scheint"),
                ("it is cold", "es kalt ist"),
                ("it is late", "es spät ist"),
                ("it is warm", "es warm ist"),
            ]
        )
        uses = frozenset()
    else:
        inner = clause(dice, "present", subject=subject, negated=dice.chance(0.2))
        english, german, uses = inner.english(), inner.german("sub"), inner.uses
    return Item(
        sentence(f"{link[0]} {english}, {main.english()}"),
        sentence(f"{link[1]} {german}, {main.german('inverted')}"),
        uses=main.uses | uses,
    )


@template(5)
def because_it(dice: Dice) -> Item | None:
    """it takes the gender of the noun: Ich kaufe den Apfel, weil er frisch ist."""
    main = clause(
        dice,
        dice.pick(["present", "past", "will", "want to", "can"]),
        kinds=("acc", "give"),
        negated=dice.chance(0.25),
        definite=True,
    )
    obj = main.obj
    if not obj or not obj.noun or obj.uses or not obj.definite or NOUN[obj.noun].classes & {"person", "pet"}:
        return None
    adjective = adjective_for(dice, NOUN[obj.noun])
    if adjective is None or main.time:
        return None
    past = main.tense == "past"
    plural = obj.gender == "pl"
    be = (("were", "waren") if past else ("are", "sind")) if plural else (("was", "war") if past else ("is", "ist"))
    degree = (
        dice.pick([("", ""), ("too ", "zu "), ("very ", "sehr "), ("not ", "nicht ")])
        if adjective.gradable
        else (("", ""))
    )
    return Item(
        sentence(f"{main.english()} because {'they' if plural else 'it'} {be[0]} {degree[0]}{adjective.en}"),
        sentence(f"{main.german()}, weil {IT[obj.gender]} {degree[1]}{adjective.de} {be[1]}"),
        uses=main.uses | {("adjective noun", adjective.en, obj.noun)},
    )


@template(3)
def relative_subject(dice: Dice) -> Item | None:
    """The man who ... is ..."""
    noun = dice.pick([entry for entry in nouns_of("figure") if entry.en not in ("king", "queen")])
    plural = dice.chance(0.2)
    head = noun_phrase(noun, "the", plural)
    pronoun = pick_ending(RELATIVE, head.gender, "nom")
    inner = clause(dice, dice.pick(["present", "past", "can", "will"]), subject=replace(head, en="who"))
    inner = replace(inner, front=False, subject=replace(head, en="who", de=(pronoun, "", "", "")))
    adjective = dice.pick(PERSONAL)
    be = (english_be(head.person), IRREGULAR["sein"][head.person])
    if dice.chance(0.5):
        return Item(
            sentence(f"{head.en} {inner.english()} {be[0]} {adjective.en}"),
            sentence(f"{head.german('nom')}, {inner.german('sub')}, {be[1]} {adjective.de}"),
            uses=inner.uses | {("adjective noun", adjective.en, noun.en)},
        )
    action = verb(dice.pick(["know", "visit", "see", "invite", "call"]), "acc")
    outer = Clause(
        pronoun_phrase(dice.pick(PRONOUNS)),
        action,
        obj=head,
        tense=dice.pick(["present", "can"]) if not action.stative else "present",
    )
    english = f"{outer.english()} {inner.english()}"
    finite = f"{outer.subject.german('nom')} {outer.german_group()[0]} {head.german('acc')}"
    rest = f"{outer.german_group()[2]}{outer.german_group()[1]}"
    german = f"{finite} {rest}".strip() + f", {inner.german('sub')}"
    return Item(sentence(english), sentence(german), uses=inner.uses | outer.uses)


@template(3)
def relative_object(dice: Dice) -> Item | None:
    """The book that I am reading is interesting."""
    action = dice.pick(verbs_with("acc"))
    noun = dice.pick(nouns_of(*action.classes))
    adjective = adjective_for(dice, noun)
    if adjective is None or noun.classes & {"person", "meal"} or action.name in ("have", "need"):
        return None
    plural = noun.countable and dice.chance(0.2)
    head = noun_phrase(noun, "the", plural)
    tense = "present" if action.stative else dice.pick(["present", "past", "will", "want to", "perfect"])
    if tense == "past" and action.name in ("read", "cut"):
        return None
    subject = short_subject(dice)
    pronoun = pick_ending(RELATIVE, head.gender, "acc")
    inner = Clause(subject, action, tense)
    past = tense in ("past", "perfect") and dice.chance(0.5)
    be = ((english_was if past else english_be)(head.person), (PRETERITE if past else IRREGULAR)["sein"][head.person])
    degree = dice.pick([("", ""), ("very ", "sehr "), ("not ", "nicht ")]) if adjective.gradable else ("", "")
    return Item(
        sentence(f"{head.en} that {inner.english()} {be[0]} {degree[0]}{adjective.en}"),
        sentence(f"{head.german('nom')}, {pronoun} {inner.german('sub')}, {be[1]} {degree[1]}{adjective.de}"),
        uses=inner.uses | {("adjective noun", adjective.en, noun.en), ("verb object", action.key, noun.en)},
    )
