"""The progress of training: a bar that fits the terminal, plain lines otherwise."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nmt.training.run_log import SHORTEST_BAR, RunLog
from tests.terminal import Terminal

VALUE = r"loss \d+\.\d{3}|ETA \d+:\d\d|[\d,]+ tokens/s|ppl \d+\.\d|epoch \d+"


def train(folder: Path, steps: int = 4) -> None:
    """Log some steps, of which the last is the end."""
    share = 0.0
    with RunLog(folder).bar(SimpleNamespace(log_every=2), SimpleNamespace(step=12340), lambda: share) as bar:
        for step in range(1, steps + 1):
            share = step / steps
            bar.step(12340 + step, 3, 1234, torch.tensor(1234 * 3.4), 1234, 1e-3, torch.tensor(1.0))


@pytest.mark.parametrize(("columns", "values"), [(60, 1), (80, 3), (120, 5)])
def test_the_bar_fits_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, values: int) -> None:
    terminal = Terminal(columns)
    with os.fdopen(terminal.device, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        train(tmp_path)
    drawn = [line for line in re.split(r"[\r\n]+", terminal.read()) if line.strip()]
    assert len(drawn) > 2
    for number, line in enumerate(drawn):
        match = re.fullmatch(rf"step \d+ +\d+% \|([^|]+)\| [\d:]+((, ({VALUE}))*)", line)
        assert match, line
        assert len(line) <= columns
        assert len(match[1]) >= SHORTEST_BAR
        assert number == 0 or match[2].count(", ") >= values, line
    assert " 100% |" in drawn[-1]


def test_plain_lines_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"[\d,.]+ tokens", "N tokens", line) for line in lines] == [
        "step 12342 (50 %): loss 3.400 ppl 30.0 N tokens/s epoch 3 ETA 0:00 lr 1.00e-03 norm 1.00",
        "step 12344 (100 %): loss 3.400 ppl 30.0 N tokens/s epoch 3 ETA 0:00 lr 1.00e-03 norm 1.00",
    ]
