"""The table of perturbations: every row is there, and a model that copies scores as it should."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nmt.perturb import CHANGES, PARTS, perturb, table

LINES = ["The dog sleeps in the garden today.", "A man reads a long book.", "Two women play chess", "It is late."] * 2


def test_a_perfect_copy() -> None:
    pytest.importorskip("sacrebleu")

    def copy(lines: Sequence[str], around: bool) -> list[str]:
        return list(lines) if around else ["Nothing."] * len(lines)

    rows = perturb(copy, LINES, LINES)
    scores = {row.name: row for row in rows}
    assert list(scores) == [*CHANGES, "two sentences a line", *PARTS]
    for name in (
        "as it is",
        "in quotation marks",
        "full stop added or removed",
        "all caps",
        "two sentences a line",
        *PARTS,
    ):
        assert scores[name].score == pytest.approx(100)
    for name in ("first letter lower case", "lower case", "title case", "a typing error"):
        assert 0 < scores[name].score < 100
    assert all(row.plain < 20 for row in rows)
    assert table(rows).count("\n") == len(rows) + 1
