"""Batches within a token budget, made of sentences of similar length by a sampler that can be resumed.

In the way of the data: prepared corpus -> **batches** -> model. The order of an epoch is a pure function of (lengths,
seed, epoch), and so is a sampled segmentation. The sampler's state is therefore two numbers, epoch and position, and a
resumed run sees exactly the batches of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.corpus.prepared import NO_AUGMENT, Pieces, Split, offsets
from nmt.corpus.seeds import derive_seed
from nmt.corpus.settings import Augment
from nmt.device import upload
from nmt.errors import CheckpointError, CorpusError
from nmt.text.special_ids import BOS, EOS, PAD
from nmt.text.tokenizer import Tokenizer

Lengths = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Batch:
    """B padded pairs. S and T include EOS; `tgt` begins with BOS, so it has T + 1 columns."""

    src: Tensor
    """(B, S) int64: x1..xn EOS PAD.."""
    src_lengths: Tensor
    """(B,) int64, with EOS"""
    tgt: Tensor
    """(B, T + 1) int64: BOS y1..yn EOS PAD.."""
    tgt_lengths: Tensor
    """(B,) int64: predicted tokens, y1..yn EOS"""
    source_tokens: int
    """sum of src_lengths; a Python int, so reading it never synchronises with the GPU"""
    target_tokens: int
    """sum of tgt_lengths"""

    @classmethod
    def from_ids(
        cls, src: Sequence[Sequence[int] | NDArray[Any]], tgt: Sequence[Sequence[int] | NDArray[Any]]
    ) -> Batch:
        """Pad sequences of ids (without BOS and EOS) to the longest in the batch."""
        if not src or len(src) != len(tgt):
            raise ValueError(f"a batch needs as many targets as sources, got {len(src)} and {len(tgt)}")
        return cls.from_pieces(
            *(Pieces(np.concatenate(side), offsets([len(ids) for ids in side])) for side in (src, tgt))
        )

    @classmethod
    def from_pieces(cls, src: Pieces, tgt: Pieces) -> Batch:
        """Pad the sentences of two sides (without BOS and EOS) to the longest in the batch."""
        y = padded(tgt, before=1)
        y[:, 0] = BOS
        return cls(
            torch.from_numpy(padded(src)),
            torch.from_numpy(src.lengths + 1),
            torch.from_numpy(y),
            torch.from_numpy(tgt.lengths + 1),
            len(src.ids) + len(src),
            len(tgt.ids) + len(tgt),
        )

    def __len__(self) -> int:
        return self.src.size(0)

    @property
    def tgt_in(self) -> Tensor:
        """(B, T) decoder input: BOS y1..yn PAD.."""
        return self.tgt[:, :-1]

    @property
    def tgt_out(self) -> Tensor:
        """(B, T) tokens to be predicted: y1..yn EOS PAD.."""
        return self.tgt[:, 1:]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch, on the host so far, with all its tensors on `device`, see `nmt.device.upload`."""
        src, src_lengths, tgt, tgt_lengths = (
            upload(tensor, torch.device(device)) for tensor in (self.src, self.src_lengths, self.tgt, self.tgt_lengths)
        )
        return replace(self, src=src, src_lengths=src_lengths, tgt=tgt, tgt_lengths=tgt_lengths)


def padded(pieces: Pieces, before: int = 0) -> NDArray[np.int64]:
    """Return the sentences as rows (B, before + L + 1), L the longest, each with EOS at its end, filled up with PAD."""
    lengths, rows = pieces.lengths, np.arange(len(pieces))
    table = np.full((len(pieces), before + int(lengths.max()) + 1), PAD, np.int64)
    table.ravel()[
        np.arange(len(pieces.ids)) + np.repeat(rows * table.shape[1] + before - pieces.starts[:-1], lengths)
    ] = pieces.ids
    table[rows, before + lengths] = EOS
    return table


def cut(widths: NDArray[np.int64], batch_tokens: int, max_sentences: int | None) -> list[slice]:
    """Cut a sequence of sentences of these widths into runs with sentences * largest width <= `batch_tokens`.

    A sentence wider than the budget gets a run of its own.
    """
    runs: list[slice] = []
    begin = 0
    while begin < len(widths):
        most = max(1, batch_tokens // max(int(widths[begin]), 1))  # the first sentence alone allows no more
        window = np.maximum.accumulate(widths[begin : begin + min(most, max_sentences or most)])
        fits = np.searchsorted(window * np.arange(1, len(window) + 1), batch_tokens, side="right")
        runs.append(slice(begin, begin + max(1, int(fits))))
        begin = runs[-1].stop
    return runs


class BucketSampler:
    """Iterate over the indices of batches; every sentence occurs once per epoch, in an order that differs by epoch.

    A batch of B sentences has B * max(S, T) <= batch_tokens, where S and T are its longest source and target, with EOS.
    For each epoch the sentences are shuffled and divided into pools. Each pool is sorted by target length, then source
    length, with ties in random order, and cut into batches, which are shuffled. With 2,000 tokens on Multi30k and
    Tatoeba, 92 % of the source positions and over 99 % of the target positions are not padding. A sampled segmentation
    (with new lengths every epoch) or `noise` mixes the sentences more but pads more.

    With `world` > 1 each rank iterates over its own share. All ranks have the same number of batches, no sentence is
    in two shares, and the batches of one step have similar lengths, so that ranks do not wait for each other.

    Args:
        lengths: number of pieces of sources and targets, without BOS and EOS: two arrays (sentences,)
        batch_tokens: pieces per batch, with padding, counted on the longer side
        seed: determines the order, together with the number of the epoch
        max_sentences: upper bound of B
        pool: number of sentences sorted together; larger pads less, smaller mixes more
        noise: pieces added to target lengths before sorting, uniform in [-noise, noise]; 1 pads 6 % more
        rank, world: number of this process, and of all processes

    Raises `CorpusError` if there are fewer sentences than processes.
    """

    def __init__(
        self,
        lengths: Lengths,
        *,
        batch_tokens: int,
        seed: int,
        max_sentences: int | None = None,
        pool: int = 1 << 15,
        noise: float = 0.0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        if len(lengths[0]) != len(lengths[1]):
            raise ValueError(f"{len(lengths[0])} source lengths but {len(lengths[1])} target lengths")
        if len(lengths[0]) < world:
            raise CorpusError(f"{len(lengths[0])} training pairs for {world} processes; start fewer processes")
        self.batch_tokens, self.max_sentences = batch_tokens, max_sentences
        self.seed, self.pool, self.noise, self.rank, self.world = seed, pool, noise, rank, world
        self.epoch = 0
        """epochs finished"""
        self.position = 0
        """batches of this epoch that this rank has been given"""
        self._lengths = lengths
        self._plan: list[NDArray[np.int64]] | None = None
        self._known_size = 0

    def set_lengths(self, lengths: Lengths) -> None:
        """Use other lengths, from another segmentation of the same sentences, starting with the current epoch."""
        if len(lengths[0]) != len(self._lengths[0]):
            raise ValueError(f"{len(lengths[0])} lengths for {len(self._lengths[0])} sentences")
        self._lengths = lengths
        self._forget()

    def __len__(self) -> int:
        """Number of batches of the current epoch for this rank."""
        if self._plan is None and self._known_size:
            return self._known_size
        return len(self._batches())

    @property
    def epochs(self) -> float:
        """Epochs done, with the fraction of the current one: 2.5 is half way through the third."""
        return self.epoch + self.position / len(self)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield the indices (B,) of each batch from `position` to the end of the epoch.

        The position advances before a batch is yielded, and with the last batch `epoch` is incremented and `position`
        becomes 0. A state saved after the step on a batch therefore resumes with the next batch.
        """
        plan = self._batches()
        for batch in plan[self.position :]:
            self.position += 1
            if self.position == len(plan):
                self.epoch, self.position = self.epoch + 1, 0
                self._forget()
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position, and the settings by which `load_state_dict` recognises the same batches."""
        return {"epoch": self.epoch, "position": self.position, "batches": len(self), **self._signature()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore the position; raises `CheckpointError` if `state` is of another corpus or other batches."""
        for name, value in self._signature().items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"the checkpoint's batches were made with {name}={state.get(name)}, now it is {value}; "
                    "resume with the same corpus and settings, or start a new run"
                )
        self.epoch, self.position = state["epoch"], state["position"]
        self._forget()
        # When the split varies the batches are not known before set_lengths, but the schedule needs their number.
        self._known_size = state["batches"]

    def _forget(self) -> None:
        self._plan, self._known_size = None, 0

    def _signature(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "sentences": len(self._lengths[0]),
            "batch_tokens": self.batch_tokens,
            "processes": self.world,
        }

    def _batches(self) -> list[NDArray[np.int64]]:
        if self._plan is None:
            self._plan = self._make_plan()[self.rank :: self.world]
        return self._plan

    def _make_plan(self) -> list[NDArray[np.int64]]:
        """Return the batches of all ranks; those of one step are adjacent."""
        rng = np.random.Generator(np.random.PCG64(derive_seed("batches", self.seed, self.epoch)))
        src, tgt = (side + 1 for side in self._lengths)
        widths = np.maximum(src, tgt)
        order = rng.permutation(len(widths))
        batches: list[NDArray[np.int64]] = []
        for begin in range(0, len(order), self.pool):
            members = order[begin : begin + self.pool]
            blur = self.noise * rng.uniform(-1, 1, len(members))
            # Rounded: with fractional noise there would be no ties for the second key to decide.
            members = members[np.lexsort((src[members], np.rint(tgt[members] + blur)))]
            batches += [members[run] for run in cut(widths[members], self.batch_tokens, self.max_sentences)]
        if self.world > 1:
            batches = _fill_up(batches, self.world)
        steps = [batches[i : i + self.world] for i in range(0, len(batches), self.world)]
        return [batch for step in rng.permutation(len(steps)).tolist() for batch in steps[step]]


def _fill_up(batches: list[NDArray[np.int64]], world: int) -> list[NDArray[np.int64]]:
    """Halve the largest batches until their number is a multiple of `world`; nothing is dropped or repeated.

    If there are too few sentences for that, the last ones are joined instead, which may exceed the budget.
    """
    batches = list(batches)
    enough = sum(map(len, batches)) >= -(-len(batches) // world) * world
    while len(batches) % world:
        if enough:
            largest = max(range(len(batches)), key=lambda index: len(batches[index]))
            half = len(batches[largest]) // 2
            batches[largest : largest + 1] = [batches[largest][:half], batches[largest][half:]]
        else:
            batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def train_batches(
    split: Split,
    sampler: BucketSampler,
    tokenizer: Tokenizer,
    *,
    sample_alpha: float = 0.0,
    augment: Augment = NO_AUGMENT,
    seed: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of the sampler's current epoch, from its position to the end.

    With `sample_alpha` > 0 the split gets a new random segmentation for the epoch, with `augment` other changed pairs
    (a pure function of `seed` and the epoch), and the batches are made by the new lengths.
    """
    if sample_alpha > 0 or augment:
        seed = derive_seed("segmentation", seed, sampler.epoch)
        split = split.vary(tokenizer, seed, alpha=sample_alpha, augment=augment)
        sampler.set_lengths(split.lengths)
    for indices in sampler:
        yield make_batch(split, indices)


def ordered_batches(split: Split, *, batch_tokens: int, max_sentences: int | None = None) -> Iterator[Batch]:
    """Yield every pair of a split once, ordered by length, in a fixed order: for the validation loss."""
    src, tgt = (side + 1 for side in split.lengths)
    order = np.lexsort((src, tgt))
    for run in cut(np.maximum(src, tgt)[order], batch_tokens, max_sentences):
        yield make_batch(split, order[run])


def make_batch(split: Split, indices: NDArray[np.int64]) -> Batch:
    """Return the batch of the pairs with these indices (B,), in this order."""
    return Batch.from_pieces(split.source.take(indices), split.target.take(indices))
