"""Inflection: German determiners, adjectives and verbs; English verbs."""

from __future__ import annotations

from data.starter.verbs import IRREGULAR, MODALS, Verb
from data.starter.words import DETERMINERS, QUANTIFIERS

ORDER = ("nom", "acc", "dat", "gen")
DER = {"m": "der den dem des", "f": "die die der der", "n": "das das dem des", "pl": "die die den der"}
# "-" is an empty ending.
EIN = {"m": "- en em es", "f": "e e er er", "n": "- - em es", "pl": "e e en er"}
DIESER = {"m": "er en em es", "f": "e e er er", "n": "es es em es", "pl": "e e en er"}
# Adjective endings after der-words, after ein-words and without a determiner.
WEAK = {"m": "e en en en", "f": "e e en en", "n": "e e en en", "pl": "en en en en"}
MIXED = {"m": "er en en en", "f": "e e en en", "n": "es es en en", "pl": "en en en en"}
STRONG = {"m": "er en em en", "f": "e e er er", "n": "es es em en", "pl": "e e en er"}
RELATIVE = {"m": "der den dem dessen", "f": "die die der deren", "n": "das das dem dessen", "pl": "die die denen deren"}


def pick_ending(table: dict[str, str], gender: str, case: str) -> str:
    """The cell of one of the tables above."""
    cell = table[gender].split()[ORDER.index(case)]
    return "" if cell == "-" else cell


def determiner(english: str, gender: str, case: str) -> str:
    """The German determiner for an English one, e.g. (``my``, ``f``, ``dat``) -> meiner."""
    if english in QUANTIFIERS:
        return QUANTIFIERS[english] + pick_ending(STRONG, gender, case)
    stem, declension = DETERMINERS[english]
    if declension == "der":
        return pick_ending(DER, gender, case)
    ending = pick_ending(EIN if declension == "ein" else DIESER, gender, case)
    if stem == "unser" and ending:
        return "unser" + ending
    return stem + ending


def adjective_ending(english_determiner: str, gender: str, case: str) -> str:
    """The ending of an adjective after this determiner (``""`` and number words: none)."""
    if english_determiner not in DETERMINERS:
        return pick_ending(STRONG, gender, case)
    declension = DETERMINERS[english_determiner][1]
    return pick_ending(MIXED if declension == "ein" else WEAK, gender, case)


def stem_of(verb: Verb) -> str:
    """kaufen -> kauf, lächeln -> lächel."""
    return verb.de.removesuffix("en") if verb.de.endswith("en") else verb.de.removesuffix("n")


def needs_e(stem: str) -> bool:
    """Whether -st and -t need a helping e: arbeitest, öffnet."""
    return stem.endswith(("d", "t", "ffn", "chn", "tm"))


def present(verb: Verb, person: int) -> str:
    """The German present without the prefix; person indexes ich, du, er, wir, sie."""
    if verb.de in IRREGULAR:
        return IRREGULAR[verb.de][person]
    stem = stem_of(verb)
    if person >= 3:
        return verb.de
    if person == 0:
        return (stem[:-2] + "l" if stem.endswith("el") else stem) + "e"
    ending = "st" if person == 1 else "t"
    if verb.changed_stem:
        changed = verb.changed_stem
        if person == 1:
            return changed + ("t" if changed.endswith(("s", "ß", "z")) else "st")
        return changed if changed.endswith("t") else changed + "t"
    if person == 1 and stem.endswith(("s", "ß", "z")):
        return stem + "t"
    return stem + ("e" if needs_e(stem) else "") + ending


def modal(name: str, person: int) -> str:
    """A modal or werden, named by its English form."""
    return MODALS[name][1][person]


def imperative(verb: Verb) -> str:
    """The informal singular imperative without the prefix."""
    changed = verb.changed_stem
    if changed and not any(letter in changed for letter in "äö") and verb.de != "haben":
        return changed
    stem = stem_of(verb)
    if stem.endswith("el"):
        return stem[:-2] + "le"
    weak = verb.participle.endswith("t") and verb.de != "bringen"
    return stem + ("e" if weak or needs_e(stem) else "")


def zu_infinitive(verb: Verb) -> str:
    """zu kaufen, abzuholen, einzukaufen."""
    return f"{verb.prefix}zu{verb.de}" if verb.prefix else f"zu {verb.de}"


def english_third(word: str) -> str:
    """goes, carries, washes."""
    if word == "have":
        return "has"
    if word == "be":
        return "is"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "o", "z")) else "s")


def english_ing(word: str) -> str:
    """making, running, putting."""
    if word in ("be", "see"):
        return word + "ing"
    if word.endswith("ie"):
        return word[:-2] + "ying"
    if word.endswith("e"):
        return word[:-1] + "ing"
    if word in ("cut", "get", "put", "run", "swim", "begin", "forget"):
        return word + word[-1] + "ing"
    return word + "ing"


def english_present(word: str, third: bool) -> str:
    """The English present of a full verb."""
    return english_third(word) if third else word


def english_be(person: int) -> str:
    """am, are, is."""
    return ["am", "are", "is", "are", "are"][person]


def english_was(person: int) -> str:
    """was, were."""
    return "was" if person in (0, 2) else "were"
