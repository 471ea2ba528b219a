"""Configs: unknown keys, overrides, digests, and the files that come with the package."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nmt.config import CONFIGS, Config, known_options, load_config, make_config
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
    ("key", "value"),
    [("training.learning_rate", "-1"), ("model.dropout", "1.5"), ("search.beam", "zero"), ("data.units", "syllable")],
)
def test_a_bad_value_names_its_key(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        make_config(MINIMAL, [(key, value)])


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--training\.max_step: unknown option; did you mean training\.max_steps"):
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


def test_every_option_has_a_help_text() -> None:
    assert all(field.description for _, field in known_options())
    assert set(Config.model_fields) == {"data", "model", "training", "search"}
