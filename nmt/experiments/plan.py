"""The plan of an experiment: its members, corpora and settings, read from YAML.

In the way of the data: attention.yaml -> **plan** -> a `Config` for each member. A member's settings are those of
`base`, overridden by those of the corpus, of the member that it is `like`, and its own; `budget` sets the hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from nmt.config import Config, Section, make_config, nearest
from nmt.errors import ConfigError
from nmt.experiments.budget import fit

ATTENTION = Path(__file__).with_name("attention.yaml")
"""the plan of the experiment with attention"""
FAMILY = ATTENTION.with_name("family.yaml")
"""the plan that varies each option by itself"""


class MemberPlan(Section):
    """How a member differs from `base`, or from another member."""

    title: str
    """its name in figures and tables"""
    like: str = ""
    """the member whose settings it inherits"""
    model: dict[str, Any] = Field(default_factory=dict)
    """as in a config"""
    training: dict[str, Any] = Field(default_factory=dict)
    """as in a config, say another learning rate"""


class CorpusPlan(Section):
    """A corpus with the settings that depend on it."""

    parameters: int = Field(ge=1)
    """budget of each member"""
    valid_pairs: int | None = Field(None, ge=1)
    """number of validation pairs used, the first ones; None for all"""
    length_bins: tuple[int, ...]
    """BLEU by length: the longest source of each bin, in words; longer ones make a last bin"""
    gradient_pieces: int = Field(ge=2)
    """least length, in pieces, of the sources on which gradients are measured"""
    alignment_words: tuple[int, ...]
    """draw the attention in test sentences of these lengths, in words"""
    data: dict[str, Any]
    """as in a config"""
    model: dict[str, Any] = Field(default_factory=dict)
    """as in a config"""
    training: dict[str, Any] = Field(default_factory=dict)
    """as in a config"""


class Plan(Section):
    """The whole file."""

    base: dict[str, Any]
    """sections of a config, for all members and corpora"""
    baseline: str
    """the member whose speed the others are compared with"""
    gradients: tuple[str, ...]
    """members whose gradients are measured"""
    members: dict[str, MemberPlan]
    """by name, in the order of tables"""
    corpora: dict[str, CorpusPlan]
    """by name"""


@dataclass(frozen=True)
class Member:
    """A member, ready to be trained."""

    name: str
    title: str
    config: Config
    hidden: int
    """h, see `budget`"""
    parameters: int


def load_plan(path: Path = ATTENTION) -> Plan:
    """Read a plan; raises `ConfigError` that names file and key."""
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def choose(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """Return `known[name]`; raises `ConfigError` with the known names."""
    if name not in known:
        raise ConfigError(f"--{kind} {name}: unknown{nearest(name, known)}; choose from {', '.join(known)}")
    return known[name]


def config_of(plan: Plan, corpus: str, member: str, overrides: Sequence[tuple[str, str]] = ()) -> Config:
    """Return the config of a member on a corpus, before `budget` sets its sizes."""
    part: CorpusPlan = choose("corpus", corpus, plan.corpora)
    values: dict[str, Any] = json.loads(json.dumps(plan.base))
    _merge(values, {"data": part.data, "model": part.model, "training": part.training})
    for ancestor in _line(plan, member):
        _merge(values, {"model": ancestor.model, "training": ancestor.training})
    return make_config(values, overrides, f"{corpus}, {member}")


def members_of(
    plan: Plan,
    corpus: str,
    names: Sequence[str],
    vocabulary: int,
    parameters: int,
    overrides: Sequence[tuple[str, str]] = (),
) -> list[Member]:
    """Return members for a corpus of `vocabulary` pieces, each of the size with about `parameters` parameters."""
    members = []
    for name in names:
        config = config_of(plan, corpus, name, overrides)
        model, hidden, count = fit(config.model, vocabulary, parameters)
        members.append(
            Member(name, plan.members[name].title, config.model_copy(update={"model": model}), hidden, count)
        )
    return members


def _line(plan: Plan, name: str) -> list[MemberPlan]:
    """Return a member and those it inherits from, the most general first."""
    member: MemberPlan = choose("members", name, plan.members)
    return [*_line(plan, member.like), member] if member.like else [member]


def _merge(values: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Update `values` with `update`, section by section."""
    for key, value in update.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = json.loads(json.dumps(value))
