"""Export: the file gives what the trained model gives, or is not written."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt import export as exporting
from nmt.artifact import DTYPES, load_bytes
from nmt.config import ModelConfig
from nmt.errors import ArtifactError
from nmt.export import build, compare, convert, export, from_run
from nmt.model.quantized import Int8Linear, quantise_rows
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, SearchOptions
from nmt.translator import Translator
from tests.copy_model import TEXT, CopyRun, tokenizer

ROOT = Path(__file__).resolve().parents[1]
SMALL = ModelConfig.model_validate(
    {"embedding": 24, "encoder": {"hidden": 16}, "decoder": {"hidden": 24, "attention_size": 16}}
)


@pytest.fixture(scope="module")
def run() -> CopyRun:
    """The real model, small, with random weights."""
    torch.manual_seed(5)
    return CopyRun(model=Seq2Seq(SMALL, tokenizer().vocabulary).eval())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_file_gives_the_models_output(run: CopyRun, dtype: str) -> None:
    content, manifest, parity = build(run, dtype)
    allowed = exporting.TOLERANCES[dtype]
    assert parity.largest <= allowed.largest
    assert parity.mean <= allowed.mean
    assert manifest.parity["largest"] == parity.largest
    assert manifest.parameters == sum(p.numel() for p in run.model.parameters())
    if dtype == "float32":
        assert parity.same_greedy == 1.0
        assert parity.largest < 1e-5
    assert compare(run, load_bytes(content, "x", kernels=False)) == parity


def test_float32_translates_as_the_trained_model(run: CopyRun) -> None:
    lines = TEXT.split("\n")
    eager = from_run(run, torch.device("cpu"))
    exported = load_bytes(build(run)[0], "x")
    options = SearchOptions(beam=4, n_best=3)
    one, other = (
        Translator.from_artifact(model, Engine(model.search, device=model.device)).translate(lines, options)
        for model in (eager, exported)
    )
    assert [t.text for t in one] == [t.text for t in other]
    assert [t.alternatives for t in one] == [t.alternatives for t in other]
    assert [t.log_prob for t in one] == pytest.approx([t.log_prob for t in other], abs=1e-4)


def test_a_model_that_is_too_far_off_is_not_written(
    run: CopyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"the old one")
    monkeypatch.setitem(exporting.TOLERANCES, "int8", exporting.Tolerance(largest=1e-9, mean=1e-9))
    with pytest.raises(ArtifactError, match="differs too much from the trained model"):
        export(run, path, "int8")
    assert path.read_bytes() == b"the old one"
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_model_that_gives_no_numbers_is_not_written(run: CopyRun) -> None:
    broken = replace(run, model=convert(run.model, "float32"))
    next(broken.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ArtifactError, match=r"not a number|differs too much"):
        build(broken)


def test_without_samples_random_pieces_are_compared(run: CopyRun) -> None:
    _, _, parity = build(replace(run, samples=[]))
    assert parity.sentences == exporting.MAX_SAMPLES


def test_the_trained_model_is_left_as_it_was(run: CopyRun) -> None:
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    for dtype in DTYPES:
        convert(run.model, dtype)
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(getattr(module, "fused", True) for module in run.model.modules())


def test_unknown_type(run: CopyRun) -> None:
    with pytest.raises(ArtifactError, match=r"int4.*float32"):
        build(run, "int4")


def test_an_int8_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(1)
    linear = torch.nn.Linear(24, 50)
    layer = Int8Linear(*quantise_rows(linear.weight.detach()), linear.bias)
    rows = torch.randn(64, 24) * torch.logspace(-3, 3, 64).unsqueeze(1)  # of very different sizes
    together = layer(rows)
    alone = torch.cat([layer(row.unsqueeze(0)) for row in rows])
    assert torch.equal(together, alone)
    error = (together - linear(rows)).norm(dim=1) / linear(rows).norm(dim=1)
    assert error.max() < 0.02
    assert torch.equal(layer(torch.zeros(1, 24)), layer.bias.unsqueeze(0))


def batch_difference(stored: str, computed: str) -> float:
    """Export the small random model and return the largest difference of a log-probability alone and in company."""
    torch.manual_seed(5)
    model = load_bytes(
        build(CopyRun(model=Seq2Seq(SMALL, tokenizer().vocabulary).eval()), stored)[0], "x", "cpu", computed
    )
    lines = TEXT.split("\n")
    long = " ".join(lines[:2])

    def log_probs(slots: int, texts: list[str]) -> list[float]:
        engine = Engine(model.search, rows=5 * slots, device=model.device)
        return [t.log_prob for t in Translator.from_artifact(model, engine).translate(texts, SearchOptions(beam=3))]

    alone = [log_probs(1, [line])[0] for line in lines]
    together = log_probs(16, lines + 2 * [long])
    return max(abs(one - other) for one, other in zip(alone, together[: len(lines)], strict=True))


# A product of few rows may be summed in another order than one of many: a rounding error, of bfloat16 on CPUs with AMX.
BATCHES = [
    ("float32", "float32", 1e-4),
    ("bfloat16", "bfloat16", 0.05),
    ("float32", "bfloat16", 0.05),
    ("int8", "int8", 1e-4),
]


@pytest.mark.parametrize(("stored", "computed", "tolerance"), BATCHES)
def test_a_translation_does_not_depend_on_its_batch(stored: str, computed: str, tolerance: float) -> None:
    assert batch_difference(stored, computed) <= tolerance


def test_bfloat16_does_not_depend_on_its_batch_on_a_cpu_without_amx() -> None:
    """There oneDNN's fused LSTM rounds by the shape of the batch. The limit on the instructions shows it on any x86."""
    values = "batch_difference('bfloat16', 'bfloat16'), batch_difference('float32', 'bfloat16')"
    code = f"from tests.test_export import batch_difference; print({values})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.0", "0.0"]


def test_search_is_scripted_with_all_its_methods(run: CopyRun) -> None:
    loaded: Any = load_bytes(build(run)[0], "x", kernels=False).search
    assert all(hasattr(loaded, name) for name in BeamSearch.SCRIPTED)
    tokens, _ = loaded(torch.tensor([[20, 21, 3]]), torch.tensor([3]), 2, 5, 1.0)
    assert tokens.shape == (1, 5)
