"""Noun phrases and clauses, built side by side in English and German.

A `Phrase` is a noun phrase with its four German cases; a `Clause` is a subject, a verb, a tense and what goes with it.
`Clause.english` and `Clause.german` put the words in order for a statement, a question, a subordinate clause, ...
"""

from __future__ import annotations

from dataclasses import dataclass

from data.starter.adjectives import Adjective
from data.starter.inflect import (
    ORDER,
    adjective_ending,
    determiner,
    english_be,
    english_ing,
    english_third,
    english_was,
    imperative,
    modal,
    present,
    zu_infinitive,
)
from data.starter.nouns import Noun
from data.starter.verbs import MODALS, PRETERITE, Verb
from data.starter.words import REFLEXIVE, Pronoun, Time, english_number, german_number

Pair = tuple[str, str]
Use = tuple[str, str, str]
CONTRACTIONS = {
    "in dem": "im",
    "in das": "ins",
    "an dem": "am",
    "an das": "ans",
    "zu dem": "zum",
    "zu der": "zur",
    "von dem": "vom",
    "bei dem": "beim",
}


@dataclass(frozen=True)
class Phrase:
    """A noun phrase or pronoun. ``person`` indexes ich, du, er, wir, sie; ``uses`` are its word combinations.

    ``noun`` is the English noun, if any, and ``others`` those joined to it with and.
    """

    en: str
    en_object: str
    de: tuple[str, str, str, str]
    person: int
    gender: str
    pronoun: bool = False
    noun: str = ""
    others: tuple[str, ...] = ()
    definite: bool = True
    uses: frozenset[Use] = frozenset()

    @property
    def nouns(self) -> list[str]:
        """Every noun of the phrase."""
        return [noun for noun in (self.noun, *self.others) if noun]

    def german(self, case: str) -> str:
        """The German form in this case."""
        return self.de[ORDER.index(case)]


def indefinite_article(following: str) -> str:
    """a or an."""
    if following.startswith(("eu", "uni")):
        return "a"
    return "an" if following[0] in "aeiou" or following.startswith("hour") else "a"


def noun_phrase(
    noun: Noun,
    det: str = "the",
    plural: bool = False,
    adjective: Adjective | None = None,
    degree: str = "positive",
    number: int = 0,
    negative: bool = False,
) -> Phrase:
    """A noun with its determiner (English name, ``""`` for none), a number and an adjective.

    ``negative`` turns a missing or indefinite article into kein on the German side (does not buy a car).
    """
    words = []
    german_det = "no" if negative and det in ("", "a") else det
    stem = ""
    if number:
        words.append(english_number(number))
    if adjective:
        en_adjective, stem = {
            "positive": (adjective.en, adjective.de_stem),
            "comparative": (adjective.en_comparative, adjective.de_comparative),
            "superlative": (adjective.en_superlative, adjective.de_superlative),
        }[degree]
        words.append(en_adjective)
    words.append(noun.en_plural if plural else noun.en)
    if det:
        words.insert(0, indefinite_article(words[0]) if det == "a" else det)
    gender = "pl" if plural else noun.gender
    cases = []
    for case in ORDER:
        parts = [determiner(german_det, gender, case) if german_det else ""]
        parts.append(german_number(number) if number else "")
        if adjective:
            parts.append(stem.removesuffix("e") + adjective_ending(german_det, gender, case))
        parts.append(noun.german(case, plural))
        cases.append(" ".join(part for part in parts if part))
    uses = frozenset({("adjective noun", adjective.en, noun.en)}) if adjective else frozenset()
    english = " ".join(words)
    return Phrase(
        en=english,
        en_object=english,
        de=(cases[0], cases[1], cases[2], cases[3]),
        person=4 if plural else 2,
        gender=gender,
        noun=noun.en,
        definite=german_det not in ("", "a", "no", "some", "many") and not (number and not det),
        uses=uses,
    )


def pronoun_phrase(pronoun: Pronoun) -> Phrase:
    """A personal pronoun as a phrase."""
    cases = (pronoun.nom, pronoun.acc, pronoun.dat, "")
    gender = "f" if pronoun.en == "she" else "m" if pronoun.person < 3 else "pl"
    return Phrase(pronoun.en, pronoun.en_object, cases, pronoun.person, gender, pronoun=True)


def name_phrase(name: str, gender: str) -> Phrase:
    """A first name as a phrase."""
    return Phrase(name, name, (name, name, name, name + "s"), 2, gender)


def joined(first: Phrase, second: Phrase) -> Phrase:
    """Two phrases with and/und between them."""
    de = tuple(f"{one} und {other}" for one, other in zip(first.de, second.de, strict=True))
    return Phrase(
        f"{first.en} and {second.en}",
        f"{first.en_object} and {second.en_object}",
        (de[0], de[1], de[2], de[3]),
        4,
        "pl",
        others=tuple(first.nouns + second.nouns),
        definite=first.definite and second.definite,
        uses=first.uses | second.uses,
    )


def with_preposition(preposition: str, phrase: Phrase, case: str) -> str:
    """A German prepositional phrase, contracted with a definite article: in + dem Haus -> im Haus."""
    text = f"{preposition} {phrase.german(case)}"
    if phrase.en_object.startswith("the "):
        for long, short in CONTRACTIONS.items():
            if text.startswith(long + " "):
                return short + text[len(long) :]
    return text


@dataclass(frozen=True)
class Clause:
    """A clause in both languages.

    ``tense``: present, progressive, perfect, past, or the English name of a modal (``will`` for the future).
    ``tail`` is what closes the clause before the verbs: a place, a direction, a manner. ``middle`` is an adverb such
    as often/oft; ``time`` stands last in English, or first when ``front`` is set. ``extra``
    are word combinations inside the tail.
    """

    subject: Phrase
    verb: Verb
    tense: str = "present"
    obj: Phrase | None = None
    recipient: Phrase | None = None
    time: Time | None = None
    middle: Pair | None = None
    tail: Pair | None = None
    negated: bool = False
    front: bool = False
    extra: frozenset[Use] = frozenset()

    @property
    def uses(self) -> frozenset[Use]:
        """Every word combination in this clause."""
        found = set(self.subject.uses | self.extra)
        for phrase in (self.obj, self.recipient):
            if phrase:
                found |= phrase.uses
        found |= {("subject verb", noun, self.verb.key) for noun in self.subject.nouns}
        if self.obj:
            found |= {("verb object", self.verb.key, noun) for noun in self.obj.nouns}
        return frozenset(found)

    # -- English ------------------------------------------------------------------------------------------------

    def english_group(self, question: bool = False) -> tuple[str, str]:
        """The auxiliary (with not) and the full verb; a question always has an auxiliary."""
        person, word = self.subject.person, self.verb.en
        third = person == 2
        support = question or self.negated
        negation = " not" if self.negated and not question else ""
        if self.tense == "progressive":
            return english_be(person) + negation, english_ing(word)
        if self.tense == "perfect":
            return ("has" if third else "have") + negation, self.verb.en_participle
        if word == "be" and self.tense in ("present", "past"):
            return (english_be(person) if self.tense == "present" else english_was(person)) + negation, ""
        if self.tense == "past":
            return ("did" + negation, word) if support else ("", self.verb.en_past)
        if self.tense == "present":
            if support:
                return ("does" if third else "do") + negation, word
            return "", english_third(word) if third else word
        if self.tense == "can" and negation:
            return "cannot", word
        if self.tense in ("want to", "had to", "wanted to"):
            base, past = {"want to": ("want to", ""), "had to": ("have to", "did"), "wanted to": ("want to", "did")}[
                self.tense
            ]
            auxiliary = past or ("does" if third else "do")
            if support:
                return auxiliary + negation, f"{base} {word}"
            return "", (f"wants to {word}" if third and not past else f"{self.tense} {word}")
        if self.tense == "would like to":
            return ("would" + negation, f"like to {word}") if support else ("", f"would like to {word}")
        return self.tense + negation, word

    def english_rest(self) -> str:
        """Everything after the full verb but the time: particle, objects, tail."""
        verb = self.verb
        obj = self.obj.en_object if self.obj else ""
        recipient = self.recipient.en_object if self.recipient else ""
        if self.recipient and verb.name == "explain":
            parts = [verb.en_rest, obj, f"to {recipient}"]
        elif verb.en_rest_moves and self.obj and self.obj.pronoun:
            parts = [recipient, obj, verb.en_rest]
        else:
            parts = [verb.en_rest, recipient, obj]
        parts.append(self.tail[0] if self.tail else "")
        return " ".join(part for part in parts if part)

    def english(self, kind: str = "statement") -> str:
        """The English words; ``kind`` is statement, question or bare (the infinitive group: open the door)."""
        time = self.time.en if self.time else ""
        middle = self.middle[0] if self.middle else ""
        if kind == "bare":
            parts = [middle, self.verb.en, self.english_rest(), time]
        else:
            auxiliary, full = self.english_group(kind == "question")
            if kind == "question":
                negation = "not" if self.negated else ""
                parts = [auxiliary, self.subject.en, negation, middle, full, self.english_rest(), time]
            else:
                front = time if self.front else ""
                parts = [front, self.subject.en, auxiliary, middle, full, self.english_rest(), "" if front else time]
        return " ".join(part for part in parts if part)

    # -- German -------------------------------------------------------------------------------------------------

    def german_group(self) -> tuple[str, str, str]:
        """Finite verb, separable prefix left behind, and the non-finite verbs at the end."""
        person, verb = self.subject.person, self.verb
        if self.tense in MODALS:
            return modal(self.tense, person), "", verb.prefix + verb.de
        if self.tense == "past" and verb.de in PRETERITE:
            return PRETERITE[verb.de][person], "", ""
        if self.tense in ("perfect", "past"):
            auxiliary = {
                "sein": ["bin", "bist", "ist", "sind", "sind"],
                "haben": ["habe", "hast", "hat", "haben", "haben"],
            }
            return auxiliary[verb.aux][person], "", verb.participle
        return present(verb, person), verb.prefix, ""

    def german_middle(self, please: bool = False) -> str:
        """Reflexive, pronouns, recipient, adverbs, object, negation and tail, in this order."""
        verb, frame = self.verb, self.verb.frame
        parts = [REFLEXIVE[self.subject.person] if verb.reflexive else ""]
        if self.subject.en == "you" and self.subject.person == 4 and verb.reflexive:
            parts = ["sich"]
        preposition, _, case = frame.partition("+")
        direct = ""
        if self.obj and not case:
            case = "dat" if frame in ("dat", "owner") else "acc"
            direct = self.obj.german(case)
        if direct and self.obj and self.obj.pronoun:
            parts.append(direct)
            direct = ""
        if self.recipient:
            parts.append(self.recipient.german("dat"))
        parts.append("bitte" if please else "")
        parts.append(self.time.de if self.time and not self.front else "")
        parts.append(self.middle[1] if self.middle else "gerade" if self.tense == "progressive" else "")
        parts.append(direct)
        kein = self.obj is not None and "kein" in self.obj.german("acc")
        if verb.noun_part:
            parts.append(f"keine {verb.noun_part}" if self.negated else verb.noun_part)
        elif self.negated and not kein:
            parts.append("nicht")
        if self.obj and "+" in frame:
            parts.append(with_preposition(preposition, self.obj, case))
        parts.append(self.tail[1] if self.tail else "")
        return " ".join(part for part in parts if part)

    def german(self, order: str = "main", please: bool = False) -> str:
        """The German words.

        ``order`` is main (verb second), inverted (verb first: questions, and after a fronted part), sub (verb last),
        infinitive (no subject), zu (no subject, zu-infinitive) or imperative.
        """
        finite, prefix, tail = self.german_group()
        middle = self.german_middle(please)
        subject = self.subject.german("nom")
        if order == "imperative":
            parts = [imperative(self.verb), middle, self.verb.prefix]
        elif order == "infinitive":
            parts = [middle, self.verb.prefix + self.verb.de]
        elif order == "zu":
            parts = [middle, zu_infinitive(self.verb)]
        elif order == "sub":
            parts = [subject, middle, tail, prefix + finite]
        elif order == "inverted":
            parts = [finite, subject, middle, tail, prefix]
        elif self.front and self.time:
            parts = [self.time.de, finite, subject, middle, tail, prefix]
        else:
            parts = [subject, finite, middle, tail, prefix]
        return " ".join(part for part in parts if part)


def sentence(text: str, mark: str = ".") -> str:
    """Capitalise the first letter and close with a mark."""
    return text[0].upper() + text[1:] + mark
