"""Sentence templates that join: infinitives with zu, coordination, company."""

from __future__ import annotations

from dataclasses import replace

from data.starter.adjectives import ADJECTIVE
from data.starter.build import (
    Dice,
    Item,
    clause,
    person_object,
    subject_phrase,
    thing_object,
)
from data.starter.grammar import Clause, Phrase, joined, pronoun_phrase, sentence
from data.starter.inflect import english_be, english_was, modal
from data.starter.nouns import NOUN, nouns_of
from data.starter.registry import template
from data.starter.templates_complex import FEELINGS, back, feeling_uses, short_subject
from data.starter.verbs import IRREGULAR, PRETERITE, verb
from data.starter.words import PRONOUNS


def infinitive_clause(dice: Dice, subject: Phrase) -> Clause:
    """What follows try to, forget to, in order to."""
    kinds = ("acc", "acc", "acc", "dat", "give", "prep", "none", "to")
    return clause(dice, "present", subject=subject, kinds=kinds, orderable=True)


@template(6)
def zu_infinitives(dice: Dice) -> Item | None:
    subject = subject_phrase(dice)
    inner = infinitive_clause(dice, subject)
    name = dice.pick(["try", "begin", "promise", "forget"])
    action = verb(name, "acc" if name == "forget" else "clause")
    tense = dice.pick(["present", "present", "past", "perfect"])
    outer = Clause(subject, action, tense)
    if inner.verb.name in ("come", "get"):
        return None
    return Item(
        sentence(f"{outer.english()} to {inner.english('bare')}"),
        sentence(f"{outer.german()}, {inner.german('zu')}"),
        uses=inner.uses | outer.uses,
    )


@template(4)
def it_is_important(dice: Dice) -> Item | None:
    subject = pronoun_phrase(PRONOUNS[2])
    inner = infinitive_clause(dice, subject)
    english = inner.english("bare")
    if inner.verb.reflexive or any(word in english.split() for word in ("his", "him")):
        return None
    adjective = ADJECTIVE[
        dice.pick(
            ["important", "important", "difficult", "easy", "good", "dangerous", "interesting", "nice", "wonderful"]
        )
    ]
    negation = ("not ", "nicht ") if dice.chance(0.3) else ("", "")
    past = dice.chance(0.25)
    be = ("was", "war") if past else ("is", "ist")
    return Item(
        sentence(f"it {be[0]} {negation[0]}{adjective.en} to {english}"),
        sentence(f"es {be[1]} {negation[1]}{adjective.de}, {inner.german('zu')}"),
        uses=inner.uses,
    )


@template(4)
def in_order_to(dice: Dice) -> Item | None:
    tense = dice.pick(["present", "past", "will", "must", "want to"])
    subject = subject_phrase(dice)
    main = clause(dice, tense, subject=subject, kinds=("to", "to", "land", "none"))
    inner = infinitive_clause(dice, subject)
    if inner.verb.name in ("go", "run", "come", "drive", "smile", main.verb.name) or inner.middle:
        return None
    if main.verb.frame == "-" and main.verb.name not in ("get up", "come back", "hurry", "work", "learn", "wait"):
        return None
    return Item(
        sentence(f"{main.english()} in order to {inner.english('bare')}"),
        sentence(f"{main.german()}, um {inner.german('zu')}"),
        uses=main.uses | inner.uses,
    )


@template(5)
def likes_to(dice: Dice) -> Item | None:
    """likes to swim: schwimmt gern."""
    negated = dice.chance(0.2)
    subject = subject_phrase(dice, plain=negated)
    inner = infinitive_clause(dice, subject)
    if inner.verb.name in ("come", "wait", "hurry", "turn off", "wake up", "give back", "try") or inner.middle:
        return None
    if inner.obj and inner.obj.noun and "this" in inner.obj.en:
        return None
    outer = Clause(subject, verb("like", "acc"), negated=negated)
    gern = ("", "nicht gern") if negated else ("", "gern")
    german = replace(inner, middle=gern)
    return Item(sentence(f"{outer.english()} to {inner.english('bare')}"), sentence(german.german()), uses=inner.uses)


# -- coordination -----------------------------------------------------------------------------------------------------


@template(4)
def two_actions(dice: Dice) -> Item | None:
    """Anna opens the window and closes the door."""
    subject = subject_phrase(dice)
    tense = dice.pick(["present", "present", "past", "will", "can", "must"])
    kinds = ("acc", "acc", "acc", "dat", "prep", "none", "to")
    first = replace(clause(dice, tense, subject=subject, kinds=kinds), time=None, middle=None, front=False)
    second = replace(clause(dice, tense, subject=subject, kinds=kinds), time=None, middle=None, front=False)
    if first.verb == second.verb or first.verb.frame == "to" == second.verb.frame:
        return None
    if first.verb.stative != second.verb.stative:
        return None
    modal_like = tense in ("will", "can", "must")
    german_first, german_second = first.german(), second.german()
    english_second = second.english().removeprefix(subject.en + " ")
    german_second = german_second.removeprefix(subject.german("nom") + " ")
    if modal_like:
        english_second = english_second.removeprefix(tense + " ")
        german_second = german_second.removeprefix(modal(tense, subject.person) + " ")
    return Item(
        sentence(f"{first.english()} and {english_second}"),
        sentence(f"{german_first} und {german_second}"),
        uses=first.uses | second.uses,
    )


@template(4)
def two_clauses(dice: Dice) -> Item | None:
    link = dice.pick([("and", " und"), ("but", ", aber")])
    tense = dice.pick(["present", "present", "past", "perfect", "will"])
    first = clause(dice, tense, subject=short_subject(dice), kinds=("acc", "none", "to", "dat", "prep"))
    negated = link[0] == "but" and dice.chance(0.6)
    second = clause(
        dice, tense, negated=negated, subject=short_subject(dice), kinds=("acc", "none", "to", "dat", "prep")
    )
    if first.subject.en == second.subject.en:
        return None
    return Item(
        sentence(f"{first.english()} {link[0]} {second.english()}"),
        sentence(f"{first.german()}{link[1]} {second.german()}"),
        uses=first.uses | second.uses,
    )


@template(2)
def tired_but(dice: Dice) -> Item | None:
    subject = subject_phrase(dice)
    past = dice.chance(0.4)
    again = back(subject)
    adjective = dice.pick(FEELINGS)
    be = (english_was if past else english_be)(subject.person)
    ist = (PRETERITE if past else IRREGULAR)["sein"][subject.person]
    tense = dice.pick(["could", "had to", "wanted to"] if past else ["can", "must", "want to", "will"])
    negated = dice.chance(0.5) and tense not in ("must", "had to")
    second = clause(dice, tense, negated=negated, subject=again)
    return Item(
        sentence(f"{subject.en} {be} {adjective.en} but {second.english()}"),
        sentence(f"{subject.german('nom')} {ist} {adjective.de}, aber {second.german()}"),
        uses=second.uses | feeling_uses(subject, adjective) | subject.uses,
    )


@template(3)
def two_things(dice: Dice) -> Item | None:
    """bread and cheese: two objects."""
    built = clause(dice, dice.pick(["present", "past", "will", "want to", "would like to", "can"]), kinds=("acc",))
    if not built.obj or not built.obj.noun or "person" in NOUN[built.obj.noun].classes or (built.verb.name == "make"):
        return None
    other = dice.pick(nouns_of(*built.verb.classes))
    if other.en == built.obj.noun or other.classes & {"person", "family"}:
        return None
    second = thing_object(dice, built.verb, other, False, definite=built.obj.definite)
    both = replace(joined(built.obj, second), noun=built.obj.noun)
    uses = {("verb object", built.verb.key, other.en)}
    item_clause = replace(built, obj=both)
    return Item(sentence(item_clause.english()), sentence(item_clause.german()), uses=item_clause.uses | uses)


@template(2)
def with_someone(dice: Dice) -> Item | None:
    """with and without somebody, for somebody."""
    subject = subject_phrase(dice)
    word = dice.pick(
        [("with", "mit", "dat"), ("with", "mit", "dat"), ("without", "ohne", "acc"), ("for", "für", "acc")]
    )
    company = person_object(dice, subject)
    names = {"for": ["cook", "sing", "work", "dance"]}.get(
        word[0], ["dance", "eat", "learn", "play", "swim", "work", "go out", "come back", "watch television"]
    )
    action = verb(dice.pick(names), "-")
    tense = dice.pick(["present", "past", "perfect", "will", "can", "want to", "would like to"])
    tail = (f"{word[0]} {company.en_object}", f"{word[1]} {company.german(word[2])}")
    built = Clause(subject, action, tense, tail=tail)
    return Item(sentence(built.english()), sentence(built.german()), uses=built.uses | company.uses)
