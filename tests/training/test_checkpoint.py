"""Checkpoints of the version before are read under the present weight names; older ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nmt.errors import CheckpointError
from nmt.train import train
from nmt.training.checkpoint import load_checkpoint, save_checkpoint
from nmt.training.run_folder import load_run
from tests.test_train import corpus, same, small

FORMER_NAMES = ((".forward_cell.", ".ahead."), (".backward_cell.", ".back."))


def as_version_2(path: Path) -> None:
    """Rewrite a checkpoint as version 2 of the format had it: with other names of the encoder's weights."""
    content = load_checkpoint(path)
    for part in {"model", "average"} & content.keys():
        for name in list(content[part]):
            former = name
            for now, before in FORMER_NAMES:
                former = former.replace(now, before)
            content[part][former] = content[part].pop(name)
    assert any(".ahead." in name for name in content["model"])
    save_checkpoint(path, {**content, "format_version": 2})


def test_a_run_of_the_former_version_loads_and_resumes(tmp_path: Path) -> None:
    corpus(tmp_path)
    for run in ("now", "before"):
        train(small(tmp_path, max_steps=6), tmp_path / run)
    as_version_2(tmp_path / "before" / "best.pt")
    as_version_2(tmp_path / "before" / "last.pt")
    models = [load_run(tmp_path / run).model.state_dict() for run in ("now", "before")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    for run in ("now", "before"):
        train(small(tmp_path, max_steps=12), tmp_path / run, resume=True)
    assert same(tmp_path / "now", tmp_path / "before")


def test_an_older_version_is_refused_by_name(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old.pt", {"format_version": 1})
    with pytest.raises(CheckpointError, match=r"old\.pt: made by an older version"):
        load_checkpoint(tmp_path / "old.pt")
