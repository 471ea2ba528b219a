"""Equal budgets: the hidden size with which a member has a given number of parameters.

In the way of the data: plan -> **budget** -> config. All sizes follow from one number h, so that none has to be tuned:
the states of encoder (both directions together) and decoder have size h, the attention's hidden layer h / 2.
"""

from __future__ import annotations

import torch

from nmt.config import ModelConfig
from nmt.model.seq2seq import Seq2Seq

MULTIPLE = 4
"""h is a multiple of twice this, as one direction of the encoder and the attention have size h / 2"""


def sized(config: ModelConfig, hidden: int) -> ModelConfig:
    """Return the config of the same model with h = `hidden`."""
    values = config.model_dump()
    values["encoder"]["hidden"] = hidden // 2 if config.encoder.bidirectional else hidden
    values["decoder"]["hidden"] = hidden
    values["decoder"]["attention_size"] = hidden // 2
    return ModelConfig.model_validate(values)


def count_parameters(config: ModelConfig, vocabulary: int) -> int:
    """Count the parameters, tied ones once, without allocating them."""
    with torch.device("meta"):
        model = Seq2Seq(config, vocabulary)
    return sum(parameter.numel() for parameter in model.parameters())


def fit(config: ModelConfig, vocabulary: int, parameters: int) -> tuple[ModelConfig, int, int]:
    """Find h whose number of parameters is nearest to `parameters`; returns config, h and that number."""
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
