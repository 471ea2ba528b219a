"""Wirings: which state of the decoder is the attention's query, and which of its layers read the context.

In the way of the data: inside the **decoder**. Each wiring is a published decoder in a few lines of `forward`. The
attention (`nmt/model/attention.py`) or the fixed context in its place (`nmt/model/context.py`) is one line in each.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.attention import Attention
from nmt.model.connections import NoSkip
from nmt.model.dropout import DropoutMasks, drop
from nmt.model.layers import LayerOptions
from nmt.search.interface import Memory


class Stack(nn.Module):
    """A stack of recurrent layers, each of which reads the layer below and, if `context_size` is not 0, the context.

        s^l_t = LSTM_l([x^l_t ; c_t], s^l_{t-1})        x^{l+1}_t = connection_l(x^l_t, dropout(LN(s^l_t)))

    with x^1_t the input, LSTM for any cell, and s^l_t its hidden state where it is an output. count: layers in this
    stack. upper: whether the input is the output of another recurrent layer, so that the lowest layer has a connection
    around it too.
    """

    uses_context: Final[bool]

    def __init__(
        self, options: LayerOptions, count: int, input_size: int, context_size: int, *, upper: bool = False
    ) -> None:
        super().__init__()
        self.uses_context = context_size > 0
        self.tensors_per_state = 0
        """tensors in the state of a layer"""
        self.cells, self.norms, self.connections = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        size = input_size
        for depth in range(count):
            cell = options.cell(size + context_size, options.hidden_size)
            connection = (options.connection if depth or upper else NoSkip)(size, options.hidden_size)
            self.tensors_per_state = cell.tensors_per_state
            self.cells.append(cell)
            self.norms.append(options.norm(options.hidden_size))
            self.connections.append(connection)
            size = connection.size
        self.size = size
        """width of the outputs"""

    def forward(
        self, inputs: Tensor, context: Tensor, state: list[Tensor], masks: list[Tensor | None]
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the layers on `inputs` (N, T, I) and `context` (N, T, D), with one dropout mask per layer.

        Returns the outputs (N, T, size) and the next state.
        """
        outputs = inputs
        next_state: list[Tensor] = []
        for i, (cell, norm, connection) in enumerate(zip(self.cells, self.norms, self.connections)):  # noqa: B905 (TorchScript)
            cell_inputs = torch.cat([outputs, context], dim=-1) if self.uses_context else outputs
            start = len(next_state)
            hidden, layer_state = cell(cell_inputs, state[start : start + self.tensors_per_state])
            outputs = connection(outputs, drop(norm(hidden), masks[i]))
            next_state = next_state + layer_state
        return outputs, next_state


class Wiring(nn.Module):
    """The base of all wirings."""

    parallel: Final[bool]
    size: int
    """width of the outputs"""

    def __init__(self, options: LayerOptions, attention: Attention, tensors_per_state: int, parallel: bool) -> None:
        super().__init__()
        self.attention = attention
        self.tensors_per_state = tensors_per_state
        """tensors in the state of a layer"""
        self.parallel = parallel
        """whether all target positions can be computed at once"""
        self.layer_sizes = [options.hidden_size] * options.count

    def attend(self, query: Tensor, memory: Memory, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute context (N, T, D) and weights (N, T, S) for `query` (N, T, H) from the memory of B sentences.

        `mask` is the dropout mask of the context. N = B * K.
        """
        rows, length = query.size(0), query.size(1)
        # The K rows of a sentence share its memory, so their queries are computed together.
        context, weights = self.attention(query.reshape(memory.mask.size(0), -1, query.size(2)), memory)
        context = context.reshape(rows, length, context.size(2))
        return drop(context, mask), weights.reshape(rows, length, weights.size(2))


class GNMT(Wiring):
    """The default: layer 1 is the query, the layers above it read the context (after Wu et al. 2016, 3).

        s1_t = LSTM_1(y_{t-1}, s1_{t-1})                        a state of the target prefix
        c_t  = attention(s1_t, source)                          its context
        sl_t = LSTM_l([s(l-1)_t ; c_t], sl_{t-1})               the upper layers read both

    No query depends on the context of the previous step. So in training each layer and the attention are computed for
    all target positions at once.
    """

    def __init__(self, options: LayerOptions, attention: Attention, input_size: int) -> None:
        first = options.cell(input_size, options.hidden_size)
        super().__init__(options, attention, first.tensors_per_state, parallel=True)
        self.first = first
        self.norm = options.norm(options.hidden_size)
        self.upper = Stack(options, options.count - 1, options.hidden_size, attention.context_size, upper=True)
        self.size = self.upper.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: DropoutMasks
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Process `inputs` (N, T, I) from `state`, with the memory of B sentences, N = B * K.

        Returns outputs (N, T, size), context (N, T, D), the next state and the attention weights (N, T, S).
        """
        first, first_state = self.first(inputs, state[: self.tensors_per_state])
        query = self.norm(first)
        context, weights = self.attend(query, memory, masks.context)
        upper_inputs = drop(query, masks.layers[0])
        outputs, upper_state = self.upper(upper_inputs, context, state[self.tensors_per_state :], masks.layers[1:])
        return outputs, context, first_state + upper_state, weights


class Bahdanau(Wiring):
    """The top state of the previous step is the query, and all layers read the context (Bahdanau et al. 2015, A.1.2).

        c_t = attention(s_{t-1}, source)        s_t = LSTM([y_{t-1} ; c_t], s_{t-1})

    With a fixed context this is the decoder of Cho et al. 2014; as no query is needed, all positions are computed at
    once.
    """

    def __init__(self, options: LayerOptions, attention: Attention, input_size: int) -> None:
        stack = Stack(options, options.count, input_size, attention.context_size)
        super().__init__(options, attention, stack.tensors_per_state, parallel=not attention.query_dependent)
        self.stack = stack
        self.size = stack.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: DropoutMasks
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Process `inputs` (N, T, I) from `state`, see `GNMT.forward`; T is 1 if the context depends on the query."""
        query = state[-self.tensors_per_state].unsqueeze(1).expand(-1, inputs.size(1), -1)
        context, weights = self.attend(query, memory, masks.context)
        outputs, next_state = self.stack(inputs, context, state, masks.layers)
        return outputs, context, next_state, weights


class Luong(Wiring):
    """The top layer is the query, and the readout alone reads the context (Luong et al. 2015, 3.1).

    s_t = LSTM(y_{t-1}, s_{t-1})        c_t = attention(s_t, source)
    """

    def __init__(self, options: LayerOptions, attention: Attention, input_size: int) -> None:
        stack = Stack(options, options.count, input_size, 0)
        super().__init__(options, attention, stack.tensors_per_state, parallel=True)
        self.stack = stack
        self.size = stack.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: DropoutMasks
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Process `inputs` (N, T, I) from `state`, see `GNMT.forward`."""
        # A stack without context ignores its second argument.
        outputs, next_state = self.stack(inputs, inputs, state, masks.layers)
        context, weights = self.attend(outputs, memory, masks.context)
        return outputs, context, next_state, weights


class Conditional(Wiring):
    """Two transitions per step, the first for the query, the second with the context (Nematus: Sennrich et al. 2017).

        s'_t = LSTM_a(y_{t-1}, s_{t-1})        c_t = attention(s'_t, source)        s_t = LSTM_b(c_t, s'_t)

    The layers above read [s_t ; c_t].
    """

    def __init__(self, options: LayerOptions, attention: Attention, input_size: int) -> None:
        first = options.cell(input_size, options.hidden_size)
        super().__init__(options, attention, first.tensors_per_state, parallel=False)
        self.first = first
        self.second = options.cell(attention.context_size, options.hidden_size)
        self.norm = options.norm(options.hidden_size)
        self.upper = Stack(options, options.count - 1, options.hidden_size, attention.context_size, upper=True)
        self.size = self.upper.size

    def forward(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: DropoutMasks
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Process `inputs` (N, 1, I) from `state`, see `GNMT.forward`."""
        query, query_state = self.first(inputs, state[: self.tensors_per_state])
        context, weights = self.attend(query, memory, masks.context)
        second, first_state = self.second(context, query_state)
        upper_inputs = drop(self.norm(second), masks.layers[0])
        outputs, upper_state = self.upper(upper_inputs, context, state[self.tensors_per_state :], masks.layers[1:])
        return outputs, context, first_state + upper_state, weights


WIRINGS = {"gnmt": GNMT, "bahdanau": Bahdanau, "luong": Luong, "conditional": Conditional}
