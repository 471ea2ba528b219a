"""Several language pairs in one model: config, corpus, training, and the tags that select the target language."""

from __future__ import annotations

import io
import json
import random
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt import evaluate, score, translate
from nmt.artifact import read_manifest
from nmt.cli.parser import main_guard
from nmt.config import Config, load_config, make_config
from nmt.corpus.prepare import clean_and_split, prepare
from nmt.corpus.prepared import Pieces, PreparedCorpus, open_prepared
from nmt.corpus.report import Report
from nmt.corpus.settings import CorpusSettings, Direction
from nmt.errors import ConfigError, CorpusError, TranslationError
from nmt.export import _samples, export
from nmt.text.tokenizer import Tokenizer
from nmt.train import train
from nmt.training.checkpoint import load_checkpoint
from nmt.training.run_folder import load_run, samples
from nmt.translator import Translator
from service.app import create_app
from service.settings import load_settings
from tests.copy_model import CopyRun
from tests.corpus.test_prepare import changed
from tests.service.fakes import client_of
from tests.test_train import interrupt_at, same

WORDS = list("abcdefghijkl")
Values = dict[str, Any]


def german(line: str) -> str:
    """The made language de: every word in capitals."""
    return line.upper()


def french(line: str) -> str:
    """The made language fr: other words, from the last to the first."""
    return " ".join(f"{word}o" for word in reversed(line.split()))


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def write_corpus(folder: Path, pairs: int) -> list[str]:
    """Files SPLIT.LANGUAGE of the made languages, line by line; the English validation lines."""
    rng = random.Random(3)
    for split, size in (("train", pairs), ("valid", 16)):
        english = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(size)]
        write(folder / f"{split}.en", english)
        write(folder / f"{split}.de", [german(line) for line in english])
        write(folder / f"{split}.fr", [french(line) for line in english])
    return english


def section(source: str, target: str, **more: object) -> Values:
    """A direction of the config."""
    return {
        "source_language": source,
        "target_language": target,
        "train_src": [f"train.{source}"],
        "train_tgt": [f"train.{target}"],
        "valid_src": f"valid.{source}",
        "valid_tgt": f"valid.{target}",
        **more,
    }


def make(folder: Path, *pairs: tuple[str, str], data: Values | None = None, **training: object) -> Config:
    """A small config for these directions; every word of their languages is a piece."""
    languages = {code for pair in pairs for code in pair} or {"en", "de"}
    targets = {target for _, target in pairs}
    return make_config(
        {
            "data": {
                "root": str(folder),
                "cache": str(folder / "cache"),
                "directions": [section(*pair) for pair in pairs],
                "vocabulary": 4 + len(WORDS) * len(languages) + len(targets) * (len(targets) > 1),
                "units": "word",
                **(data or {}),
            },
            "model": {
                "embedding": 24,
                "encoder": {"hidden": 24},
                "decoder": {"hidden": 32, "attention_size": 16},
                "dropout": 0.0,
                "dropout_embedding": 0.0,
                "dropout_word": 0.0,
            },
            "training": {
                "batch_tokens": 400,
                "validate_every": 100,
                "threads": 1,
                "max_steps": 200,
                "warmup_steps": 10,
                "learning_rate": 1e-2,
                "schedule": "linear",
                "average_decay": 0.9,
                **training,
            },
            "search": {"beam": 2},
        }
    )


ONE_TO_TWO = (("en", "de"), ("en", "fr"))
BOTH_WAYS = (("en", "de"), ("de", "en"))
TWO_TO_ONE = (("de", "en"), ("fr", "en"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path, 200)
    return tmp_path


# The config


def test_a_direction_in_a_list_is_the_pair_in_its_place(folder: Path) -> None:
    pair = make(folder, data={"directions": [], **section("en", "de")})
    one = make(folder, ("en", "de"))
    assert pair.data.all_directions == (pair.data,)
    (direction,) = one.data.all_directions
    assert dict(direction) == {name: getattr(pair.data, name) for name in Direction.model_fields}
    alone, listed = (prepare(config.data, folder / "cache") for config in (pair, one))
    assert alone.path == listed.path
    assert alone.pairs == (("en", "de"),)
    assert not alone.train.target_tags


def test_directions_survive_their_own_yaml(folder: Path) -> None:
    config = make(folder, *ONE_TO_TWO)
    written = write(folder / "config.yaml", [json.dumps(config.model_dump(mode="json"))])
    assert load_config(written) == config
    assert "train_src" not in config.model_dump()["data"]
    assert "directions" not in make(folder, data={"directions": []}).model_dump()["data"]
    assert config.digest() != make(folder, ("en", "de"), ("fr", "de")).digest()


def test_directions_can_be_replaced_on_the_command_line(folder: Path) -> None:
    given = json.dumps([section("en", "fr")])
    config = make_config(make(folder, *ONE_TO_TWO).model_dump(mode="json"), [("data.directions", given)])
    assert [direction.pair for direction in config.data.all_directions] == [("en", "fr")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train_src": ["x"]}, "data: train_src and directions exclude each other; move train_src into a direction"),
        ({"source_language": "en"}, "data: source_language and directions exclude each other"),
        ({"directions": [section("en", "de")] * 2}, "data: directions: en-de is listed twice; name all its files"),
        ({"directions": [{"source_language": "en"}]}, r"data\.directions\.0\.target_language is missing"),
        (
            {"directions": [section("en", "de", trian_tsv=["x"])]},
            r"unknown key data\.directions\.0\.trian_tsv; did you mean data\.directions\.0\.train_tsv\?",
        ),
        ({"directions": "en-de"}, r'data\.directions: expected a list of sections; got "en-de"'),
    ],
)
def test_bad_directions_are_named(folder: Path, data: Values, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make(folder, *ONE_TO_TWO, data=data)
    assert "\n" not in str(caught.value)


def test_an_option_for_one_direction_is_refused_with_the_remedy(folder: Path) -> None:
    values = make(folder, *ONE_TO_TWO).model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"data\.directions\.0\.train_src: .*data\.directions can be set as a whole"):
        make_config(values, [("data.directions.0.train_src", "x")])
    with pytest.raises(ConfigError, match="train_src and directions exclude each other"):
        make_config(values, [("data.train_src", "[x]")])


# The corpus


def settings_of(folder: Path, *pairs: tuple[str, str], **more: Any) -> CorpusSettings:
    return changed(make(folder, *pairs).data, **more)


def decoded(corpus: PreparedCorpus, ids: np.ndarray[Any, Any]) -> list[str]:
    return [*corpus.tokenizer.pieces(ids.tolist()[:1]), corpus.tokenizer.decode(ids.tolist()[1:])]


def test_every_source_begins_with_the_tag_of_its_target(folder: Path) -> None:
    corpus = prepare(settings_of(folder, *ONE_TO_TWO), folder / "cache")
    assert corpus.pairs == ONE_TO_TWO
    for split in (corpus.train, corpus.valid):
        assert split.target_tags == ("de", "fr")
        assert [str(part) for part in split.parts] == ["en-de", "en-fr"]
        assert sum(len(part) for part in split.parts) == len(split)
        for part in split.parts:
            for row in range(part.rows.start, part.rows.stop):
                assert decoded(corpus, split.src(row)) == [f"<2{part.target_language}>", split.source_lines[row]]
                assert split.tgt(row).tolist() == corpus.tokenizer.encode(split.target_lines[row])
    report = corpus.report
    assert report.directions["valid"] == {"en-de": 16, "en-fr": 16}
    assert sum(report.directions["train"].values()) == report.sizes["train"] == len(corpus.train)
    assert "of these en-de 16, en-fr 16" in str(report)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    again = open_prepared(corpus.path)
    assert again.train.parts == corpus.train.parts


def test_one_target_needs_no_tag_and_both_ways_need_two(folder: Path) -> None:
    corpus = prepare(settings_of(folder, *TWO_TO_ONE), folder / "cache")
    assert corpus.train.target_tags == ()
    assert corpus.tokenizer.decode(corpus.train.src(0).tolist()) == corpus.train.source_lines[0]
    with pytest.raises(Exception, match="no tag for target language 'en'"):
        corpus.tokenizer.tag("en")
    corpus = prepare(settings_of(folder, *BOTH_WAYS), folder / "cache")
    assert corpus.train.target_tags == ("de", "en")
    assert corpus.path.name.startswith("en-de+de-en-")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_sampled_segmentation_keeps_the_tag(folder: Path, kind: Any) -> None:
    corpus = prepare(settings_of(folder, *ONE_TO_TWO, units=kind, vocabulary=60), folder / "cache")
    sampled = corpus.train.vary(corpus.tokenizer, 5, alpha=0.3)
    assert not np.array_equal(sampled.source.ids, corpus.train.source.ids)
    assert sampled.parts == corpus.train.parts
    for row in range(len(sampled)):
        assert decoded(corpus, sampled.src(row)) == decoded(corpus, corpus.train.src(row))


def test_the_tag_counts_as_a_piece(folder: Path) -> None:
    write(folder / "train.en", ["a", "a b", "a b c"])
    for language in ("de", "fr"):
        write(folder / f"train.{language}", ["A", "A B", "A B C"])
    wanted: Values = {"max_length": 6, "units": "char"}  # "a b c" with a space before each letter
    tagged = prepare(settings_of(folder, *ONE_TO_TWO, **wanted), folder / "cache")
    assert tagged.train.source_lines == ["a", "a b"] * 2
    assert [part.rows for part in tagged.train.parts] == [slice(0, 2), slice(2, 4)]
    assert len(prepare(settings_of(folder, ("en", "de"), **wanted), folder / "cache").train) == 3


@given(st.lists(st.tuples(st.lists(st.integers(0, 50), max_size=3), st.integers(51, 53)), max_size=6))
def test_a_tag_stands_before_each_sentence_even_an_empty_one(rows: list[tuple[list[int], int]]) -> None:
    lengths = [0, *(len(ids) for ids, _ in rows)]
    pieces = Pieces(np.array([i for ids, _ in rows for i in ids], np.uint16), np.cumsum(lengths))
    tagged = pieces.with_tags([tag for _, tag in rows])
    assert [tagged[i].tolist() for i in range(len(rows))] == [[tag, *ids] for ids, tag in rows]
    assert tagged.ids.dtype == pieces.ids.dtype


def without_valid(settings: CorpusSettings, **more: Any) -> CorpusSettings:
    """The same directions, which hold out their validation pairs themselves."""
    directions = tuple(changed(direction, valid_src=None, valid_tgt=None) for direction in settings.directions)
    return changed(settings, directions=directions, **more)


def test_each_direction_holds_out_its_own_and_the_opposite_does_not_learn_it(folder: Path) -> None:
    # Two translations of a sentence, so that the two directions do not draw the same lines.
    english = [f"{a} {b}" for a in WORDS for b in WORDS]
    write(folder / "train.en", ["a a", *english])
    write(folder / "train.de", ["two", *map(german, english)])
    settings = without_valid(settings_of(folder, *BOTH_WAYS), valid_size=10, test_size=5)
    report = Report()
    train_pairs, held_out = clean_and_split(settings, report)
    assert {name: len(pairs) for name, pairs in held_out.items()} == {"valid": 20, "test": 10}
    assert [sum(pair.direction == n for pair in held_out["valid"]) for n in (0, 1)] == [10, 10]
    taught = {(pair.src, pair.tgt) for pair in train_pairs} | {(pair.tgt, pair.src) for pair in train_pairs}
    assert not taught & {(pair.src, pair.tgt) for pairs in held_out.values() for pair in pairs}
    for file in report.files:
        dropped = sum(d.count for d in file.dropped.values())
        assert file.read == file.kept + file.held_out + dropped
        assert file.held_out == 15 and set(file.dropped) <= {"held out in the opposite direction"}
    assert sum(file.kept for file in report.files) == len(train_pairs)


def test_directions_with_the_same_source_hold_the_same_sentences_out(folder: Path) -> None:
    settings = without_valid(settings_of(folder, *ONE_TO_TWO), valid_size=7)
    corpus = prepare(settings, folder / "cache")
    one, other = (corpus.valid.source_lines[part.rows] for part in corpus.valid.parts)
    assert len(one) == len(other) == 7
    assert one == other


def test_overlap_is_a_matter_of_the_direction(folder: Path) -> None:
    write(folder / "train.en", [*WORDS, "seen"])
    write(folder / "train.de", [*map(german, WORDS), "GESEHEN"])
    write(folder / "train.fr", [*map(french, WORDS), "vu"])
    write(folder / "valid.en", ["seen", "b c"])
    write(folder / "valid.de", ["GESEHEN", "B C"])
    write(folder / "valid.fr", ["d e", "f g"])  # nothing of it is in the training text
    directions = (("en", "de"), ("de", "en"), ("fr", "de"))
    write(folder / "train.fr", ["x y", *WORDS])
    report = Report()
    clean_and_split(settings_of(folder, *directions), report)
    warnings = [warning.split(":")[0] for warning in report.warnings]
    assert warnings == ["training pairs whose source is also in valid"]
    assert ": 2 " in report.warnings[0]  # en-de and de-en; not the fr-de pair with the same German
    report = Report()
    train_pairs, _ = clean_and_split(settings_of(folder, *directions, drop_test_overlap=True), report)
    assert [sum(pair.direction == n for pair in train_pairs) for n in range(3)] == [12, 12, 13]
    # Where only one of the ways is validated on a sentence, the other way round teaches it as well.
    write(folder / "other.de", ["NEU", "B C"])
    write(folder / "other.en", ["new", "b c"])
    settings = settings_of(folder, *BOTH_WAYS)
    other = changed(settings.directions[1], valid_src=folder / "other.de", valid_tgt=folder / "other.en")
    report = Report()
    clean_and_split(changed(settings, directions=(settings.directions[0], other)), report)
    assert [warning.split(":")[0] for warning in report.warnings] == [
        "training pairs whose source is also in valid",
        "training pairs whose target is also in valid of the opposite direction",
    ]


Change = Callable[[Direction], Direction]


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (
            lambda d: changed(d, train_src=(), train_tgt=()),
            {},
            r"no training text: set data\.directions\.1\.train_src and data\.directions\.1\.train_tgt, or",
        ),
        (
            lambda d: changed(d, train_tgt=()),
            {},
            r"data\.directions\.1\.train_src names 1 files but data\.directions\.1\.train_tgt 0",
        ),
        (lambda d: changed(d, valid_src=None, valid_tgt=None), {"valid_size": 0}, r"data\.directions\.1\.valid_src"),
        (lambda d: changed(d, valid_src=None, valid_tgt=None), {"valid_size": 999}, "too much for .* pairs of en-fr"),
        (lambda d: d, {"max_length": 1}, "no training pair of en-de is left"),
    ],
)
def test_a_direction_that_cannot_be_is_named(folder: Path, change: Change, more: Values, message: str) -> None:
    settings = settings_of(folder, *ONE_TO_TWO, **more)
    settings = changed(settings, directions=(settings.directions[0], change(settings.directions[1])))
    with pytest.raises(CorpusError, match=message) as caught:
        prepare(settings, folder / "cache")
    assert "\n" not in str(caught.value)


def test_no_text_at_all_names_both_forms(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"set data\.train_src .* or data\.directions"):
        prepare(CorpusSettings(), tmp_path)


# The model


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: that is what the service runs on."""
    return "asyncio"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English to German and French: the corpus, a run that has learnt them, and its exported file."""
    folder = tmp_path_factory.mktemp("multilingual")
    write_corpus(folder, 1500)
    train(make(folder, *ONE_TO_TWO), folder / "run")
    export(load_run(folder / "run"), folder / "model.pt")
    return folder


@pytest.fixture(params=["run", "model.pt"])
def model(request: pytest.FixtureRequest, home: Path) -> Path:
    """The run folder, and the exported file."""
    return home / str(request.param)


class Stdin(io.BytesIO):
    """Bytes as the standard input."""

    @property
    def buffer(self) -> io.BytesIO:
        return self


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process: exit code, stdout, stderr."""

    def run(main: Callable[[Sequence[str]], int], *arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", Stdin(stdin.encode()))
        code = main_guard(lambda: main([str(argument) for argument in arguments]))
        sys.stdout.flush()
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_the_tag_decides_what_comes_out(command: Command, model: Path) -> None:
    lines = ["a", "b c", "d e f", "l k j i"]
    text = "".join(f"{line}\n" for line in lines)
    for language, rule in (("de", german), ("fr", french)):
        code, out, err = command(translate.main, model, "--target", language, stdin=text)
        assert (code, out.splitlines()) == (0, [rule(line) for line in lines]), err


def test_each_direction_is_scored(command: Command, home: Path, model: Path) -> None:
    for language in ("de", "fr"):
        files = ["--src", home / "valid.en", "--ref", home / f"valid.{language}"]
        code, out, err = command(evaluate.main, model, *files, "--json", "--target", language)
        assert code == 0, err
        assert json.loads(out)["scores"]["BLEU"]["score"] > 90
        logs = {}
        for target in ("de", "fr"):
            files = ["--src", home / "valid.en", "--tgt", home / f"valid.{language}"]
            code, out, err = command(score.main, model, *files, "--target", target)
            assert code == 0, err
            logs[target] = sum(map(float, out.split()))
        assert max(logs, key=lambda target: logs[target]) == language


def test_an_unknown_target_is_refused_by_name(command: Command, home: Path, model: Path) -> None:
    files = ["--src", home / "valid.en", "--ref", home / "valid.de"]
    for main, arguments in (
        (translate.main, []),
        (evaluate.main, files),
        (score.main, ["--src", home / "valid.en", "--tgt", home / "valid.de"]),
    ):
        code, _, err = command(main, model, *arguments, "--target", "nl", stdin="a\n")
        assert (code, err.count("\n")) == (2, 1)
        assert "target language 'nl' is not known to this model; it has de, fr" in err
        code, _, err = command(main, model, *arguments, stdin="a\n")
        assert code == 2 and "several target languages; choose one of de, fr (--target)" in err


def test_the_run_tells_each_directions_bleu(home: Path) -> None:
    lines = [json.loads(line) for line in (home / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    last = [line for line in lines if line["kind"] == "valid"][-1]
    assert last["bleu"] == pytest.approx((last["bleu en-de"] + last["bleu en-fr"]) / 2, abs=1e-3)
    assert load_run(home / "run").info["valid_bleu_by_direction"].keys() == {"en-de", "en-fr"}


def test_the_file_says_what_it_translates(home: Path) -> None:
    run = load_run(home / "run")
    manifest = read_manifest(home / "model.pt")
    assert manifest.pairs == ONE_TO_TWO
    assert manifest.target_tags
    each = manifest.training["valid_bleu_by_direction"]
    assert manifest.training["valid_bleu"] == pytest.approx(sum(each.values()) / 2, abs=0.02)
    assert "pairs" not in manifest.training
    assert {sample[2] for sample in run.samples} == {"de", "fr"}
    sources, _ = _samples(run)
    assert [run.tokenizer.pieces(ids[:1])[0][2:4] for ids in sources] == [sample[2] for sample in run.samples]
    assert manifest.parity["sentences"] == len(sources) == 32


@pytest.mark.anyio
async def test_the_service_translates_by_target(home: Path, anyio_backend: str) -> None:
    async with client_of(create_app(load_settings(models=home / "model.pt", beam=1))) as client:
        shown = (await client.get("/languages")).json()
        assert {entry["code"]: entry["targets"] for entry in shown} == {
            "en": ["en", "de", "fr"],
            "de": ["de"],
            "fr": ["fr"],
        }
        for target, rule in (("de", german), ("fr", french)):
            body = {"q": ["a b c", "d"], "source": "auto", "target": target}
            answer = (await client.post("/translate", json=body)).json()
            assert answer["translatedText"] == [rule("a b c"), rule("d")]
        refused = await client.post("/translate", json={"q": "A", "source": "de", "target": "fr"})
        assert refused.status_code == 400
        assert "French (fr) is not available as a target language from German (de)" in refused.text
        assert (await client.post("/translate", json={"q": "a", "source": "en", "target": "nl"})).status_code == 400


@pytest.mark.anyio
async def test_the_service_takes_the_codes_of_the_file(tmp_path: Path, anyio_backend: str) -> None:
    """Codes that clients write in several ways: the model's own spelling is what its tags and pairs have."""
    run = CopyRun()
    export(replace(run, info={**run.info, "target_language": "pt-BR"}), tmp_path / "model.pt")
    async with client_of(create_app(load_settings(models=tmp_path / "model.pt", beam=1))) as client:
        for target in ("pt-BR", "pb", "pt_br"):
            answer = await client.post("/translate", json={"q": "the fox", "source": "en", "target": target})
            assert answer.json() == {"translatedText": "the fox"}


def test_a_resumed_run_ends_bit_for_bit_like_an_uninterrupted_one(folder: Path) -> None:
    data = {"units": "bpe", "vocabulary": 60, "sampling": 0.3}
    config = make(folder, *BOTH_WAYS, ("fr", "en"), data=data, max_steps=None, max_epochs=2, validate_every=4)
    train(config, folder / "whole")
    for at in (3, 6):
        with pytest.raises(SystemExit) as stop:
            interrupt_at(at, config, folder / "parts", resume=at > 3)
        assert stop.value.code == 128 + signal.SIGTERM
    # The run folder's own config goes on as well as the one that it was made of.
    train(load_config(folder / "parts" / "config.yaml"), folder / "parts", resume=True)
    assert same(folder / "whole", folder / "parts")
    best = [load_checkpoint(folder / run / "best.pt")["info"] for run in ("whole", "parts")]
    assert best[0]["valid_bleu_by_direction"] == best[1]["valid_bleu_by_direction"]
    assert best[0]["pairs"] == [["en", "de"], ["de", "en"], ["fr", "en"]]


def test_a_model_of_one_target_has_no_tag(folder: Path, command: Command) -> None:
    train(make(folder, *TWO_TO_ONE, max_steps=2), folder / "run")
    manifest, _ = export(load_run(folder / "run"), folder / "model.pt")
    assert (manifest.pairs, manifest.target_tags) == (TWO_TO_ONE, False)
    assert all(len(sample) == 2 for sample in load_run(folder / "run").samples)
    for arguments in ([], ["--target", "en"]):
        assert command(translate.main, folder / "model.pt", *arguments, stdin="A\n")[0] == 0
    code, _, err = command(translate.main, folder / "model.pt", "--target", "de", stdin="A\n")
    assert code == 2 and "target language 'de' is not known to this model; it has en" in err


def test_samples_are_of_every_direction(folder: Path) -> None:
    corpus = prepare(settings_of(folder, ("en", "de"), ("en", "fr"), ("fr", "en")), folder / "cache")
    found = samples(corpus.valid, count=8)
    assert [sample[2] for sample in found] == ["de"] * 2 + ["fr"] * 3 + ["en"] * 3
    assert all(sample[0] in corpus.valid.source_lines for sample in found)


def test_a_translator_of_one_language_refuses_another() -> None:
    tokenizer = Tokenizer.train(["a b c d e"] * 3, vocabulary=12)
    assert Translator(tokenizer, max_source_pieces=30, target_language="de").tag("de") == ()
    assert Translator(tokenizer, max_source_pieces=30).tag("nl") == (), (
        "a model that does not say its language takes any"
    )
    with pytest.raises(TranslationError, match="'nl' is not known to this model; it has de"):
        Translator(tokenizer, max_source_pieces=30, target_language="de").tag("nl")


def test_a_changed_text_is_prepared_anew(folder: Path) -> None:
    first = prepare(settings_of(folder, *ONE_TO_TWO), folder / "cache")
    write(folder / "train.fr", [*(folder / "train.fr").read_text("utf-8").splitlines()[:-1], "co bo ao"])
    assert prepare(settings_of(folder, *ONE_TO_TWO), folder / "cache").path != first.path
    other = prepare(settings_of(folder, *reversed(ONE_TO_TWO)), folder / "cache")
    assert other.pairs == tuple(reversed(ONE_TO_TWO))
