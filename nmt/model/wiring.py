"""Wirings: which state of the decoder asks the attention, and which layers read the answer.

In the way of the data: inside the **decoder**. Four published decoders, each a few lines of `forward`. What they ask
may be an attention (`nmt/attention.py`) or a fixed context (`nmt/context.py`): it is one line in each of them.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.attention import Attention
from nmt.model.connections import Connection, Straight
from nmt.model.dropout import drop
from nmt.model.recurrent import Recurrent
from nmt.search.interface import Memory


@dataclass(frozen=True)
class Layers:
    """What the layers of a decoder have in common."""

    cell: Callable[[int, int], Recurrent]
    """makes a recurrent layer of input and hidden size"""
    connection: Callable[[int, int], Connection]
    """makes what stands around each layer above the first"""
    hidden_size: int
    count: int
    layer_norm: bool

    def norm(self) -> nn.Module:
        """What a layer's output goes through."""
        return nn.LayerNorm(self.hidden_size) if self.layer_norm else nn.Identity()


class Stack(nn.Module):
    """Recurrent layers upon one another; each reads what is below it and, where `context_size` is not 0, the context.

        s^l_t = LSTM_l([x ; c_t], s^l_{t-1}),  x = y_{t-1} or s^{l-1}_t;  then layer norm, dropout and the connection

    count: how many. upper: whether they stand on another layer, so that the lowest of them is connected too. mask: the
    number of the lowest one's dropout mask.
    """

    reads_context: Final[bool]

    def __init__(
        self, layers: Layers, count: int, input_size: int, context_size: int, *, upper: bool = False, mask: int = 1
    ) -> None:
        super().__init__()
        self.reads_context = context_size > 0
        self.mask = mask
        self.states = 0
        """tensors in the state of a layer"""
        self.cells, self.norms, self.connections = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        size = input_size
        for depth in range(count):
            cell = layers.cell(size + context_size, layers.hidden_size)
            connect = (layers.connection if depth or upper else Straight)(size, layers.hidden_size)
            self.states = cell.states
            self.cells.append(cell)
            self.norms.append(layers.norm())
            self.connections.append(connect)
            size = connect.size
        self.size = size

    def forward(
        self, inputs: Tensor, context: Tensor, state: list[Tensor], masks: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Run `inputs` (N, T, I) and `context` (N, T, D) up the layers: outputs (N, T, size) and the next state."""
        outputs = inputs
        next_state: list[Tensor] = []
        for i, (cell, norm, connect) in enumerate(zip(self.cells, self.norms, self.connections)):  # noqa: B905 (TorchScript)
            reads = torch.cat([outputs, context], dim=-1) if self.reads_context else outputs
            begin = len(next_state)
            above, above_state = cell(reads, state[begin : begin + self.states])
            outputs = connect(outputs, drop(norm(above), masks, self.mask + i))
            next_state = next_state + above_state
        return outputs, next_state


class Wiring(nn.Module):
    """What the wirings share. Dropout masks: number 0 is for the context, number l for layer l."""

    parallel: Final[bool]
    size: int
    """width of the outputs"""

    def __init__(self, layers: Layers, attention: Attention, states: int, parallel: bool) -> None:
        super().__init__()
        self.attention = attention
        self.states = states
        """tensors in the state of a layer"""
        self.parallel = parallel
        """whether all target positions can be computed at once"""
        self.mask_sizes = [attention.context_size] + [layers.hidden_size] * layers.count

    def ask(self, query: Tensor, memory: Memory, masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The context (N, T, D) and weights (N, T, S) for `query` (N, T, H), at `memory` of B sentences, N = B * K."""
        rows, length = query.size(0), query.size(1)
        # The K rows of a sentence share its memory: they ask it together.
        context, weights = self.attention(query.reshape(memory.mask.size(0), -1, query.size(2)), memory)
        context = context.reshape(rows, length, context.size(2))
        return drop(context, masks, 0), weights.reshape(rows, length, weights.size(2))


class GNMT(Wiring):
    """The default: layer 1 asks, the layers above it read the answer (after Wu et al. 2016, 3).

        s1_t = LSTM_1(y_{t-1}, s1_{t-1})                        what was said so far asks the question
        c_t  = attention(s1_t, source)                          the source answers
        sl_t = LSTM_l([s(l-1)_t ; c_t], sl_{t-1})               the layers above read both

    The context of one step is not fed to the next one's query, so in training each layer and the attention run over
    all target positions at once.
    """

    def __init__(self, layers: Layers, attention: Attention, input_size: int) -> None:
        first = layers.cell(input_size, layers.hidden_size)
        super().__init__(layers, attention, first.states, parallel=True)
        self.first = first
        self.norm = layers.norm()
        self.upper = Stack(layers, layers.count - 1, layers.hidden_size, attention.context_size, upper=True, mask=2)
        self.size = self.upper.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Outputs (N, T, size), context (N, T, D), next state and weights (N, T, S) for `inputs` (N, T, I)."""
        first, first_state = self.first(inputs, state[: self.states])
        query = self.norm(first)
        context, weights = self.ask(query, memory, masks)
        outputs, upper_state = self.upper(drop(query, masks, 1), context, state[self.states :], masks)
        return outputs, context, first_state + upper_state, weights


class Bahdanau(Wiring):
    """The state of the step before asks, and all layers read the answer (Bahdanau et al. 2015, A.1.2).

        c_t = attention(s_{t-1}, source)        s_t = LSTM([y_{t-1} ; c_t], s_{t-1})

    With a fixed context it is the decoder of Cho et al. 2014, and no step has to wait for the one before.
    """

    def __init__(self, layers: Layers, attention: Attention, input_size: int) -> None:
        stack = Stack(layers, layers.count, input_size, attention.context_size)
        super().__init__(layers, attention, stack.states, parallel=not attention.looks)
        self.stack = stack
        self.size = stack.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """As in `GNMT`."""
        query = state[-self.states].unsqueeze(1).expand(-1, inputs.size(1), -1)
        context, weights = self.ask(query, memory, masks)
        outputs, next_state = self.stack(inputs, context, state, masks)
        return outputs, context, next_state, weights


class Luong(Wiring):
    """The top layer asks, and only the readout reads the answer (Luong et al. 2015, 3.1).

    s_t = LSTM(y_{t-1}, s_{t-1})        c_t = attention(s_t, source)
    """

    def __init__(self, layers: Layers, attention: Attention, input_size: int) -> None:
        stack = Stack(layers, layers.count, input_size, 0)
        super().__init__(layers, attention, stack.states, parallel=True)
        self.stack = stack
        self.size = stack.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """As in `GNMT`."""
        outputs, next_state = self.stack(inputs, inputs, state, masks)
        context, weights = self.ask(outputs, memory, masks)
        return outputs, context, next_state, weights


class Conditional(Wiring):
    """Two transitions a step: one reads the piece and asks, one reads the answer (Sennrich et al. 2017, Nematus, 2).

        s'_t = LSTM_a(y_{t-1}, s_{t-1})        c_t = attention(s'_t, source)        s_t = LSTM_b(c_t, s'_t)

    The layers above read [s_t ; c_t].
    """

    def __init__(self, layers: Layers, attention: Attention, input_size: int) -> None:
        first = layers.cell(input_size, layers.hidden_size)
        super().__init__(layers, attention, first.states, parallel=False)
        self.first = first
        self.second = layers.cell(attention.context_size, layers.hidden_size)
        self.norm = layers.norm()
        self.upper = Stack(layers, layers.count - 1, layers.hidden_size, attention.context_size, upper=True, mask=2)
        self.size = self.upper.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """As in `GNMT`; one position."""
        query, half = self.first(inputs, state[: self.states])
        context, weights = self.ask(query, memory, masks)
        second, first_state = self.second(context, half)
        outputs, upper_state = self.upper(drop(self.norm(second), masks, 1), context, state[self.states :], masks)
        return outputs, context, first_state + upper_state, weights


WIRINGS = {"gnmt": GNMT, "bahdanau": Bahdanau, "luong": Luong, "conditional": Conditional}
