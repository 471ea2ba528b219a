"""A reference implementation of the model family: one sentence, one time step, one vector at a time.

It follows the equations of the papers and uses the weights of a `Seq2Seq`, but none of its code: no batches, no masks,
no fused kernels. A sentence is a list of vectors (·,). Equations: Bahdanau et al. 2015 (A.1.2, A.2.2), Luong et al.
2015, Ba et al. 2016 (eq. 20-22), Srivastava et al. 2015 (eq. 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nmt.config import ModelConfig
from nmt.model.recurrent import GRU, LSTM
from nmt.model.seq2seq import Seq2Seq

Vectors = list[Tensor]


def linear(layer: Any, x: Tensor) -> Tensor:
    """Compute W x + b."""
    product: Tensor = layer.weight @ x
    return product if layer.bias is None else product + layer.bias


def norm(layer: Any, x: Tensor) -> Tensor:
    """Compute g * (x - mean) / deviation + b (Ba et al. 2016, eq. 4), or the identity if the layer is one."""
    if isinstance(layer, nn.Identity):
        return x
    deviation = ((x - x.mean()) ** 2).mean().add(layer.eps).sqrt()
    normalised: Tensor = layer.weight * (x - x.mean()) / deviation + layer.bias
    return normalised


def advance(cell: Any, x: Tensor, state: Vectors) -> Vectors:
    """Compute one step of an RNN, GRU or LSTM layer: the next state, the output first."""
    h, size = state[0], state[0].size(0)
    a, u = norm(cell.input_norm, linear(cell.input, x)), norm(cell.hidden_norm, linear(cell.hidden, h))
    gates_a, gates_u = a.split(size), u.split(size)
    if isinstance(cell, LSTM):
        i, f, g, o = (one + other for one, other in zip(gates_a, gates_u, strict=True))
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * norm(cell.cell_norm, c).tanh(), c]
    if isinstance(cell, GRU):
        r, z = (gates_a[0] + gates_u[0]).sigmoid(), (gates_a[1] + gates_u[1]).sigmoid()
        n = (gates_a[2] + r * gates_u[2]).tanh()
        return [(1 - z) * n + z * h]
    return [(a + u).tanh()]


def run(cell: Any, xs: Sequence[Tensor]) -> Vectors:
    """Compute the outputs of a layer for a sentence, from a state of zeros."""
    zero = xs[0].new_zeros(cell.hidden.weight.size(1))
    state, outputs = [zero] * (2 if isinstance(cell, LSTM) else 1), []
    for x in xs:
        state = advance(cell, x, state)
        outputs.append(state[0])
    return outputs


def connect(kind: str, layer: Any, x: Tensor, y: Tensor) -> Tensor:
    """Compute the next layer's input from the input `x` and the output `y` of a layer."""
    if kind == "residual":
        return x + y
    if kind == "highway":
        t = linear(layer.gate, x).sigmoid()
        return t * y + (1 - t) * x
    return torch.cat([x, y]) if kind == "dense" else y


class ReferenceModel:
    """A `Seq2Seq` for one sentence at a time."""

    def __init__(self, model: Seq2Seq, config: ModelConfig) -> None:
        self.model, self.config = model, config

    def embed(self, table: Any, ids: Sequence[int]) -> Vectors:
        """Look up the embeddings of pieces and scale them (Vaswani et al. 2017, 3.4)."""
        return [table.weight[i] * self.config.embedding**0.5 for i in ids]

    def encode(self, src: Sequence[int]) -> tuple[Vectors, Tensor]:
        """Compute the states h_1..h_S and the final state of each direction."""
        encoder, options = self.model.encoder, self.config.encoder
        states = self.embed(self.model.source_embedding, src)
        if self.config.reverse_source:
            states = states[::-1]
        forward_ends: Vectors = []  # for the summary: the final states, of all layers if they are densely connected
        backward_ends: Vectors = []
        for depth, (layer, layer_norm) in enumerate(zip(encoder.layers, encoder.norms, strict=True)):
            outputs = run(layer.forward_cell, states)
            if options.bidirectional:
                backward = run(layer.backward_cell, states[::-1])[::-1]
                outputs = [torch.cat(both) for both in zip(outputs, backward, strict=True)]
            outputs = [norm(layer_norm, x) for x in outputs]
            kind, connection = options.connections if depth else "none", encoder.connections[depth]
            connected = [connect(kind, connection, x, y) for x, y in zip(states, outputs, strict=True)]
            new = outputs if options.connections == "dense" else connected
            if options.connections != "dense":
                forward_ends, backward_ends = [], []
            forward_ends.append(new[-1][: options.hidden])
            backward_ends.append(new[0][options.hidden :])
            states = connected
        summary = torch.cat([part for both in zip(forward_ends, backward_ends, strict=True) for part in both])
        return states[::-1] if self.config.reverse_source else states, summary

    def initial_state(self, states: Vectors, summary: Tensor) -> list[Vectors]:
        """Compute the state of each decoder layer before the first piece."""
        options = self.config.decoder
        if options.initial_state == "zero":
            first = summary.new_zeros(options.layers * options.hidden)
        else:
            source = summary if options.initial_state == "last" else torch.stack(states).mean(0)
            first = linear(self.model.decoder.bridge.initial, source).tanh()
        cell = [torch.zeros_like(first[: options.hidden])] * (options.cell == "lstm")
        return [[h, *cell] for h in first.split(options.hidden)]

    def attend(self, query: Tensor, states: Vectors, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the context and the attention weights (S,)."""
        options, layer = self.config.decoder, self.model.decoder.wiring.attention
        if options.attention == "none":
            context = summary if options.context == "every_step" else summary[:0]
            return context, summary.new_zeros(len(states))
        if options.attention == "bahdanau":
            return self._bahdanau(query, states)
        keys = states if options.attention == "luong_dot" else [linear(layer.key, h) for h in states]
        scores = [query @ key / len(query) ** 0.5 for key in keys]
        weights = torch.stack(scores).softmax(0)
        return torch.stack([w * h for w, h in zip(weights, states, strict=True)]).sum(0), weights

    def _bahdanau(self, query: Tensor, states: Vectors) -> tuple[Tensor, Tensor]:
        layer: Any = self.model.decoder.wiring.attention
        heads = self.config.decoder.heads
        values = states if heads == 1 else [linear(layer.value, h) for h in states]
        hidden = [(linear(layer.query, query) + linear(layer.key, h)).tanh() for h in states]
        contexts, all_weights = [], []
        for k, v in enumerate(layer.energy.view(heads, -1)):
            weights = torch.stack([v @ e.chunk(heads)[k] for e in hidden]).softmax(0)
            contexts.append(sum(w * value.chunk(heads)[k] for w, value in zip(weights, values, strict=True)))
            all_weights.append(weights)
        return torch.cat(contexts), torch.stack(all_weights).mean(0)

    def logits(self, src: Sequence[int], tgt: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute the logits (T, V) after each piece of `tgt`, which starts with BOS, and the weights (T, S)."""
        states, summary = self.encode(src)
        layers = self.initial_state(states, summary)
        readout = summary.new_zeros(self.config.embedding)
        logits, all_weights = [], []
        for y in self.embed(self.model.embedding, tgt):
            if self.config.decoder.input_feeding:
                y = torch.cat([y, readout])
            top, context, layers, weights = self._wiring(y, layers, states, summary)
            parts = [top, context, y] if self.config.decoder.deep_output else [top, context]
            readout = linear(self.model.decoder.readout.linear, torch.cat(parts)).tanh()
            logits.append(linear(self.model.output, readout))
            all_weights.append(weights)
        return torch.stack(logits), torch.stack(all_weights)

    def _wiring(
        self, y: Tensor, layers: list[Vectors], states: Vectors, summary: Tensor
    ) -> tuple[Tensor, Tensor, list[Vectors], Tensor]:
        wiring: Any = self.model.decoder.wiring
        kind = self.config.decoder.wiring
        if kind == "luong":
            top, next_layers = self._stack(wiring.stack, y, y[:0], layers, upper=False)
            context, weights = self.attend(top, states, summary)
            return top, context, next_layers, weights
        if kind == "bahdanau":
            context, weights = self.attend(layers[-1][0], states, summary)
            top, next_layers = self._stack(wiring.stack, y, context, layers, upper=False)
            return top, context, next_layers, weights
        first = advance(wiring.first, y, layers[0])
        if kind == "conditional":
            context, weights = self.attend(first[0], states, summary)
            first = advance(wiring.second, context, first)
            bottom = norm(wiring.norm, first[0])
        else:
            bottom = norm(wiring.norm, first[0])
            context, weights = self.attend(bottom, states, summary)
        top, next_layers = self._stack(wiring.upper, bottom, context, layers[1:], upper=True)
        return top, context, [first, *next_layers], weights

    def _stack(
        self, stack: Any, x: Tensor, context: Tensor, layers: list[Vectors], upper: bool
    ) -> tuple[Tensor, list[Vectors]]:
        next_layers = []
        for depth, state in enumerate(layers):
            next_layers.append(advance(stack.cells[depth], torch.cat([x, context]), state))
            output = norm(stack.norms[depth], next_layers[-1][0])
            kind = self.config.decoder.connections if depth or upper else "none"
            x = connect(kind, stack.connections[depth], x, output)
        return x, next_layers
