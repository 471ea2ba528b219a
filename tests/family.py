"""The model family as data: its options and their values, and members that stand for all combinations.

The options and values are read from the config's own types, so that a new one is tested without touching the tests. A
*choice* gives every option one value, by dotted key; `member` makes the config of it, in sizes that fit each other.
`covering_array` has every pair of values of any two options in some member: most mistakes take one or two options
to show (Kuhn, Wallace & Gallo 2004), and the full product has millions of members.
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
"""the numbers that are tried of options which take any"""
SIZES = {"embedding": 6, "encoder.hidden": 4, "decoder.hidden": 7, "decoder.attention_size": 10}
"""widths: no two alike, so that none is taken for another"""
DROPOUTS = ("dropout", "dropout_embedding", "dropout_word")


def _options() -> dict[str, tuple[Any, ...]]:
    """Every option of the model but its sizes and dropouts, with the values to try."""
    found: dict[str, tuple[Any, ...]] = {}
    for key, field in known_options(ModelConfig):
        if key in SIZES or key in DROPOUTS:
            continue
        if get_origin(field.annotation) is Literal:
            found[key] = get_args(field.annotation)
        elif field.annotation is bool:
            found[key] = (False, True)
        else:
            found[key] = COUNTS[key]  # a KeyError: say above which numbers of the new option are to be tried
    return found


OPTIONS = _options()
DEFAULTS = {key: field.default for key, field in known_options(ModelConfig) if key in OPTIONS}


def member(choice: Choice, **options: Any) -> ModelConfig:
    """The config of `choice`, without dropout, in tiny sizes; `options` replace keys of the model's section.

    Luong's dot product needs states of one width on both sides. Raises `ValidationError` where the config does.
    """
    values = nested({**dict.fromkeys(DROPOUTS, 0.0), **SIZES, **choice})
    if choice["decoder.attention"] == "luong_dot":
        memory = EncoderConfig(**{**values["encoder"], "hidden": 1}).memory_size
        query = DecoderConfig(**{**values["decoder"], "hidden": 1}).query_size
        width = lcm(4 * memory, 4 * query)
        values["encoder"]["hidden"], values["decoder"]["hidden"] = width // memory, width // query
    return ModelConfig.model_validate({**values, **options})


def nested(flat: Choice) -> dict[str, Any]:
    """Sections of what is given by dotted key."""
    values: dict[str, Any] = {}
    for key, value in flat.items():
        *section, option = key.split(".")
        (values.setdefault(section[0], {}) if section else values)[option] = value
    return values


def is_valid(choice: Choice) -> bool:
    """Whether the config accepts the choice."""
    try:
        member(choice)
    except ValidationError:
        return False
    return True


Value = tuple[str, Any]


def pairs_of(choice: Choice) -> set[frozenset[Value]]:
    """All pairs of an option's value with another option's."""
    return {frozenset(pair) for pair in combinations(choice.items(), 2)}


def all_pairs() -> list[frozenset[Value]]:
    """The pairs that a covering array is made of, those that the config refuses included."""
    values = [(key, value) for key in OPTIONS for value in OPTIONS[key]]
    return [frozenset({one, other}) for one, other in combinations(values, 2) if one[0] != other[0]]


@cache
def covering_array(candidates: int = 5, seed: int = 1) -> tuple[Choice, ...]:
    """Choices in which every pair of values occurs that the config accepts (greedy, after AETG: Cohen et al. 1997).

    Each next choice begins as a random valid one with a pair that is still missing; then each other option, in random
    order, takes the value with most missing pairs that keeps the choice valid. The best of some candidates is taken.
    A pair that no valid choice is found for is given up: a test holds that there is none too many.
    """
    draw = random.Random(seed)
    left = dict.fromkeys(all_pairs())  # a set that keeps its order
    partners: dict[Value, set[Value]] = {}
    for one, other in left:
        partners.setdefault(one, set()).add(other)
        partners.setdefault(other, set()).add(one)
    array: list[Choice] = []
    while left:
        first = next(iter(left))
        done = {first}
        choice = random_choice(draw, dict(first), tries=200)
        if choice:
            found = [_improve(choice, dict(first), partners, draw) for _ in range(candidates)]
            array.append(max(found, key=lambda choice: len(pairs_of(choice) & left.keys())))
            done = pairs_of(array[-1])
        for pair in done:
            left.pop(pair, None)
            one, other = pair
            partners[one].discard(other)
            partners[other].discard(one)
    return tuple(array)


def random_choice(draw: random.Random, given: Choice, tries: int = 10_000) -> Choice:
    """A valid choice with the values `given`, all such as likely; empty if none of so many tries is valid."""
    for _ in range(tries):
        choice = {key: given.get(key, draw.choice(values)) for key, values in OPTIONS.items()}
        if is_valid(choice):
            return choice
    return {}


def _improve(choice: Choice, given: Choice, partners: Mapping[Value, set[Value]], draw: random.Random) -> Choice:
    """`choice` with other valid values of the options not `given`: those with most `partners` among the others."""
    better, settled = dict(choice), set(given.items())
    for key in draw.sample(list(OPTIONS), len(OPTIONS)):
        if key not in given:
            values = draw.sample(OPTIONS[key], len(OPTIONS[key]))
            values.sort(key=lambda value: -len(partners[key, value] & settled))
            better[key] = next(value for value in values if is_valid({**better, key: value}))
            settled.add((key, better[key]))
    return better


def each_value(array: Sequence[Choice]) -> list[Choice]:
    """A few choices of `array` in which every value of every option occurs (greedy set cover)."""
    missing = {value for choice in array for value in choice.items()}
    few: list[Choice] = []
    while missing:
        few.append(max(array, key=lambda choice: len(missing & choice.items())))
        missing -= few[-1].items()
    return few


def random_member(seed: int) -> Choice:
    """A valid choice from the full product, each as likely as any other."""
    return random_choice(random.Random(seed), {})


def name(choice: Choice) -> str:
    """What differs from the defaults, as a test's id."""
    parts = []
    for key, value in choice.items():
        if value == DEFAULTS[key]:
            continue
        *section, option = key.split(".")
        side = "".join(part[:3] + "." for part in section)
        here = [values for other, values in OPTIONS.items() if other.split(".")[:-1] == section]
        if isinstance(value, bool):
            parts.append(f"{side}{option}" if value else f"{side}no_{option}")
        elif isinstance(value, int):
            parts.append(f"{side}{option}{value}")
        else:
            alone = value != "none" and sum(value in values for values in here) == 1
            parts.append(f"{side}{value}" if alone else f"{side}{option}_{value}")
    return "-".join(parts) or "default"


def seeded(config: ModelConfig, vocabulary: int, seed: int = 0) -> Seq2Seq:
    """A model in evaluation mode, all of whose parameters are random: zeros and ones hide mistakes."""
    torch.manual_seed(seed)
    model = Seq2Seq(config, vocabulary).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data[PAD] = 0
    return model
