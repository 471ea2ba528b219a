"""Equal budgets: the hidden size with which a member of the family has a given number of parameters.

In the way of the data: plan -> **budget** -> config. Sizes are tied to one number h, so that there is nothing to tune:
the encoder's states (all directions together) and the decoder's have h numbers, the attention's perceptron h / 2.
"""

from __future__ import annotations

import torch

from nmt.config import ModelConfig
from nmt.model.seq2seq import Seq2Seq

MULTIPLE = 4
"""h is a multiple of twice this: half of it is a direction of the encoder, or the attention"""


def sized(config: ModelConfig, hidden: int) -> ModelConfig:
    """The same model with h = `hidden`."""
    values = config.model_dump()
    values["encoder"]["hidden"] = hidden // 2 if config.encoder.bidirectional else hidden
    values["decoder"]["hidden"] = hidden
    values["decoder"]["attention_size"] = hidden // 2
    return ModelConfig.model_validate(values)


def count_parameters(config: ModelConfig, vocabulary: int) -> int:
    """Numbers that training may change, tied ones once; no memory is taken for them."""
    with torch.device("meta"):
        model = Seq2Seq(config, vocabulary)
    return sum(parameter.numel() for parameter in model.parameters())


def fit(config: ModelConfig, vocabulary: int, parameters: int) -> tuple[ModelConfig, int, int]:
    """The model of the size nearest to `parameters`: its config, h, and its number of parameters."""
    step = 2 * MULTIPLE

    def count(steps: int) -> int:
        return count_parameters(sized(config, steps * step), vocabulary)

    high = 1
    while count(high) < parameters:
        high *= 2
    low = high // 2  # count(low) < parameters <= count(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    best = min((steps for steps in (low, high) if steps), key=lambda steps: abs(count(steps) - parameters))
    return sized(config, best * step), best * step, count(best)
