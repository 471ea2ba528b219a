"""The model family written out: one sentence, one position, one vector at a time, as the papers' equations have it.

A slow second implementation for the tests: it shares the weights of a `Seq2Seq` and none of its code. No batches, no
masks, no fused kernels; vectors (F,), and a sentence is a list of them. Equations: Bahdanau et al. 2015 (A.1.2, A.2.2),
Luong et al. 2015, Ba et al. 2016 (eq. 20-22), Srivastava et al. 2015 (eq. 3).
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
    """W x + b"""
    product: Tensor = layer.weight @ x
    return product if layer.bias is None else product + layer.bias


def norm(layer: Any, x: Tensor) -> Tensor:
    """g * (x - mean) / deviation + b (Ba et al. 2016, eq. 4), or nothing."""
    if isinstance(layer, nn.Identity):
        return x
    deviation = ((x - x.mean()) ** 2).mean().add(layer.eps).sqrt()
    normalised: Tensor = layer.weight * (x - x.mean()) / deviation + layer.bias
    return normalised


def advance(cell: Any, x: Tensor, state: Vectors) -> Vectors:
    """One step of an RNN, GRU or LSTM layer: the next state, the output first."""
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
    """The outputs of a layer along a sentence, from a state of zeros."""
    zero = xs[0].new_zeros(cell.hidden.weight.size(1))
    state, outputs = [zero] * (2 if isinstance(cell, LSTM) else 1), []
    for x in xs:
        state = advance(cell, x, state)
        outputs.append(state[0])
    return outputs


def connect(kind: str, layer: Any, below: Tensor, above: Tensor) -> Tensor:
    """What the next layer reads."""
    if kind == "residual":
        return below + above
    if kind == "highway":
        t = linear(layer.gate, below).sigmoid()
        return t * above + (1 - t) * below
    return torch.cat([below, above]) if kind == "dense" else above


class Plain:
    """A model, for one sentence at a time."""

    def __init__(self, model: Seq2Seq, config: ModelConfig) -> None:
        self.model, self.config = model, config

    def embed(self, table: Any, ids: Sequence[int]) -> Vectors:
        """The embeddings of pieces, scaled (Vaswani et al. 2017, 3.4)."""
        return [table.weight[i] * self.config.embedding**0.5 for i in ids]

    def encode(self, src: Sequence[int]) -> tuple[Vectors, Tensor]:
        """The states h_1..h_S and the last state of each direction."""
        encoder, options = self.model.encoder, self.config.encoder
        states = self.embed(self.model.source_embedding, src)
        if self.config.reverse_source:
            states = states[::-1]
        ahead: Vectors = []  # what is kept of each layer for the summary
        back: Vectors = []
        for depth, (layer, layer_norm) in enumerate(zip(encoder.layers, encoder.norms, strict=True)):
            outputs = run(layer.forward_cell, states)
            if options.bidirectional:
                turned = run(layer.backward_cell, states[::-1])[::-1]
                outputs = [torch.cat(both) for both in zip(outputs, turned, strict=True)]
            outputs = [norm(layer_norm, x) for x in outputs]
            if depth:
                around = encoder.connections[depth]
                connected = [connect(options.connections, around, x, y) for x, y in zip(states, outputs, strict=True)]
            else:
                connected = outputs
            new = outputs if options.connections == "dense" else connected
            if options.connections != "dense":
                ahead, back = [], []
            ahead.append(new[-1][: options.hidden])
            back.append(new[0][options.hidden :])
            states = connected
        summary = torch.cat([part for both in zip(ahead, back, strict=True) for part in both])
        return states[::-1] if self.config.reverse_source else states, summary

    def begin(self, states: Vectors, summary: Tensor) -> list[Vectors]:
        """The state of each decoder layer before the first piece."""
        options = self.config.decoder
        if options.initial_state == "zero":
            first = summary.new_zeros(options.layers * options.hidden)
        else:
            seen = summary if options.initial_state == "last" else torch.stack(states).mean(0)
            first = linear(self.model.decoder.bridge.initial, seen).tanh()
        cell = [torch.zeros_like(first[: options.hidden])] * (options.cell == "lstm")
        return [[h, *cell] for h in first.split(options.hidden)]

    def look(self, query: Tensor, states: Vectors, summary: Tensor) -> tuple[Tensor, Tensor]:
        """The context and the weights (S,)."""
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
        """The logits (T, V) behind each piece of `tgt`, which begins with BOS, and the weights (T, S)."""
        states, summary = self.encode(src)
        layers = self.begin(states, summary)
        readout = summary.new_zeros(self.config.embedding)
        logits, looked = [], []
        for y in self.embed(self.model.embedding, tgt):
            if self.config.decoder.input_feeding:
                y = torch.cat([y, readout])
            top, context, layers, weights = self._wiring(y, layers, states, summary)
            read = [top, context, y] if self.config.decoder.deep_output else [top, context]
            readout = linear(self.model.decoder.readout.linear, torch.cat(read)).tanh()
            logits.append(linear(self.model.output, readout))
            looked.append(weights)
        return torch.stack(logits), torch.stack(looked)

    def _wiring(
        self, y: Tensor, layers: list[Vectors], states: Vectors, summary: Tensor
    ) -> tuple[Tensor, Tensor, list[Vectors], Tensor]:
        wiring: Any = self.model.decoder.wiring
        kind = self.config.decoder.wiring
        if kind == "luong":
            top, following = self._up(wiring.stack, y, y[:0], layers, upper=False)
            return top, *self._answer(top, states, summary, following)
        if kind == "bahdanau":
            context, weights = self.look(layers[-1][0], states, summary)
            top, following = self._up(wiring.stack, y, context, layers, upper=False)
            return top, context, following, weights
        first = advance(wiring.first, y, layers[0])
        if kind == "conditional":
            context, weights = self.look(first[0], states, summary)
            first = advance(wiring.second, context, first)
            bottom = norm(wiring.norm, first[0])
        else:
            bottom = norm(wiring.norm, first[0])
            context, weights = self.look(bottom, states, summary)
        top, following = self._up(wiring.upper, bottom, context, layers[1:], upper=True)
        return top, context, [first, *following], weights

    def _answer(
        self, query: Tensor, states: Vectors, summary: Tensor, following: list[Vectors]
    ) -> tuple[Tensor, list[Vectors], Tensor]:
        context, weights = self.look(query, states, summary)
        return context, following, weights

    def _up(
        self, stack: Any, x: Tensor, context: Tensor, layers: list[Vectors], upper: bool
    ) -> tuple[Tensor, list[Vectors]]:
        following = []
        for depth, state in enumerate(layers):
            following.append(advance(stack.cells[depth], torch.cat([x, context]), state))
            above = norm(stack.norms[depth], following[-1][0])
            kind = self.config.decoder.connections if depth or upper else "none"
            x = connect(kind, stack.connections[depth], x, above)
        return x, following
