"""What an answer says about a translation, where the request asks for it: scores, tokens, alignments."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nmt.text.alignment import Word
from nmt.text.protected import Protected

if TYPE_CHECKING:
    from nmt.translation import SegmentTranslation, Translation

LEAST_WEIGHT = 0.1
"""attention weights below it are left out"""


def scores(source: str, protected: Protected, words: Sequence[Word], translation: Translation) -> dict[str, Any]:
    """Return the confidence, 0 to 1, of a translation, of its alternatives and of its words."""
    return {
        "text": round(translation.score, 4),
        "alternatives": [round(score, 4) for score in translation.alternative_scores],
        "words": [
            {"word": protected.fill(word.text), "confidence": round(word.confidence, 4)} for word in words if word.text
        ],
    }


def tokens(source: str, protected: Protected, words: Sequence[Word], translation: Translation) -> list[dict[str, Any]]:
    """Return for each segment the subword pieces of source and target, and the log-probability of the target's."""
    return [
        {
            "source": segment.source_pieces,
            "target": segment.target_pieces,
            "log_probs": [round(value, 4) for value in segment.token_log_probs],
        }
        for segment in translation.segments
    ]


def alignments(source: str, protected: Protected, words: Sequence[Word], translation: Translation) -> dict[str, Any]:
    """Return the alignment of the words, in characters, and of the subword pieces of each segment.

    words: begin and end in the translation, begin and end in the source. subwords: for each segment index of the target
    piece, of the source piece, and the weight.
    """
    places = protected.places()
    source_words = [found.span() for found in re.finditer(r"\w+|[^\w\s]", source)]
    begins = [begin for begin, _ in source_words]
    found, end = [], 0
    for word in words:
        begin = end + len(word.space)
        end = begin + len(protected.fill(word.text))
        at = bisect_right(begins, places[word.source]) - 1 if word.source >= 0 else -1
        if at >= 0 and word.text in protected.parts:
            found.append([begin, end, places[word.source], places[word.source + 1]])
        elif at >= 0:
            found.append([begin, end, *source_words[at]])
    return {"words": found, "subwords": [_links(segment) for segment in translation.segments]}


FIELDS: dict[str, Callable[[str, Protected, Sequence[Word], Translation], Any]] = {
    "scores": scores,
    "tokens": tokens,
    "alignments": alignments,
}


def _links(segment: SegmentTranslation) -> list[list[float]]:
    """Return [target piece, source piece, weight] for each weight that counts."""
    return [
        [target, source, round(weight, 3)]
        for target, row in enumerate(segment.attention.tolist())
        for source, weight in enumerate(row)
        if weight >= LEAST_WEIGHT
    ]
