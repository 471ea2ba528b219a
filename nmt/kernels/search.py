"""Beam search by the C++ kernels: the same `Search` as `nmt/search/beam.py`, for the members of the family that fit.

In the way of the data: artifact -> **search** -> engine. `fit` reads the modules and weights of a search, exported or
eager, packs the weights once and returns a `KernelSearch`. Modules are told by their names, which exported files keep,
so nothing of `nmt.model` is imported. All that is not a product is float32. int8 products are those of
`nmt/model/quantized.py`; bfloat16 ones round their inputs and sum in float32, where the plain path rounds each result.

In float32, where products cost most, three shares of them are computed beforehand:

    W_1 E[y] + b            for every piece y: a table (V, 4H), and (V, E) for the readout
    W_c h_j                 for every source piece j: contexts are sums of h_j, so W_c c = sum_j alpha_j W_c h_j

The tables are left out for vocabularies above `LARGEST_TABLE` numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from nmt import kernels
from nmt.search.beam import Finished
from nmt.search.interface import Memory
from nmt.search.slots import History, SlotLimits, Slots, open_slots
from nmt.text.special_ids import BOS

PANEL: Final = 64  # outputs of a panel of packed weights, as in csrc/linear.h
LARGEST_TABLE: Final = 1 << 25
"""numbers in a table of precomputed products, 128 MB"""
WIRINGS: Final = {"GNMT": 0, "Bahdanau": 1, "Luong": 2, "Conditional": 3}
CONNECTIONS: Final = {"NoSkip": 0, "Residual": 1}
BRIDGES: Final = {"LastState": 0, "MeanState": 1, "ZeroState": 0}


class KernelSearch:
    """A search that decodes by the kernels, with the weights of the search `plain`."""

    def __init__(self, plain: Any, tensors: dict[str, Tensor], options: dict[str, int]) -> None:
        self.plain = plain
        self.shortlist = bool(getattr(plain, "shortlist", False))
        self._search = torch.classes.nmt.Search(tensors, options)

    def open(self, src: Tensor, lengths: Tensor, limits: SlotLimits, beam: int) -> Slots:
        """See `BeamSearch.open`."""
        values, keys, *hidden = self._search.open(src, lengths)
        mask = torch.arange(src.size(1)).unsqueeze(0) < lengths.unsqueeze(1)
        state = [tensor for h in hidden for tensor in (h, torch.zeros_like(h))]
        candidates = [self._search.choose_candidates(src, limits.prefix)] if self.shortlist else []
        return open_slots(Memory(values, keys, mask), state, limits, beam, BOS, candidates)

    def advance(self, slots: Slots, history: History, block_repeats: bool) -> Tensor:
        """See `BeamSearch.advance`."""
        bundles = list(slots.memory), list(slots.limits), slots.state, _live(slots), list(history), slots.candidates
        done: Tensor = self._search.advance(*bundles, block_repeats)
        return done

    def finish(self, slots: Slots, history: History, rows: Tensor, n_best: int) -> Finished:
        """See `BeamSearch.finish`."""
        return Finished(*self._search.finish(_live(slots), list(slots.limits), list(history), rows, n_best))

    def score(self, src: Tensor, lengths: Tensor, tgt: Tensor) -> Tensor:
        """See `BeamSearch.score`, which computes it."""
        scores: Tensor = self.plain.score(src, lengths, tgt)
        return scores


class DoesNotFit(Exception):
    """The kernels cannot compute a model; the text names the part."""


def fit(search: Any, device: torch.device) -> tuple[Any, str]:
    """Return a search by the kernels with the weights of `search`, and an empty string.

    Where that is impossible, return `search` itself and the reason.
    """
    if device.type != "cpu":
        return search, f"the kernels run on a CPU only, not on {device.type}"
    if not kernels.load():
        return search, kernels.reason or "turned off by NMT_KERNELS=off"
    try:
        with torch.inference_mode():
            tensors, options = _Packer(search.model).pack()
            if getattr(search, "shortlist", False):
                tensors |= {"lexicon": search.lexicon.int(), "frequent": search.frequent.int()}
            return KernelSearch(search, tensors, options), ""
    except DoesNotFit as error:
        return search, f"no kernel for {error}"
    except AttributeError as error:
        return search, f"no kernel for a model of another form ({str(error).splitlines()[0][:100]})"


def _live(slots: Slots) -> list[Tensor]:
    return [slots.tokens, slots.scores, slots.pool, slots.time, slots.stop_at]


def _name(module: Any) -> str:
    """Return the name of a module's class, eager or scripted, without the ending of its form for plain inference."""
    return str(getattr(module, "original_name", type(module).__name__)).removesuffix("ByParts")


def _one_of(module: Any, names: Any, part: str) -> str:
    name = _name(module)
    if name not in names:
        raise DoesNotFit(f"{part} {name}")
    return name


class _Packer:
    """Reads the parts of a model into the tensors and options that csrc/search.cpp is built from."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tensors: dict[str, Tensor] = {}
        self.options: dict[str, int] = {}
        _one_of(model, ("Seq2Seq",), "model")
        weight = model.output.weight
        self.type = weight.dtype
        if self.type not in (torch.float32, torch.bfloat16, torch.int8):
            raise DoesNotFit(f"weights in {str(self.type).removeprefix('torch.')}")
        self.packed = bool(torch.ops.nmt.can_multiply(self.type))
        if not self.packed and self.type == torch.bfloat16:
            raise DoesNotFit("bfloat16 on this CPU")
        if not self.packed and self.type == torch.int8 and not model.output.integer_products:
            raise DoesNotFit("int8 on this CPU")
        self.precompute = self.type == torch.float32
        self.projections: list[Tensor] = []
        """the maps of the context that are precomputed for each source piece"""

    def pack(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Read the whole model."""
        model = self.model
        self.options["vocabulary"] = model.output.weight.size(0)
        self.tensors["embedding_scale"] = torch.tensor([float(model.embedding_scale)])
        self.embedding("embedding", model.embedding)
        self.embedding("source_embedding", model.source_embedding)
        self.encoder(model.encoder)
        self.decoder(model.decoder)
        self.linear("output", *self.parts(model.output))
        return self.tensors, self.options

    def embedding(self, name: str, module: Any) -> None:
        """Keep an embedding table as it is stored."""
        self.tensors[f"{name}.weight"] = module.weight.detach().contiguous()
        if self.type == torch.int8:
            self.tensors[f"{name}.scale"] = module.scale

    def encoder(self, encoder: Any) -> None:
        """Read the encoder's layers."""
        layers = _stacked(encoder.layers, encoder.norms, encoder.connections)
        for number, (layer, norm, connection) in enumerate(layers):
            _one_of(layer, ("ForwardLayer", "BidirectionalLayer"), "encoder layer")
            self.connection("encoder", number, connection)
            self.cell(f"encoder.{number}.forward", layer.forward_cell, "encoder cell")
            if _name(layer) == "BidirectionalLayer":
                self.cell(f"encoder.{number}.backward", layer.backward_cell, "encoder cell")
            self.norm(f"encoder.{number}.norm", norm)
            for direction in ("forward", "backward")[: 1 + (_name(layer) == "BidirectionalLayer")]:
                cell = getattr(layer, f"{direction}_cell")
                self.linear(f"encoder.{number}.{direction}.input", *self.parts(cell.input))
        self.options["encoder.layers"] = len(layers)
        self.options["encoder.hidden"] = layers[0][0].forward_cell.hidden.weight.size(1)
        self.options["reverse"] = int(encoder.reverse)

    def decoder(self, decoder: Any) -> None:
        """Read the decoder: its wiring, attention, bridge and readout."""
        if decoder.input_feeding:
            raise DoesNotFit("input feeding")
        wiring = decoder.wiring
        name = _one_of(wiring, WIRINGS, "wiring")
        attention = wiring.attention
        _one_of(attention, ("BahdanauAttention",), "attention")
        form = _one_of(attention.hidden_layer, ("ExponentialLayer", "TanhLayer"), "attention's hidden layer")
        energy = attention.energy.detach().float()
        self.tensors["energy"] = (energy if form == "ExponentialLayer" else -2.0 * energy).contiguous()
        self.linear("key", *self.parts(attention.key))
        self.linear("query", *self.parts(attention.query))
        self.options["wiring"] = WIRINGS[name]

        widths = self.model.embedding.weight.size(1), attention.key.weight.size(1)
        layers = list(_layers(wiring, name))
        hidden = layers[0][0].hidden.weight.size(1)
        for number, (cell, norm, connection, segments) in enumerate(layers):
            if connection is not None:
                self.connection("decoder", number, connection)
            self.cell(f"decoder.{number}", cell, "decoder cell")
            self.norm(f"decoder.{number}.norm", norm)
            self.input(f"decoder.{number}.input", cell.input, segments, hidden, widths)
        if name == "Conditional":
            self.cell("second", wiring.second, "decoder cell")
            self.input("second.input", wiring.second.input, ("context",), hidden, widths)
        deep = _one_of(decoder.readout, ("DeepOutput", "AttentionalOutput"), "readout") == "DeepOutput"
        segments = ("below", "context", "piece") if deep else ("below", "context")
        self.input("readout", decoder.readout.linear, segments, hidden, widths)
        self.options |= {"decoder.layers": len(layers), "decoder.hidden": hidden}
        if self.projections:
            projection = torch.cat(self.projections)
            self.linear("value", projection, torch.zeros(len(projection)))
            self.options["value.size"] = len(projection)

        bridge = _one_of(decoder.bridge, BRIDGES, "bridge")
        self.options["bridge.mean"] = BRIDGES[bridge]
        if bridge != "ZeroState":
            self.linear("bridge", *self.parts(decoder.bridge.initial))

    def connection(self, side: str, layer: int, module: Any) -> None:
        """Read the connection around a layer; that around the lowest is always plain."""
        kind = CONNECTIONS[_one_of(module, CONNECTIONS, f"{side} connection")]
        if layer > 0:
            self.options[f"{side}.residual"] = kind

    def cell(self, name: str, module: Any, part: str) -> None:
        """Read an LSTM without its input map."""
        _one_of(module, ("LSTM",), part)
        self.linear(f"{name}.hidden", *self.parts(module.hidden))
        for norm in ("input_norm", "hidden_norm", "cell_norm"):
            self.norm(f"{name}.{norm}", getattr(module, norm))

    def norm(self, name: str, module: Any) -> None:
        """Read a layer norm, or nothing of an identity."""
        if _one_of(module, ("LayerNorm", "Identity"), "norm") == "LayerNorm":
            self.tensors[f"{name}.weight"] = module.weight.detach().float()
            self.tensors[f"{name}.bias"] = module.bias.detach().float()

    def parts(self, module: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return weight (O, I), bias (O) and for int8 the scales (O) of a linear map."""
        weight = module.weight.detach()
        bias = module.bias.detach().float() if module.bias is not None else torch.zeros(len(weight))
        return weight, bias, module.scale if self.type == torch.int8 else None

    def input(self, name: str, module: Any, segments: tuple[str, ...], hidden: int, widths: tuple[int, int]) -> None:
        """Read a map of [below ; context ; piece]; `segments` says which of them it takes, in the order of its columns.

        `hidden` is the width of what is below, `widths` are those of piece and context.
        In float32 the shares of the context and, if its table is not too large, of the piece are computed beforehand.
        """
        weight, bias, scale = self.parts(module)
        size = {"below": hidden, "context": widths[1], "piece": widths[0]}
        shares = dict(zip(segments, weight.split([size[segment] for segment in segments], dim=1), strict=True))
        self.options[f"{name}.size"] = len(weight)
        if self.precompute and "context" in shares:
            self.options[f"{name}.context_at"] = sum(map(len, self.projections))
            self.projections.append(shares.pop("context"))
        table = self.model.embedding.weight
        if self.precompute and "piece" in shares and len(table) * len(weight) <= LARGEST_TABLE:
            share = torch.nn.functional.linear(table * float(self.model.embedding_scale), shares.pop("piece"), bias)
            self.tensors[f"{name}.table"] = share.detach().contiguous()
        self.options[f"{name}.context"] = int("context" in shares)
        self.options[f"{name}.piece"] = int("piece" in shares)
        order = [shares[segment] for segment in ("below", "context", "piece") if segment in shares]
        left = torch.cat(order, dim=1) if order else weight[:, :1]
        self.linear(name, left, bias, scale)

    def linear(self, name: str, weight: Tensor, bias: Tensor, scale: Tensor | None = None) -> None:
        """Pack a linear map, see csrc/linear.h."""
        if not self.packed:
            self.tensors |= {f"{name}.weight": weight.contiguous(), f"{name}.bias": bias}
        else:
            rows = -len(weight) % PANEL
            unit = {torch.float32: 1, torch.bfloat16: 2, torch.int8: 4}[self.type]
            columns = 0 if unit == 1 else -weight.size(1) % (16 * unit)
            weight = torch.nn.functional.pad(weight, (0, columns, 0, rows))
            self.tensors[f"{name}.bias"] = torch.nn.functional.pad(bias, (0, rows))
            packed = weight.view(-1, PANEL, weight.size(1) // unit, unit).transpose(1, 2)  # (O / 64, I / u, 64, u)
            self.tensors[f"{name}.packed"] = (packed.squeeze(3) if unit == 1 else packed).contiguous()
            scale = torch.nn.functional.pad(scale, (0, rows)) if scale is not None else None
        if scale is not None:
            self.tensors[f"{name}.scale"] = scale.contiguous()
            self.tensors[f"{name}.sums"] = (128 * weight.int().sum(1, dtype=torch.int32)).contiguous()


def _stacked(*lists: Any) -> list[tuple[Any, ...]]:
    """Return the modules of parallel module lists, layer by layer; scripted lists have no iterator."""
    return list(zip(*(modules.children() for modules in lists), strict=True))


def _layers(wiring: Any, name: str) -> Iterator[tuple[Any, Any, Any, tuple[str, ...]]]:
    """Return cell, norm, connection (None around a first layer of its own) and input segments of each layer."""
    split = name in ("GNMT", "Conditional")  # whether the first layer stands outside the stack
    if split:
        yield wiring.first, wiring.norm, None, ("piece",)
    stack = wiring.upper if split else wiring.stack
    for number, (cell, norm, connection) in enumerate(_stacked(stack.cells, stack.norms, stack.connections)):
        below = "below" if split or number > 0 else "piece"
        yield cell, norm, connection, (below,) if name == "Luong" else (below, "context")
