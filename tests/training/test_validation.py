"""Validation treats text as the exported model will, and its scores are what the log and the file say."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.corpus.prepare import prepare
from nmt.device import pick_device
from nmt.export import describe
from nmt.train import make_validator, train
from nmt.training.run_folder import load_run
from nmt.training.validation import Scores
from tests.test_train import corpus, small


def test_the_validator_cuts_segments_where_the_exported_model_does(tmp_path: Path) -> None:
    corpus(tmp_path)
    config = small(tmp_path, max_steps=1)
    train(config, tmp_path / "run")
    run = load_run(tmp_path / "run")
    prepared = prepare(config.data, config.data.cache)
    validator = make_validator(config, prepared, pick_device("cpu"))
    assert validator.translator(run.model).max_source_pieces == describe(run, "float32").max_source_pieces == 100


def test_several_directions_count_alike() -> None:
    scores = Scores(1.0, {"en-de": 20.0, "en-fr": 40.0}, 10.0, "sig")
    assert scores.bleu == 30.0
    assert scores.perplexity == pytest.approx(2.718, abs=1e-3)
    assert scores.to_dict()["bleu en-fr"] == 40.0
    assert "bleu en-de" not in Scores(1.0, {"en-de": 20.0}, 10.0, "sig").to_dict()
