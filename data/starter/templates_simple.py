"""Sentence templates of one clause: statements, negation, questions, orders."""

from __future__ import annotations

from dataclasses import replace

from data.starter.build import (
    NO_USES,
    POSSESSIVES,
    Dice,
    Item,
    adjective_for,
    asked_subject,
    clause,
    person_object,
    place_of,
    subject_phrase,
    thing_object,
)
from data.starter.grammar import Clause, Phrase, noun_phrase, pronoun_phrase, sentence
from data.starter.inflect import english_be, english_was
from data.starter.nouns import NOUN, nouns_of
from data.starter.registry import statement, template
from data.starter.verbs import IRREGULAR, PRETERITE, verb, verbs_with
from data.starter.words import (
    FORMAL,
    PRONOUNS,
    SURNAMES,
)

# -- statements ---------------------------------------------------------------------------------------------------


@template(24)
def present(dice: Dice) -> Item | None:
    return statement(clause(dice, "present", adverb=0.3, timed=0.15))


@template(6)
def present_time(dice: Dice) -> Item | None:
    return statement(clause(dice, "present", timed=1.0))


@template(10)
def progressive(dice: Dice) -> Item | None:
    built = clause(dice, "progressive")
    if dice.chance(0.15):
        built = replace(built, middle=dice.pick([("already", "schon"), ("still", "noch")]))
    return statement(built)


@template(12)
def perfect(dice: Dice) -> Item | None:
    return statement(clause(dice, "perfect", adverb=0.35))


@template(14)
def past(dice: Dice) -> Item | None:
    return statement(clause(dice, "past", timed=0.75))


@template(11)
def future(dice: Dice) -> Item | None:
    return statement(clause(dice, "will", timed=0.5))


@template(14)
def modals(dice: Dice) -> Item | None:
    tense = dice.pick(["can", "must", "want to", "would like to", "should", "may"])
    return statement(clause(dice, tense, timed=0.25))


@template(5)
def past_modals(dice: Dice) -> Item | None:
    return statement(clause(dice, dice.pick(["could", "had to", "wanted to"]), timed=0.3))


@template(6)
def separable(dice: Dice) -> Item | None:
    tense = dice.pick(["present", "present", "past", "perfect", "will", "can", "want to"])
    built = clause(dice, tense, timed=0.4)
    return statement(built) if built.verb.prefix else None


@template(5)
def animals(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("animal"))
    adjective = adjective_for(dice, noun) if dice.chance(0.35) else None
    subject = noun_phrase(noun, dice.pick(["the", "the", "the", "my", "this"]), adjective=adjective)
    name, frame = dice.pick(
        [
            ("sleep", "-"),
            ("run", "-"),
            ("eat", "acc"),
            ("drink", "acc"),
            ("see", "acc"),
            ("follow", "dat"),
            ("wait for", "auf+acc"),
            ("swim", "-"),
            ("play", "-"),
        ]
    )
    action = verb(name, frame)
    tense = dice.pick(["present", "present", "past", "perfect", "can"])
    if tense in ("past", "perfect") and name == "see":
        tense = "present"
    obj = None
    if name in ("eat", "drink"):
        food = NOUN[dice.pick(["apple", "bread", "meat", "fish", "carrot"] if name == "eat" else ["water", "milk"])]
        obj = thing_object(dice, action, food, False)
    elif name == "see":
        obj = noun_phrase(dice.pick(nouns_of("animal")), dice.pick(["the", "a"]))
        if obj.noun == noun.en:
            return None
    elif frame != "-":
        obj = person_object(dice, subject)
    tail, extra = place_of(dice, verb("play", "-") if name == "run" else action) if frame == "-" else (None, NO_USES)
    return statement(Clause(subject, action, tense, obj=obj, tail=tail, extra=extra))


# -- negation -----------------------------------------------------------------------------------------------------


@template(11)
def negated(dice: Dice) -> Item | None:
    return statement(clause(dice, "present", negated=True))


@template(7)
def negated_other(dice: Dice) -> Item | None:
    tense = dice.pick(["perfect", "past", "past", "will", "can", "want to", "would like to", "may"])
    return statement(clause(dice, tense, negated=True, timed=0.35))


@template(3)
def nothing_left(dice: Dice) -> Item | None:
    """has no ... : hat kein ..."""
    subject = subject_phrase(dice)
    action = verb(dice.pick(["have", "have", "need", "find"]), "acc")
    noun = dice.pick(nouns_of(*(set(action.classes) - {"family"})))
    plural = noun.countable and dice.chance(0.3)
    obj = noun_phrase(noun, "no", plural)
    tense = "past" if action.name == "have" and dice.chance(0.4) else "present"
    return statement(Clause(subject, action, tense, obj=obj))


@template(2)
def nobody(dice: Dice) -> Item | None:
    word = dice.pick([("nobody", "niemand"), ("somebody", "jemand"), ("everybody", "jeder")])
    subject = Phrase(word[0], word[0], (word[1], word[1] + "en", word[1] + "em", ""), 2, "m")
    return statement(clause(dice, dice.pick(["present", "perfect", "can", "will"]), subject=subject))


# -- questions ----------------------------------------------------------------------------------------------------


@template(12)
def yes_no(dice: Dice) -> Item | None:
    tense = dice.pick(["present", "present", "past", "perfect", "will", "can", "want to", "must", "may"])
    if tense == "must":
        tense = "should"
    built = clause(
        dice,
        tense,
        timed=0.3,
        subject=subject_phrase(dice) if tense in ("can", "may", "should") else asked_subject(dice),
    )
    built = replace(built, front=False)
    return Item(sentence(built.english("question"), "?"), sentence(built.german("inverted"), "?"), uses=built.uses)


@template(2)
def not_question(dice: Dice) -> Item | None:
    built = clause(dice, dice.pick(["present", "can", "want to"]), negated=True, kinds=("none", "dat", "prep", "to"))
    question = sentence("why " + built.english("question"), "?")
    return Item(question, sentence("warum " + built.german("inverted"), "?"), uses=built.uses)


@template(6)
def wh_adverb(dice: Dice) -> Item | None:
    word = dice.pick([("when", "wann"), ("why", "warum"), ("where", "wo"), ("how often", "wie oft")])
    tense = dice.pick(["present", "past", "will", "can", "should", "want to"])
    built = clause(dice, tense, subject=subject_phrase(dice) if tense in ("can", "should") else asked_subject(dice))
    if word[0] == "where":
        built = replace(built, tail=None)
        if built.verb.frame in ("to", "in", "land", "give") or built.verb.name in ("know", "like", "love", "trust"):
            return None
    return Item(
        sentence(f"{word[0]} {built.english('question')}", "?"),
        sentence(f"{word[1]} {built.german('inverted')}", "?"),
        uses=built.uses,
    )


@template(4)
def what_object(dice: Dice) -> Item | None:
    tense = dice.pick(["present", "past", "perfect", "will", "can", "want to", "would like to"])
    built = clause(dice, tense, kinds=("acc",), subject=asked_subject(dice))
    who = "person" in built.verb.classes
    if who and dice.chance(0.5) and built.verb.classes != ("person",):
        who = False
    built = replace(built, obj=None, middle=None)
    if built.verb.name in ("know", "get to know", "introduce", "have", "turn on", "feed", "close") and not who:
        return None
    return Item(
        sentence(f"{'who' if who else 'what'} {built.english('question')}", "?"),
        sentence(f"{'wen' if who else 'was'} {built.german('inverted')}", "?"),
        uses=built.uses,
    )


@template(3)
def who_subject(dice: Dice) -> Item | None:
    who = Phrase("who", "who", ("wer", "wen", "wem", ""), 2, "m")
    built = clause(dice, dice.pick(["present", "past", "perfect", "will", "can"]), subject=who)
    built = replace(built, front=False)
    return Item(sentence(built.english(), "?"), sentence(built.german(), "?"), uses=built.uses)


@template(4)
def which_object(dice: Dice) -> Item | None:
    action = dice.pick(verbs_with("acc"))
    if action.name in ("have", "need", "know") or not action.classes:
        return None
    noun = dice.pick(nouns_of(*action.classes))
    plural = noun.countable and dice.chance(0.25)
    if dice.chance(0.35) and noun.countable:
        count = ("how many", "wie viele")
        shown = Phrase(
            f"how many {noun.en_plural}", "", ("", f"{count[1]} {noun.de_plural}", "", ""), 4, "pl", noun=noun.en
        )
        if noun.classes & {"family", "building", "town"} or action.stative:
            return None
    else:
        if noun.classes & {"family", "meal"}:
            return None
        shown = noun_phrase(noun, "which", plural)
    tense = dice.pick(["present", "perfect", "will", "want to", "can"])
    if tense == "perfect" and action.name == "like":
        return None
    built = Clause(asked_subject(dice), action, tense)
    if action.stative and tense != "perfect":
        built = replace(built, tense="present")
    uses = built.uses | {("verb object", action.key, noun.en)}
    return Item(
        sentence(f"{shown.en} {built.english('question')}", "?"),
        sentence(f"{shown.german('acc')} {built.german('inverted')}", "?"),
        uses=uses,
    )


@template(4)
def where_is(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("thing", "building", "room", "clothing", "pet", "family"))
    plural = noun.countable and dice.chance(0.2) and not noun.classes & {"building", "room", "family"}
    det = dice.pick(POSSESSIVES) if noun.classes & {"thing", "clothing", "pet", "family"} else "the"
    if det != "the" and dice.chance(0.3) and "family" not in noun.classes:
        det = "the"
    adjective = adjective_for(dice, noun) if dice.chance(0.4) else None
    phrase = noun_phrase(noun, det, plural, adjective)
    past = dice.chance(0.25)
    en = (english_was if past else english_be)(phrase.person)
    de = (PRETERITE if past else IRREGULAR)["sein"][phrase.person]
    return Item(f"Where {en} {phrase.en}?", f"Wo {de} {phrase.german('nom')}?", uses=phrase.uses)


# -- orders and polite address --------------------------------------------------------------------------------------

YOU = pronoun_phrase(PRONOUNS[1])


def order_clause(dice: Dice, negated: bool) -> Clause | None:
    """A clause for an order; it does not speak of you."""
    kinds = ("acc", "acc", "acc", "dat", "give", "give", "prep", "none", "to")
    built = clause(dice, "present", negated=negated, subject=YOU, kinds=kinds, orderable=True, definite=negated)
    words = built.english("bare").split()
    if "you" in words or "your" in words or (built.verb.name in ("have", "be afraid of", "come back") and negated):
        return None
    if built.verb.frame == "-" and built.tail is None and not built.verb.prefix and dice.chance(0.7):
        return None
    return built


@template(8)
def orders(dice: Dice) -> Item | None:
    built = order_clause(dice, False)
    if not built:
        return None
    please = dice.chance(0.35)
    english = built.english("bare")
    english = f"please {english}" if please else english
    return Item(sentence(english, "!"), sentence(built.german("imperative", please), "!"), uses=built.uses)


@template(3)
def forbidden(dice: Dice) -> Item | None:
    built = order_clause(dice, True)
    if not built:
        return None
    return Item(
        sentence("do not " + built.english("bare"), "!"), sentence(built.german("imperative"), "!"), uses=built.uses
    )


@template(3)
def lets(dice: Dice) -> Item | None:
    us = pronoun_phrase(PRONOUNS[4 - 1])
    kinds = ("acc", "acc", "dat", "prep", "none", "to", "land")
    built = clause(dice, "present", subject=us, kinds=kinds, orderable=True)
    if built.verb.reflexive or built.verb.name in ("come", "come back"):
        return None
    return Item(
        sentence("let us " + built.english("bare"), "!"),
        sentence("lass uns " + built.german("infinitive"), "!"),
        uses=built.uses,
    )


@template(4)
def formal(dice: Dice) -> Item | None:
    """With Mr or Mrs in front, you is Sie."""
    name = dice.pick(SURNAMES)
    woman = dice.chance(0.5)
    address = (f"Mrs {name}", f"Frau {name}") if woman else (f"Mr {name}", f"Herr {name}")
    tense = dice.pick(["present", "present", "past", "perfect", "will", "can", "want to", "would like to"])
    built = clause(dice, tense, subject=pronoun_phrase(FORMAL), timed=0.2)
    words = built.english().split()
    if "your" in words or ("you" in words[1:] and not built.front):
        return None
    built = replace(built, front=False)
    return Item(
        f"{address[0]}, {built.english('question')}?", f"{address[1]}, {built.german('inverted')}?", uses=built.uses
    )
