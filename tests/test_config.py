"""Configs: unknown keys, overrides, digests, and the files that come with the package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import ValidationError

from nmt.cli.train_options import parse
from nmt.config import CONFIGS, Config, TrainingConfig, known_options, load_config, make_config
from nmt.errors import ConfigError

MINIMAL = {"data": {}, "training": {"max_steps": 1}}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_configs_of_the_package_load_and_explain_every_key(path: Path) -> None:
    load_config(path)
    for line in path.read_text("utf-8").splitlines():
        body = line.strip()
        if body and not body.startswith("#") and not body.endswith(":"):
            assert "#" in body, f"{path.name}: {body!r} is not explained"


@pytest.mark.parametrize(
    ("values", "key", "suggestion"),
    [
        ({"trainning": {}}, "trainning", "training"),
        ({"training": {"max_steps": 1, "learning_rat": 1}}, "training.learning_rat", "training.learning_rate"),
        ({"model": {"encoder": {"hiden": 3}}}, "model.encoder.hiden", "model.encoder.hidden"),
        ({"search": {"beem": 3}}, "search.beem", "search.beam"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(values: dict[str, object], key: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key {key}; did you mean {suggestion}") as caught:
        make_config({**MINIMAL, **values}, origin="my.yaml")
    assert str(caught.value).startswith("my.yaml: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.train_src", "a.en", "a list of file names, e.g. [a.en, b.en]"),
        ("data.train_src", [1], "a list of file names, e.g. [a.en, b.en]"),
        ("data.valid_src", ["a.en"], "a path, or null"),
        ("data.directions", "en-de", "a list of sections"),
        ("data.source_language", "", "non-empty text"),
        ("data.units", "syllable", "one of unigram, bpe, char, word"),
        ("data.deduplicate", "perhaps", "true or false"),
        ("data.character_coverage", 2, "a number > 0 and <= 1"),
        ("model", 3, "a section"),
        ("model.dropout", 1.5, "a number >= 0 and < 1"),
        ("training.betas", [0.9], "two numbers, e.g. [0.9, 0.98]"),
        ("training.betas", [0.9, "x"], "two numbers, e.g. [0.9, 0.98]"),
        ("training.learning_rate", -1, "a number > 0"),
        ("training.max_steps", 1.5, "a whole number >= 1, or null"),
    ],
)
def test_a_bad_value_is_refused_with_what_its_key_takes(key: str, value: object, expected: str) -> None:
    values: dict[str, Any] = {"data": {}, "model": {}, "training": {"max_steps": 1}}
    *section, name = key.split(".")
    (values[section[0]] if section else values)[name] = value
    with pytest.raises(ConfigError) as caught:
        make_config(values, origin="my.yaml")
    assert str(caught.value).startswith(f"my.yaml: {key}: expected {expected}; got ")
    if section:  # as an option, it is the option that is to blame
        with pytest.raises(ConfigError) as caught:
            make_config(MINIMAL, [(key, json.dumps(value))], origin="my.yaml")
        assert str(caught.value) == f"--{key} {json.dumps(value)}: expected {expected}"


def test_options_that_do_not_fit_together_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^my\.yaml with --model\.decoder\.heads 3: model\.decoder: attention_size"):
        make_config(MINIMAL, [("model.decoder.heads", "3"), ("search.beam", "2")], origin="my.yaml")
    with pytest.raises(ConfigError, match=r"^my\.yaml: training: no bound"):
        make_config({"data": {}, "training": {}}, [("search.beam", "2")], origin="my.yaml")


def test_an_error_in_a_direction_names_it() -> None:
    direction = {"source_language": "en", "target_language": "de", "train_src": "a.en"}
    with pytest.raises(ConfigError, match=r"^config: data\.directions\.0\.train_src: expected a list of file names"):
        make_config({**MINIMAL, "data": {"directions": [direction]}})
    with pytest.raises(ConfigError, match=r"^--data\.directions \[\{.*: data\.directions\.0\.train_src: expected"):
        make_config(MINIMAL, [("data.directions", json.dumps([direction]))])


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--training\.max_step: unknown option; did you mean --training\.max_steps"):
        make_config(MINIMAL, [("training.max_step", "3")])


def test_overrides_replace_values() -> None:
    config = make_config(
        MINIMAL, [("model.encoder.hidden", "17"), ("data.root", "/x"), ("training.max_minutes", "0.5")]
    )
    assert config.model.encoder.hidden == 17
    assert config.data.root == Path("/x")
    assert config.training.max_minutes == 0.5


def test_a_run_needs_a_bound() -> None:
    with pytest.raises(ConfigError, match="no bound"):
        make_config({"data": {}, "training": {}})


def test_it_is_frozen_and_its_digest_names_it() -> None:
    config = make_config(MINIMAL)
    with pytest.raises(ValidationError):
        config.training.seed = 2  # type: ignore[misc]
    assert config.digest() == make_config(MINIMAL).digest() != make_config(MINIMAL, [("training.seed", "2")]).digest()
    assert config.digest() == make_config(MINIMAL, [("data.root", "/elsewhere"), ("training.threads", "1")]).digest()


def test_a_config_survives_its_own_yaml(tmp_path: Path) -> None:
    config = make_config(MINIMAL, [("data.train_src", "[a, b]"), ("training.betas", "[0.8, 0.9]")])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), "utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize("text", ["[1, 2]", "data: [", "\x00"])
def test_what_is_no_config_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(path)


def test_the_help_explains_every_key_with_its_choices_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    out = capsys.readouterr().out
    for key, field in known_options():
        assert field.description and f"  --{key}  " in out
        if get_origin(field.annotation) is Literal:
            choices = ", ".join(get_args(field.annotation))
            assert f"  --{key}  one of {choices} (default: {field.default})\n" in out
    assert "--training.learning_rate  a number > 0 (default: 0.001)\n" in out
    assert "--data.cache  a path (default: data/cache)\n" in out
    assert "training only checks it for overlap" in " ".join(out.split()), "training does not score the test text"
    assert set(Config.model_fields) == {"data", "model", "training", "search"}


def test_digests_of_published_results_stay() -> None:
    """With the settings of one direction, and of several."""
    assert load_config(CONFIGS / "multi30k-en-de.yaml").digest() == "aff45494641c"
    assert load_config(CONFIGS / "multi30k-en-de-fr.yaml").digest() == "0de33c519785"


def test_importing_the_config_loads_no_torch() -> None:
    code = "import sys, nmt.config; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_nothing_says_that_the_learning_rate_falls_to_zero() -> None:
    """It falls to `final_learning_rate`, 2 % of the peak."""
    assert TrainingConfig.model_fields["final_learning_rate"].default == 0.02
    for path in CONFIGS.glob("*.yaml"):
        assert "zero" not in path.read_text("utf-8"), path
