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
    """A stack of recurrent layers with attention above the first, and a deep output (Wu et al. 2016).

        s1_t = LSTM_1(y_{t-1}, s1_{t-1})                        what was said so far asks the question
        c_t  = attention(s1_t, source)                          the source answers
        sl_t = LSTM_l([s(l-1)_t ; c_t], sl_{t-1})               the layers above read both
        r_t  = tanh(W [sL_t ; c_t ; y_{t-1}])                   deep output (Pascanu et al. 2014)

    The context of one step is not fed to the next one's query, so in training each layer and the attention run over
    all target positions at once; a decoding step is the same code on a target of length one.
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
        self.first = LSTM(input_size, hidden_size)
        self.attention = attention
        self.upper = nn.ModuleList(LSTM(hidden_size + memory_size, hidden_size) for _ in range(layers - 1))
        self.first_norm = nn.LayerNorm(hidden_size) if layer_norm else nn.Identity()
        self.upper_norms = nn.ModuleList(nn.LayerNorm(hidden_size) if layer_norm else nn.Identity() for _ in self.upper)
        self.initial = nn.Linear(memory_size, layers * hidden_size)
        self.readout = nn.Linear(hidden_size + memory_size + input_size, output_size)
        self.dropout = VariationalDropout(dropout)

    def initial_state(self, summary: Tensor) -> list[Tensor]:
        """The state before the first piece, from the encoder's `summary` (B, D): [h1, c1, h2, c2, ...], each (B, H)."""
        state: list[Tensor] = []
        for hidden in torch.tanh(self.initial(summary)).chunk(len(self.upper) + 1, dim=-1):
            state += [hidden, torch.zeros_like(hidden)]
        return state

    def forward(self, embedded: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read the previous pieces `embedded` (N, T, E) from `state`, looking at `memory` of B sentences, N = B * K.

        Returns the readout (N, T, output_size), the state behind the last piece and the attention weights (N, T, S).
        """
        below, next_state = self.first(embedded, state[:2])
        query = self.first_norm(below)
        # The K rows of a sentence share its memory: they ask it together.
        context, weights = self.attention(query.reshape(memory.mask.size(0), -1, query.size(2)), memory)
        context = self.dropout(context.reshape(query.size(0), query.size(1), -1))
        outputs = self.dropout(query)
        for i, (layer, norm) in enumerate(zip(self.upper, self.upper_norms)):  # noqa: B905 (TorchScript has no strict=)
            above, above_state = layer(torch.cat([outputs, context], dim=-1), state[2 * i + 2 : 2 * i + 4])
            outputs = self.dropout(norm(above))
            next_state = next_state + above_state
        readout = torch.tanh(self.readout(torch.cat([outputs, context, embedded], dim=-1)))
        return self.dropout(readout), next_state, weights.reshape(query.size(0), query.size(1), -1)
