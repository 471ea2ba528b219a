"""Decoder: the target sentence, one piece after another, with a look at the source before each.

In the way of the data: attention -> **decoder** -> vocabulary scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention import BahdanauAttention, Memory
from nmt.dropout import VariationalDropout
from nmt.recurrent import LSTM


class Decoder(nn.Module):
    """A stack of recurrent layers, each of which asks the attention, and a deep output.

        s1_t = LSTM_1(y_{t-1}, s1_{t-1})          c1_t = attention(s1_t)        the target so far asks the source
        sl_t = LSTM_l([s(l-1)_t ; c(l-1)_t])      cl_t = attention(sl_t)        a layer that saw the answers asks again
        r_t  = tanh(W [sL_t ; cL_t ; y_{t-1}])                                  deep output (Pascanu et al. 2014)

    With one layer this is the decoder of Luong et al. (2015); attention between the layers is that of Wu et al. (2016). No
    context is fed back to an earlier layer's next step, so in training each layer and its attention run over all target
    positions at once; a decoding step is the same code on a target of length one. What was looked at before is known to
    the upper layers, whose input it was.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        layers: int,
        attention: BahdanauAttention,
        memory_size: int,
        output_size: int,
        dropout: float,
        layer_norm: bool,
    ) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size + memory_size] * (layers - 1)
        self.layers = nn.ModuleList(LSTM(size, hidden_size) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) if layer_norm else nn.Identity() for _ in sizes)
        self.attention = attention
        self.initial = nn.Linear(memory_size, layers * hidden_size)
        self.readout = nn.Linear(hidden_size + memory_size + input_size, output_size)
        self.dropout = VariationalDropout(dropout)

    def initial_state(self, summary: Tensor) -> list[Tensor]:
        """The state before the first piece, from the encoder's `summary` (B, D): [h1, c1, h2, c2, ...], each (B, H)."""
        state: list[Tensor] = []
        for hidden in torch.tanh(self.initial(summary)).chunk(len(self.layers), dim=-1):
            state += [hidden, torch.zeros_like(hidden)]
        return state

    def forward(self, embedded: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read the previous pieces `embedded` (N, T, E) from `state`, looking at `memory` of B sentences, N = B * K.

        Returns the readout (N, T, output_size), the state behind the last piece and the top layer's attention weights
        (N, T, S).
        """
        rows, steps = embedded.size(0), embedded.size(1)
        inputs = embedded
        weights = embedded
        next_state: list[Tensor] = []
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):  # noqa: B905 (TorchScript has no strict=)
            outputs, layer_state = layer(inputs, state[2 * i : 2 * i + 2])
            next_state += layer_state
            outputs = norm(outputs)
            # The K rows of a sentence share its memory: they ask it together.
            context, weights = self.attention(outputs.reshape(memory.mask.size(0), -1, outputs.size(2)), memory)
            inputs = torch.cat([self.dropout(outputs), self.dropout(context.reshape(rows, steps, -1))], dim=-1)
        readout = torch.tanh(self.readout(torch.cat([inputs, embedded], dim=-1)))
        return self.dropout(readout), next_state, weights.reshape(rows, steps, -1)
