"""The experiments: equal budgets, valid plans, scores and gradients in closed form, the command on a tiny corpus."""

from __future__ import annotations

import json
import math
import random
import signal
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nmt.config import DecoderConfig, EncoderConfig, ModelConfig, Section
from nmt.corpus.batching import Batch
from nmt.corpus.prepared import Pieces, Split, make_parts
from nmt.errors import CheckpointError, ConfigError, NMTError
from nmt.experiments import alignments, budget, gradients, material, scores, table
from nmt.experiments.__main__ import main
from nmt.experiments.plan import ATTENTION, FAMILY, config_of, load_plan, members_of
from nmt.model.seq2seq import Seq2Seq
from nmt.training.checkpoint import load_checkpoint
from nmt.training.loss import batch_loss

PLAN = load_plan()
RESULTS = Path(__file__).resolve().parents[2] / "data/experiments"
VOCABULARY = {"starter": 3000, "europarl-en-fr": 4000}


# --- the plan and its budget


@pytest.mark.parametrize(
    ("path", "corpus"), [(path, corpus) for path in (ATTENTION, FAMILY) for corpus in load_plan(path).corpora]
)
def test_members_have_the_same_number_of_parameters(path: Path, corpus: str) -> None:
    plan = load_plan(path)
    wanted = plan.corpora[corpus].parameters
    for member in members_of(plan, corpus, list(plan.members), VOCABULARY[corpus], wanted):
        # Small deep models cannot meet a budget closer, as their sizes are multiples of 8.
        assert member.parameters == pytest.approx(wanted, rel=0.02 if path == ATTENTION else 0.03), member.name
        model = member.config.model
        assert model.decoder.hidden == model.encoder.hidden * (2 if model.encoder.bidirectional else 1)


def test_parameters_are_counted_as_they_are() -> None:
    config = ModelConfig(embedding=16)
    small, hidden, count = budget.fit(config, 50, 20_000)
    assert count == sum(p.numel() for p in Seq2Seq(small, 50).parameters())
    neighbours = [budget.count_parameters(budget.sized(config, hidden + d), 50) for d in (-8, 8)]
    assert abs(count - 20_000) <= min(abs(n - 20_000) for n in neighbours)
    one_way = budget.sized(ModelConfig(encoder=EncoderConfig(bidirectional=False)), 24)
    assert one_way.encoder.hidden == one_way.decoder.hidden == 24


@pytest.mark.parametrize("corpus", PLAN.corpora)
def test_members_differ_in_the_model_only(corpus: str) -> None:
    configs = {name: config_of(PLAN, corpus, name) for name in PLAN.members}
    first = configs[PLAN.baseline]
    for name, config in configs.items():
        assert (config.data, config.search) == (first.data, first.search), name
        assert config.training == first.training, name  # a member may have a learning rate; now none has
    assert len({config.model.model_dump_json() for config in configs.values()}) == len(configs)
    assert configs["lstm-reversed"].model.reverse_source
    assert configs["rnn"].model.encoder.cell == configs["rnn"].model.decoder.cell == "rnn"


def test_the_family_has_every_option_by_itself() -> None:
    """Each value of each option of the model (sizes and rates apart) is that of some member."""
    plan = load_plan(FAMILY)
    members = [config_of(plan, "starter", name).model.model_dump(mode="json") for name in plan.members]
    assert all(one != other for one, other in combinations(members, 2))
    sections: dict[str, type[Section]] = {"": ModelConfig, "encoder": EncoderConfig, "decoder": DecoderConfig}
    for section, options in sections.items():
        for name, field in options.model_fields.items():
            values = [False, True] if field.annotation is bool else get_args(field.annotation)
            found = {(member[section] if section else member)[name] for member in members if values}
            assert found == set(values), f"{section}.{name}"


@pytest.mark.parametrize("path", [ATTENTION, FAMILY], ids=lambda path: path.stem)
def test_every_key_of_the_plan_is_explained(path: Path) -> None:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        assert not line.strip() or "#" in line, f"line {number}: {line}"


def test_mistakes_in_a_plan_are_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(ATTENTION.read_text("utf-8").replace("length_bins", "lenght_bins", 1), "utf-8")
    with pytest.raises(ConfigError, match="length_bins"):
        load_plan(path)
    with pytest.raises(ConfigError, match=r"lstn: unknown; did you mean lstm\?"):
        main(["attention", "--members", "lstn"])
    with pytest.raises(ConfigError, match="choose from starter, europarl-en-fr"):
        main(["attention", "--corpus", "nowhere"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attetion"], "invalid choice: 'attetion' (choose from"),
        (["family", "--job", "2"], "unknown argument --job; did you mean --jobs?"),
        ([], "required: NAME"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# --- scores


def lines(count: int, seed: int = 0, shortest: int = 4, longest: int = 30) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices("abcdefghij", k=rng.randint(shortest, longest))) for _ in range(count)]


def spoiled(text: Sequence[str]) -> list[str]:
    rng = random.Random(1)
    return [" ".join("x" if rng.random() < 0.2 else word for word in line.split()) for line in text]


def test_bins_hold_every_length_once() -> None:
    edges = (10, 20, 30)
    found = scores.bins(edges)
    assert [str(b) for b in found] == ["1-10", "11-20", "21-30", ">30"]
    for length in range(1, 100):
        assert sum(length in b for b in found) == 1


def test_an_interval_holds_its_score() -> None:
    references = lines(60)
    score = scores.bleu(spoiled(references), references, samples=100)
    assert 0 < score.low < score.score < score.high < 100
    assert "bs:100" in score.signature
    more = scores.bleu(spoiled(references) * 9, references * 9, samples=100)
    assert more.high - more.low < (score.high - score.low) / 2  # nine times the text: a third


def test_identical_text_scores_100_at_every_length() -> None:
    text = lines(60)
    found = scores.bleu_by_length(text, text, text, (10, 20))
    assert [str(each.bin) for each in found] == ["1-10", "11-20", ">20"]
    assert sum(each.sentences for each in found) == 60
    for each in found:
        assert each.bleu.score == each.bleu.low == each.bleu.high == pytest.approx(100)
        assert each.bleu.brevity == 1
        assert each.mean_words in each.bin or math.ceil(each.mean_words) in each.bin


def test_a_bin_is_scored_by_its_own_sentences() -> None:
    references = lines(40)
    hypotheses = [r if len(r.split()) <= 15 else "x" for r in references]
    short, long = scores.bleu_by_length(references, hypotheses, references, (15,))
    assert short.bleu.score == pytest.approx(100)
    assert long.bleu.score == 0
    assert long.bleu.brevity < 0.1


# --- gradients


class Chain(nn.Module):
    """An encoder whose state is what it reads plus `factor` times the last state: d h_S / d x_s = factor^(S - s)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        state = torch.zeros_like(embedded[:, 0])
        for s in range(embedded.size(1)):
            state = torch.where((s < lengths).unsqueeze(1), self.factor * state + embedded[:, s], state)
        return state


class ChainModel(nn.Module):
    """Predicts every target piece from the chain's last state."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(12, 4)
        self.encoder = Chain(factor)
        self.output = nn.Linear(4, 12)

    def forward(self, src: Tensor, lengths: Tensor, tgt_in: Tensor) -> Tensor:
        state: Tensor = self.encoder(self.embedding(src), lengths)
        return state.unsqueeze(1).expand(-1, tgt_in.size(1), -1)


def split(lengths: Sequence[int], folder: Path) -> Split:
    rng = np.random.default_rng(1)
    starts = np.cumsum([0, *lengths])
    ids = rng.integers(4, 12, starts[-1])
    pieces = Pieces(ids, starts)
    return Split(folder, "valid", pieces, pieces, make_parts([("en", "de")], [len(lengths)]))


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25])
def test_gradients_of_a_linear_chain(factor: float, tmp_path: Path) -> None:
    found, sentences = gradients.gradient_by_distance(ChainModel(factor), split([3, 9, 12, 9, 4], tmp_path), 8)
    assert sentences == 3
    assert found == pytest.approx([factor**d for d in range(8)], rel=1e-4)


def test_no_sentence_is_long_enough(tmp_path: Path) -> None:
    assert gradients.gradient_by_distance(ChainModel(1.0), split([3, 4], tmp_path), 8) == ([], 0)


def test_distance_counts_from_the_piece_read_last() -> None:
    norms = torch.tensor([[1.0, 2.0, 4.0, 0.0], [1.0, 2.0, 4.0, 8.0]])
    lengths = torch.tensor([3, 4])
    ahead = np.exp(gradients.by_distance(norms, lengths, 3))
    assert ahead.round(6).tolist() == [[4, 2, 1], [8, 4, 2]]
    turned = np.exp(gradients.by_distance(norms, lengths, 3, reverse=True))
    assert turned.round(6).tolist() == [[1, 2, 4], [1, 2, 4]]


def cell_gradients(cell: str, folder: Path, forget: float = 0.0, scale: float = 1.0) -> list[float]:
    """Of an untrained fixed-context model, its encoder's recurrent weights scaled, its forget gate's bias `forget`."""
    config = ModelConfig.model_validate(
        {
            "embedding": 8,
            "encoder": {"cell": cell, "hidden": 16, "bidirectional": False},
            "decoder": {"cell": cell, "hidden": 16, "layers": 1, "attention": "none", "wiring": "bahdanau"},
            "layer_norm": False,
        }
    )
    torch.manual_seed(1)
    model = Seq2Seq(config, 12)
    layer: Any = model.encoder.layers[0].forward_cell
    layer.hidden.weight.data *= scale
    if cell == "lstm":
        layer.input.bias.data[16:32] = forget
    return gradients.gradient_by_distance(model, split([12] * 4, folder), 12)[0]


def test_gates_carry_the_gradient(tmp_path: Path) -> None:
    tiny = cell_gradients("rnn", tmp_path, scale=0.1)
    assert all(later < earlier / 5 for earlier, later in pairwise(tiny))
    closed, opened = (cell_gradients("lstm", tmp_path, forget=bias)[-1] for bias in (-3.0, 5.0))
    assert tiny[-1] < closed < 1e-3 < 0.3 < opened


def test_only_what_the_encoder_reads_is_measured(tmp_path: Path) -> None:
    """Tied embeddings have other ways to the loss; they must not count: other targets, other tables, same source."""
    model = ChainModel(1.0)
    batch = Batch.from_ids([[5, 6, 7]], [[5, 6]])
    norms = gradients.source_gradients(model, batch)
    assert norms.shape == (1, 4)
    assert norms[0].tolist() == pytest.approx([float(norms[0, 0])] * 4)
    assert all(p.grad is None for p in model.parameters())
    assert not model.encoder._forward_pre_hooks


# --- small parts


def test_sentences_are_chosen_by_length() -> None:
    text = ["a b c", "a", "b", "", "a b c d e f"]
    assert alignments.choose_sentences(text, [1, 1, 4, 100]) == ["a", "b", "a b c", "a b c d e f"]
    assert alignments.choose_sentences(text, [1] * 9) == ["a", "b", "a b c", "a b c d e f"]


def test_csv_is_read_as_written(tmp_path: Path) -> None:
    rows = [{"a": "x,y", "b": 1 / 3, "c": 1234567}]
    table.write_csv(tmp_path / "t.csv", rows)
    assert table.read_csv(tmp_path / "t.csv") == [{"a": "x,y", "b": "0.333333", "c": "1234567"}]
    assert table.read_csv(tmp_path / "no.csv") == []
    table.write_matrix(tmp_path / "m.csv", ['"', "a,"], ["b"], [[0.25, 0.75]])
    assert table.read_matrix(tmp_path / "m.csv") == (['"', "a,"], ["b"], [[0.25, 0.75]])


def speed_table(folder: Path) -> dict[str, tuple[float, float]]:
    """Speed and tokens/s of each model, as results.md shows them."""
    lines = [line.split(" | ") for line in (folder / "results.md").read_text("utf-8").splitlines() if "|" in line]
    assert lines[0][3:5] == ["speed", "tokens/s"]
    return {cells[0]: (float(cells[3]), float(cells[4].replace(",", ""))) for cells in lines[2:] if len(cells) > 5}


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda path: path.name)
def test_committed_tables_are_those_of_the_committed_numbers(folder: Path, tmp_path: Path) -> None:
    for name in ("results.csv", "speed.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert table.write_markdown(tmp_path, "default") == (folder / "results.md").read_text("utf-8")
    assert (tmp_path / "results.md").read_bytes() == (folder / "results.md").read_bytes()


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda path: path.name)
def test_the_columns_of_speed_agree(folder: Path) -> None:
    """Tokens per second are in the ratio that the column of the speed shows, to the digits shown."""
    found = speed_table(folder)
    (baseline,) = (tokens for name, (ratio, tokens) in found.items() if "default" in name)
    for name, (ratio, tokens) in found.items():
        assert tokens / baseline == pytest.approx(ratio, abs=0.0051), name


def test_a_table_without_numbers(tmp_path: Path) -> None:
    with pytest.raises(NMTError, match="run it without --redraw"):
        main(["family", "--redraw", "--out", str(tmp_path)])


def test_labels_are_moved_apart() -> None:
    figures = pytest.importorskip("nmt.experiments.figures")
    assert figures.spread([0.0, 10.0, 20.0], 5.0) == [0.0, 10.0, 20.0]
    assert figures.spread([10.0, 10.0, 10.0], 4.0) == [6.0, 10.0, 14.0]
    moved = figures.spread([0.0, 1.0, 1.5, 9.0], 2.0)
    assert all(b - a >= 2 - 1e-9 for a, b in pairwise(moved))


# --- the command

WORDS = list("abcdefghijklmnop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of copying with other names, in plain files."""
    root = tmp_path_factory.mktemp("text")
    rng = random.Random(1)
    for name, size in (("train", 200), ("valid", 12), ("test", 12)):
        text = [" ".join(rng.choices(WORDS, k=rng.randint(2, 13))) for _ in range(size)]
        (root / f"{name}.en").write_text("".join(f"{line}\n" for line in text), "utf-8")
        (root / f"{name}.de").write_text("".join(f"{line.upper()}\n" for line in text), "utf-8")
    return root


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    settings = {
        "data.root": folder,
        "data.cache": folder / "cache",
        "data.vocabulary": 36,
        "data.units": "word",
        "model.embedding": 8,
        "training.batch_tokens": 100,
        "training.validate_every": 3,
        "training.log_every": 2,
        "training.precision": "float32",
    }
    keys = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    budget = ["--parameters", "6000", "--steps", "6", "--threads", "1", "--rounds", "2", "--out", str(out)]
    return ["attention", *keys, *budget, *more]


FILES = [
    "results.md",
    *(f"{n}.csv" for n in ("results", "speed", "bleu_by_length", "gradient_by_distance", "learning_curves")),
    *(f"hypotheses/{n}.txt" for n in ("lstm", "luong")),
    "alignments/luong-1.csv",
]
PICTURES = ["bleu_by_length", "gradient_by_distance", "learning_curves", "alignments/luong-1"]


def test_the_whole_experiment(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = arguments(folder, out, "--members", "lstm,luong")
    assert main(command) == 0
    for name in FILES:
        assert (out / name).stat().st_size > 0, name
    rows = table.read_csv(out / "results.csv")
    assert [row["member"] for row in rows] == ["lstm", "luong"]
    for row in rows:
        assert float(row["bleu_low"]) <= float(row["bleu"]) <= float(row["bleu_high"])
        assert row["steps"] == "6" and len(row["config_digest"]) == 12 and "nrefs:1" in row["bleu_signature"]
        assert float(row["speed_ratio"]) > 0
        assert row["target_tokens"] == rows[0]["target_tokens"]
    speeds = {row["member"]: float(row["ratio"]) for row in table.read_csv(out / "speed.csv")}
    assert speeds["default"] == 1  # measured along, though it is none of those compared
    curve = table.read_csv(out / "learning_curves.csv")
    assert [row["step"] for row in curve] == ["3", "6"] * 2
    assert {row["when"] for row in table.read_csv(out / "gradient_by_distance.csv")} == {
        "before training",
        "after training",
    }
    if matplotlib_is_there():
        for name in PICTURES:
            assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            assert b"<svg" in (out / f"{name}.svg").read_bytes()[:1000]

    # From the CSV files alone: the table and the figures.
    first = (out / "results.md").read_bytes()
    (out / "results.md").unlink()
    assert main([*command, "--redraw"]) == 0
    assert (out / "results.md").read_bytes() == first

    # Again: nothing is trained or translated, the rest is computed anew.
    kept = {path: path.stat().st_mtime_ns for path in [*out.rglob("*.pt"), *out.rglob("*.txt"), out / "speed.csv"]}
    (out / "results.csv").unlink()
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(table.read_csv(out / "results.csv")) == 2

    with pytest.raises(CheckpointError, match="trained with other settings"):
        main([*command, "--seed", "7"])


def matplotlib_is_there() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def test_a_killed_experiment_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    more = ("--members", "gru", "--only-train")
    assert main(arguments(folder, whole, *more)) == 0

    calls = 0
    real = batch_loss

    def kill_in_step_5(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            signal.raise_signal(signal.SIGTERM)
        return real(*given)

    monkeypatch.setattr("nmt.train.batch_loss", kill_in_step_5)
    with pytest.raises(SystemExit):
        main(arguments(folder, killed, *more))
    assert load_checkpoint(killed / "runs/gru/last.pt")["progress"]["step"] == 5
    assert not (killed / "hypotheses/gru.txt").exists()
    assert main(arguments(folder, killed, *more)) == 0
    one, other = (load_checkpoint(out / "runs/gru/last.pt")["model"] for out in (whole, killed))
    assert all(one[key].equal(other[key]) for key in one)
    assert (whole / "hypotheses/gru.txt").read_bytes() == (killed / "hypotheses/gru.txt").read_bytes()
    steps = [json.loads(line)["step"] for line in (killed / "runs/gru/log.jsonl").read_text("utf-8").splitlines()]
    assert steps == sorted(steps)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(folder: Path, tmp_path: Path) -> None:
    stale = tmp_path / "runs" / "gru"
    stale.mkdir(parents=True)
    (stale / "log.jsonl").write_text('{"kind": "train", "step": 2}\n', "utf-8")
    assert main(arguments(folder, tmp_path, "--members", "gru", "--only-train")) == 0
    assert '"step": 2}' not in (stale / "log.jsonl").read_text("utf-8")


def test_members_side_by_side(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = arguments(folder, out, "--members", "rnn,luong", "--jobs", "2", "--only-train")
    (out / "runs").mkdir(parents=True)
    (out / "runs/luong").write_text("in the way", "utf-8")
    with pytest.raises(NMTError, match=r"^luong failed, see above; run the same command again"):
        main(command)
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("[luong] error: ") for line in lines)
    assert any(line.startswith("[rnn] step 6") for line in lines)  # the other one went on
    (out / "runs/luong").unlink()
    assert main(command) == 0
    assert "[rnn]" not in capfd.readouterr().err
    assert (out / "hypotheses/luong.txt").exists()
    assert main(arguments(folder, tmp_path / "alone", "--members", "rnn", "--only-train")) == 0
    assert (out / "hypotheses/rnn.txt").read_bytes() == (tmp_path / "alone/hypotheses/rnn.txt").read_bytes()


def test_validation_on_the_first_pairs(folder: Path, tmp_path: Path) -> None:
    config = config_of(PLAN, "starter", "lstm", [("data.root", str(folder))])
    limited = material.limit_validation(config, 5, tmp_path / "one" / "data")
    assert [str(limited.data.valid_src), str(limited.data.valid_tgt)] == ["valid-5.en", "valid-5.de"]
    whole = (folder / "valid.en").read_text("utf-8").splitlines()
    assert (limited.data.root / "valid-5.en").read_text("utf-8").splitlines() == whole[:5]
    assert (limited.data.root / "train.de").read_bytes() == (folder / "train.de").read_bytes()
    assert material.limit_validation(config, 5, tmp_path / "one" / "data") == limited  # again, into the same folder
    elsewhere = material.limit_validation(config, 5, tmp_path / "other")
    assert elsewhere.digest() == limited.digest() != config.digest()
