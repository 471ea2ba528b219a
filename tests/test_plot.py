"""Pictures of attention: every cell where it belongs, readable without colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.errors import NMTError
from nmt.plot import draw_alignment, save_heat_map, shade

SOURCE = ["▁Guten", "▁Tag", "!", "</s>"]
TARGET = ["▁Good", "▁day", "!", "</s>"]
IDENTITY = [[float(i == j) for j in range(4)] for i in range(4)]


def test_drawing() -> None:
    expected = [
        "      G",
        "      u     <",
        "      t T   /",
        "      e a   s",
        "      n g ! >",
        "     ┌────────┐",
        "Good │██      │",
        " day │  ██    │",
        "   ! │    ██  │",
        "</s> │      ██│",
        "     └────────┘",
    ]
    assert draw_alignment(SOURCE, TARGET, IDENTITY).split("\n") == expected


def test_shades_follow_the_weights() -> None:
    assert [shade(weight) for weight in (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)] == [" ", "░", "▒", "▓", "█", "█"]


def test_a_wide_sentence_continues_in_further_tables() -> None:
    source = [f"▁w{i}" for i in range(40)]
    weights = [[float(i == 39) for i in range(40)]]
    drawing = draw_alignment(source, ["▁x"], weights, width=40)
    assert max(len(line) for line in drawing.split("\n")) <= 40
    assert drawing.count("┌") == 3
    assert drawing.count("██") == 1


def test_wide_long_and_invisible_pieces_keep_the_frame() -> None:
    target = ["你好", "e\u0301", "\x00", "▁" + "x" * 50, "👩", "ing"]
    drawing = draw_alignment(["你", "▁b"], target, [[1.0, 0.0]] * 6)
    lines = drawing.split("\n")
    assert len([line for line in lines if line.endswith("│██  │")]) == 6
    assert "…" in drawing
    assert "·ing" in drawing  # goes on with the word before it
    assert "\x00" not in drawing


def test_sizes_must_match() -> None:
    with pytest.raises(ValueError, match="4 x 4"):
        draw_alignment(SOURCE, TARGET, [[1.0] * 4] * 3)
    assert draw_alignment([], [], []) == ""


def test_heat_map(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_heat_map(tmp_path / "a.png", SOURCE, TARGET, IDENTITY)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NMTError, match=r"must end in \.png"):
        save_heat_map(tmp_path / "a.txt", SOURCE, TARGET, IDENTITY)
