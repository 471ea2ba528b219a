"""The model family as data: its options with their values, and a selection of members that covers all pairs of values.

The options and values are read from the types of the config, so a new one is tested without a change to the tests. A
*choice* maps every option, by dotted key, to one value; `member` builds its config, with sizes that fit each other. In
`covering_array` every pair of values of any two options occurs in some member. Most defects show with a combination of
one or two options (Kuhn, Wallace & Gallo 2004), and the full product has millions of members.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from math import lcm
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import ValidationError
from torch import nn

from nmt.config import DecoderConfig, EncoderConfig, ModelConfig, known_options
from nmt.model.seq2seq import Seq2Seq
from nmt.text.special_ids import PAD

Choice = Mapping[str, Any]

COUNTS = {"encoder.layers": (1, 2, 3), "decoder.layers": (1, 2, 3), "decoder.heads": (1, 2)}
"""the values to test of options that take any number"""
SIZES = {"embedding": 6, "encoder.hidden": 4, "decoder.hidden": 7, "decoder.attention_size": 10}
"""widths, all different, so that a mix-up of two of them fails"""
DROPOUTS = ("dropout", "dropout_embedding", "dropout_word")


def _options() -> dict[str, tuple[Any, ...]]:
    """Return every option of the model, except sizes and dropouts, with the values to test."""
    found: dict[str, tuple[Any, ...]] = {}
    for key, field in known_options(ModelConfig):
        if key in SIZES or key in DROPOUTS:
            continue
        if get_origin(field.annotation) is Literal:
            found[key] = get_args(field.annotation)
        elif field.annotation is bool:
            found[key] = (False, True)
        else:
            found[key] = COUNTS[key]  # a KeyError here: add the numbers to test for the new option to COUNTS
    return found


OPTIONS = _options()
DEFAULTS = {key: field.default for key, field in known_options(ModelConfig) if key in OPTIONS}


def member(choice: Choice, **options: Any) -> ModelConfig:
    """Build the config of `choice`, in tiny sizes and without dropout; `options` replace keys of the model's section.

    Luong's dot product needs encoder and decoder states of equal width. Raises `ValidationError` if the config does.
    """
    values = nested({**dict.fromkeys(DROPOUTS, 0.0), **SIZES, **choice})
    if choice["decoder.attention"] == "luong_dot":
        memory = EncoderConfig(**{**values["encoder"], "hidden": 1}).memory_size
        query = DecoderConfig(**{**values["decoder"], "hidden": 1}).query_size
        width = lcm(4 * memory, 4 * query)
        values["encoder"]["hidden"], values["decoder"]["hidden"] = width // memory, width // query
    return ModelConfig.model_validate({**values, **options})


def nested(flat: Choice) -> dict[str, Any]:
    """Convert dotted keys to nested sections."""
    values: dict[str, Any] = {}
    for key, value in flat.items():
        *section, option = key.split(".")
        (values.setdefault(section[0], {}) if section else values)[option] = value
    return values


def is_valid(choice: Choice) -> bool:
    """Return whether the config accepts the choice."""
    try:
        member(choice)
    except ValidationError:
        return False
    return True


Value = tuple[str, Any]


def pairs_of(choice: Choice) -> set[frozenset[Value]]:
    """Return all pairs of values of two different options in `choice`."""
    return {frozenset(pair) for pair in combinations(choice.items(), 2)}


def all_pairs() -> list[frozenset[Value]]:
    """Return all pairs of values of two different options, including those that the config rejects."""
    values = [(key, value) for key in OPTIONS for value in OPTIONS[key]]
    return [frozenset({one, other}) for one, other in combinations(values, 2) if one[0] != other[0]]


@cache
def covering_array(candidates: int = 5, seed: int = 1) -> tuple[Choice, ...]:
    """Return choices that contain every pair of values that the config accepts (greedy, after AETG: Cohen et al. 1997).

    Each new choice starts as a random valid one that contains a missing pair. Then each other option, in random order,
    takes the value with the most missing pairs that keeps the choice valid. The best of `candidates` such choices is
    added. A pair without a valid choice is skipped; a test checks that none is skipped wrongly.
    """
    draw = random.Random(seed)
    missing = dict.fromkeys(all_pairs())  # an ordered set
    partners: dict[Value, set[Value]] = {}
    for one, other in missing:
        partners.setdefault(one, set()).add(other)
        partners.setdefault(other, set()).add(one)
    array: list[Choice] = []
    while missing:
        first = next(iter(missing))
        done = {first}
        choice = random_choice(draw, dict(first), tries=200)
        if choice:
            found = [_improve(choice, dict(first), partners, draw) for _ in range(candidates)]
            array.append(max(found, key=lambda choice: len(pairs_of(choice) & missing.keys())))
            done = pairs_of(array[-1])
        for pair in done:
            missing.pop(pair, None)
            one, other = pair
            partners[one].discard(other)
            partners[other].discard(one)
    return tuple(array)


def random_choice(draw: random.Random, given: Choice, tries: int = 10_000) -> Choice:
    """Draw a valid choice with the values `given`, all equally likely; empty if none of `tries` draws is valid."""
    for _ in range(tries):
        choice = {key: given.get(key, draw.choice(values)) for key, values in OPTIONS.items()}
        if is_valid(choice):
            return choice
    return {}


def _improve(choice: Choice, given: Choice, partners: Mapping[Value, set[Value]], draw: random.Random) -> Choice:
    """Return `choice` with the options not `given` changed to the valid values with the most missing pairs.

    `partners` maps a value to the values with which its pair is missing.
    """
    better, settled = dict(choice), set(given.items())
    for key in draw.sample(list(OPTIONS), len(OPTIONS)):
        if key not in given:
            values = draw.sample(OPTIONS[key], len(OPTIONS[key]))
            values.sort(key=lambda value: -len(partners[key, value] & settled))
            better[key] = next(value for value in values if is_valid({**better, key: value}))
            settled.add((key, better[key]))
    return better


def each_value(array: Sequence[Choice]) -> list[Choice]:
    """Select a few choices of `array` that contain every value of every option (greedy set cover)."""
    missing = {value for choice in array for value in choice.items()}
    selected: list[Choice] = []
    while missing:
        selected.append(max(array, key=lambda choice: len(missing & choice.items())))
        missing -= selected[-1].items()
    return selected


def random_member(seed: int) -> Choice:
    """Draw a valid choice from the full product, all equally likely."""
    return random_choice(random.Random(seed), {})


def name(choice: Choice) -> str:
    """Return a test id for the choice: the values that differ from the defaults."""
    parts = []
    for key, value in choice.items():
        if value == DEFAULTS[key]:
            continue
        *section, option = key.split(".")
        side = "".join(part[:3] + "." for part in section)
        section_values = [values for other, values in OPTIONS.items() if other.split(".")[:-1] == section]
        if isinstance(value, bool):
            parts.append(f"{side}{option}" if value else f"{side}no_{option}")
        elif isinstance(value, int):
            parts.append(f"{side}{option}{value}")
        else:
            unambiguous = value != "none" and sum(value in values for values in section_values) == 1
            parts.append(f"{side}{value}" if unambiguous else f"{side}{option}_{value}")
    return "-".join(parts) or "default"


def seeded(config: ModelConfig, vocabulary: int, seed: int = 0) -> Seq2Seq:
    """Build a model in evaluation mode with all parameters random, as zeros and ones can hide defects."""
    torch.manual_seed(seed)
    model = Seq2Seq(config, vocabulary).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data[PAD] = 0
    return model
