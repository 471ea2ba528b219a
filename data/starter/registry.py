"""The list of sentence templates, each with its share of the corpus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data.starter.build import Dice, Item
from data.starter.grammar import Clause, Phrase, sentence
from data.starter.inflect import english_be, english_was
from data.starter.verbs import IRREGULAR, PRETERITE

Template = Callable[[Dice], Item | None]


@dataclass(frozen=True)
class Entry:
    """A template and its weight in the corpus."""

    name: str
    weight: int
    make: Template


REGISTRY: list[Entry] = []


def template(weight: int) -> Callable[[Template], Template]:
    """Register a function as a template."""

    def register(function: Template) -> Template:
        REGISTRY.append(Entry(function.__name__, weight, function))
        return function

    return register


def statement(built: Clause) -> Item:
    """A clause as a plain statement."""
    return Item(sentence(built.english()), sentence(built.german()), uses=built.uses)


def copula(subject: Phrase, english: str, german: str, past: bool = False) -> Item:
    """is/are and was/were with what follows."""
    en = english_was(subject.person) if past else english_be(subject.person)
    de = (PRETERITE if past else IRREGULAR)["sein"][subject.person]
    return Item(
        sentence(f"{subject.en} {en} {english}"), sentence(f"{subject.german('nom')} {de} {german}"), uses=subject.uses
    )
