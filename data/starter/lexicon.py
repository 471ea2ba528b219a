"""The whole lexicon of the starter grammar, and how many lemmas it has."""

from __future__ import annotations

from data.starter.adjectives import ADJECTIVES
from data.starter.nouns import NOUNS
from data.starter.verbs import MODALS, VERBS
from data.starter.words import (
    ALL_TIMES,
    CITIES,
    CONJUNCTIONS,
    COUNTRIES,
    DE_SMALL,
    DE_TENS,
    DEGREES,
    DETERMINERS,
    FREQUENCY,
    MANNERS,
    MONTHS,
    PREPOSITIONS,
    PRONOUNS,
    QUANTIFIERS,
    QUESTION_WORDS,
    SEASONS,
    WEEKDAYS,
)


def lemmas() -> dict[str, list[str]]:
    """German lemmas by word class, each once; names of people are left out, numerals built from others too."""
    adverbs = [german for _, german in [*FREQUENCY, *MANNERS, *DEGREES] if " " not in german]
    adverbs += [time.de for time in ALL_TIMES if " " not in time.de] + ["gerade", "bitte", "gern"]
    tongues = [f"{tongue} (Sprache)" for _, _, _, tongue in COUNTRIES]
    found = {
        "nouns": [noun.de for noun in NOUNS] + [german for _, german in [*WEEKDAYS, *MONTHS, *SEASONS]],
        "verbs": [verb.key for verb in VERBS] + [infinitive for infinitive, _ in MODALS.values()],
        "adjectives": [adjective.de for adjective in ADJECTIVES],
        "adverbs": adverbs,
        "pronouns and determiners": [pronoun.nom for pronoun in PRONOUNS]
        + [stem for stem, _ in DETERMINERS.values()]
        + list(QUANTIFIERS.values()),
        "prepositions": [german for _, german in PREPOSITIONS],
        "conjunctions": [german for _, german in CONJUNCTIONS],
        "question words": [german for _, german in QUESTION_WORDS if " " not in german],
        "numerals": [word for word in [*DE_SMALL, *DE_TENS] if word != "-"],
        "places and languages": [german for _, german, *_ in [*COUNTRIES, *CITIES]] + tongues,
    }
    return {name: sorted(set(words)) for name, words in found.items()}


def lemma_count() -> int:
    """How many lemmas the lexicon has."""
    return sum(len(words) for words in lemmas().values())
