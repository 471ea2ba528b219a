"""The running batch on a GPU: fixed slots, and several steps that are launched at once, as a CUDA graph.

In the way of the data: engine -> **graphed batch** -> search. It has the interface and the results of `RunningBatch`,
whose step takes as long on a GPU as the host needs to launch over a hundred kernels and to wait for their outcome.
Here the host launches one graph for several steps and does not wait for it:

    fixed slots      Every tensor has the same address and shape at each step, as a graph requires. A sentence that
                     joins is written over any free slot. A mask says which slots are active.
    rounds           A round is a few steps of all slots. The mask freezes a slot that is done: what `finish` reads
                     of it stays as it is, though the steps that follow compute it too.
    buckets          A round reads as many positions of the memory as the longest active source has, rounded up to one
                     of a few widths, each with a graph of its own.
    late flags       While a round runs, the host reads which sentences the previous one has finished, collects them
                     and admits others.
    plain form       Requests that do not fit (long ones, those with a prefix, `no_repeat_ngram`, `stop_at` or a
                     shortlist) are decoded in a `RunningBatch` beside it.

Without graphs the same code runs on any device; the tests compare it with `RunningBatch` on a CPU.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nmt.device import upload
from nmt.search.padding import pad_ids
from nmt.search.request import Request, Result
from nmt.search.running_batch import RunningBatch, Search, bundle_map, read_results, slot_limits
from nmt.search.slots import History, Slots, open_history
from nmt.search.transfer import Download, second_stream
from nmt.text.special_ids import EOS

_CPU = torch.device("cpu")
_WARM_UP = 3  # rounds without a graph: TorchScript compiles at its second call, and libraries allocate at their first


@dataclass(frozen=True)
class GraphOptions:
    """Options of `GraphedBatch`."""

    buckets: tuple[int, ...] = (32, 64, 128, 200)
    """widths of the memory in source pieces, ascending; longer sources are decoded in the plain form"""
    max_length: int = 410
    """target pieces that a slot has room for; the default search options reach it with a source of 200 pieces"""
    steps: int = 2
    """steps of a round; more cost less on the host, but sentences leave and join between rounds only"""
    late: int = 1
    """rounds that are launched before the flags of a round are read; 0 leaves the device idle meanwhile"""
    graphs: bool = True
    """whether to capture graphs, on a CUDA device; otherwise each kernel is launched by itself"""


@dataclass(frozen=True)
class _Place:
    """Where a request is decoded."""

    request: Request
    slot: int
    first: int
    """number of the first round that decodes it"""


class GraphedBatches:
    """The batches of an engine by beam size, each with slots for `rows` hypotheses.

    A batch is kept when the engine discards it, because it takes seconds to capture its graphs again. The graphs of all
    batches share their memory, for the engine runs them one after another.
    """

    def __init__(self, rows: int, options: GraphOptions | None = None) -> None:
        self._rows = rows
        self._options = options or GraphOptions()
        self._batches: dict[int, GraphedBatch] = {}
        self._graphs: Graphs | None = None

    @property
    def widest(self) -> int:
        """Source pieces of the widest bucket."""
        return self._options.buckets[-1]

    def __call__(self, search: Search, beam: int, device: torch.device) -> GraphedBatch:
        """Return the batch of a beam size, without sentences."""
        if self._graphs is None:
            self._graphs = Graphs(device if self._options.graphs else _CPU)
        if beam not in self._batches or self._batches[beam].failed:
            slots = max(1, self._rows // beam)
            self._batches[beam] = GraphedBatch(search, beam, device, slots, self._options, self._graphs)
        return self._batches[beam]


class Graphs:
    """Captures CUDA graphs that share their memory; on another device it captures none."""

    def __init__(self, device: torch.device) -> None:
        self.enabled = device.type == "cuda"
        if self.enabled:
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def capture(self, work: Any) -> Any:
        """Capture the kernels that `work` launches, without running them; None if that is not possible."""
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads, such as one that loads a model, may use the device meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, "thread_local"):
                work()
        except RuntimeError as error:
            self.enabled = False
            warnings.warn(f"decoding goes on without CUDA graphs: {str(error).splitlines()[0]}", stacklevel=2)
            return None
        return graph


class GraphedBatch:
    """The sentences that are being decoded, each with `beam` hypotheses, in `slots` fixed slots."""

    def __init__(
        self,
        search: Search,
        beam: int,
        device: torch.device,
        slots: int,
        options: GraphOptions,
        graphs: Graphs,
    ) -> None:
        self.active: list[Request] = []
        """the requests that are being decoded, those in the plain form included"""
        self._search, self.beam, self._device, self._options = search, beam, device, options
        self._plain = RunningBatch(search, beam, device)
        self._places: dict[Hashable, _Place] = {}
        self._free = list(range(slots))
        self._round = 0
        self._flags: deque[tuple[int, Download]] = deque()
        self._graphs = graphs
        self._captured: dict[int, Any] = {}
        self._warmed = dict.fromkeys(options.buckets, 0)
        self._collecting = second_stream(device)
        self._active = torch.zeros(slots, dtype=torch.bool, device=device)
        self._reserved = False
        self._slots: Slots
        self._history: History

    @property
    def failed(self) -> bool:
        """Whether a step failed: the engine has dropped the sentences, and the slots may be half written."""
        return not self.active and bool(self._places or self._plain.active)

    def admit(self, requests: Sequence[Request]) -> None:
        """Encode `requests` and add them to the batch. If this raises, the sentences already active are unharmed."""
        fitting = [request for request in requests if self._fits(request)][: len(self._free)]
        keys = {request.key for request in fitting}
        others = [request for request in requests if request.key not in keys]
        if fitting and not self._reserved:
            self._reserve()
        new = self._open([request.src for request in fitting], fitting) if fitting else None
        if others:
            self._plain.admit(others)
        if new is not None:
            places = [_Place(request, self._free.pop(), self._round) for request in fitting]
            rows = self._rows(place.slot for place in places)
            bundle_map(partial(put_rows, rows), self._slots, new)
            self._active.index_fill_(0, rows, True)
            self._places.update((place.request.key, place) for place in places)
        self.active += requests

    def advance(self) -> list[Result]:
        """Launch a round, and return the results of sentences that an earlier one has finished; they leave the batch.

        Those in the plain form advance by one step.
        """
        results: list[Result] = []
        if self._places:
            self._launch()
            if len(self._flags) > self._options.late:
                results = self._collect(*self._flags.popleft())
        if self._plain.active:
            results += self._plain.advance()
        self._forget(result.key for result in results)
        return results

    def drop(self, indices: Sequence[int]) -> None:
        """Drop the requests at `indices` of `active`; their slots are free at once.

        The device goes on with a dropped sentence until it is done or written over, but nobody reads its flag.
        """
        keys = {self.active[i].key for i in indices}
        self._free += [self._places.pop(key).slot for key in keys & self._places.keys()]
        self._plain.drop([i for i, request in enumerate(self._plain.active) if request.key in keys])
        self._forget(keys)

    def _fits(self, request: Request) -> bool:
        """Return whether a request can be decoded in a slot: other options and prefixes are not in the graphs."""
        options = request.options
        plain = not (request.prefix or options.no_repeat_ngram or options.stop_at)
        plain = plain and not getattr(self._search, "shortlist", False)
        return (
            plain and len(request.src) <= self._options.buckets[-1] and request.max_length <= self._options.max_length
        )

    def _forget(self, keys: Any) -> None:
        """Take the requests with these keys from `active`."""
        gone = set(keys)
        if gone:
            self.active = [request for request in self.active if request.key not in gone]

    def _rows(self, slots: Any) -> Tensor:
        """Return slot numbers as a tensor on the device."""
        return upload(torch.tensor(list(slots), dtype=torch.int64), self._device)

    def _reserve(self) -> None:
        """Allocate the tensors of all slots."""
        slots, width = len(self._active), self._options.buckets[-1]
        # Every slot starts as a sentence of the largest width that is not active. So all rows have finite values.
        one = self._open([[EOS] * width], [Request(0, (EOS,))])
        self._slots = bundle_map(lambda tensor: tensor.repeat(slots, *[1] * (tensor.dim() - 1)), one)
        # One entry more than needed, for a slot that is done at its maximum length, see _advance_slots.
        self._history = open_history(one, slots, self._options.max_length + 1, width)
        self._reserved = True

    def _open(self, sources: Sequence[Sequence[int]], requests: Sequence[Request]) -> Slots:
        """Encode `sources`, with the options of `requests`, outside of any graph."""
        put = partial(upload, device=self._device)
        src, lengths = pad_ids(sources)
        return self._search.open(put(src), put(lengths), bundle_map(put, slot_limits(requests, _CPU)), self.beam)

    def _launch(self) -> None:
        """Launch a round, as a graph if there is one, and the copy of its flags."""
        longest = max(len(place.request.src) for place in self._places.values())
        width = next(bucket for bucket in self._options.buckets if bucket >= longest)
        steps = partial(self._advance_slots, width)
        if width not in self._captured and self._graphs.enabled and self._warmed[width] >= _WARM_UP:
            self._captured[width] = self._graphs.capture(steps)
        graph = self._captured.get(width)
        if graph is None:
            self._warmed[width] += 1
            steps()
        else:
            graph.replay()
        self._flags.append((self._round, Download([self._active])))
        self._round += 1

    def _advance_slots(self, width: int) -> None:
        """Advance the active slots by the steps of a round, reading `width` positions of the memory.

        All is computed for every slot. In a slot that is not active, time and scores keep their values, and of its
        history only the entry at its time is written: after its last step, and not read by `finish`. Its state, last
        pieces and pool are overwritten, but `finish` does not read them either.
        """
        slots, active = self._slots, self._active
        slots = slots._replace(memory=bundle_map(lambda buffer: buffer[:, :width], slots.memory))
        for _ in range(self._options.steps):
            time, scores = slots.time.clone(), slots.scores.clone()
            done = self._search.advance(slots._replace(time=time, scores=scores), self._history, False)
            slots.time.copy_(torch.where(active, time, slots.time))
            slots.scores.copy_(torch.where(active.unsqueeze(1), scores, slots.scores))
            active.logical_and_(~done)

    def _collect(self, number: int, flags: Download) -> list[Result]:
        """Return the results of the sentences that were active until round `number`, and free their slots."""
        running = flags.wait()[0].tolist()
        # A slot that was given away since then has its flag from the sentence before.
        done = [place for place in self._places.values() if place.first <= number and not running[place.slot]]
        if not done:
            return []
        requests = [place.request for place in done]
        finished = self._finish(done, number)
        for place in done:
            del self._places[place.request.key]
            self._free.append(place.slot)
        return read_results(finished, requests)

    def _finish(self, done: Sequence[_Place], number: int) -> Any:
        """Run `finish` on the CPU for sentences that were done in round `number`.

        It takes hundreds of small kernels and waits for the lengths, so the host does it while the device decodes. The
        slots are copied in a second stream, which does not wait for the round that is running: that round only writes
        to them what they have already.
        """
        steps = self._options.steps
        length = max(min(place.request.max_length, steps * (number + 1 - place.first)) for place in done)
        width = max(len(place.request.src) for place in done)
        history = bundle_map(lambda buffer: buffer[:, :length], self._history)
        history = history._replace(attention=history.attention[..., :width])
        slots = self._slots
        with self._collecting:
            rows = self._rows(place.slot for place in done)
            tensors = [slots.scores, slots.limits.length_penalty, slots.time, *history]
            scores, alpha, time, *entries = Download([t.index_select(0, rows) for t in tensors]).wait()
        slots = slots._replace(scores=scores, time=time, limits=slots.limits._replace(length_penalty=alpha))
        n_best = max(place.request.options.n_best for place in done)
        return self._search.finish(slots, History(*entries), torch.arange(len(done)), n_best)


def put_rows(rows: Tensor, buffer: Tensor, new: Tensor) -> Tensor:
    """Write `new` (R, W, ·) over the rows `rows` (R,) of `buffer` (B, W', ·), W <= W', and 0 after its end.

    That is right for every tensor of a slot, see `append` in nmt/search/running_batch.py.
    """
    if buffer.dim() == 1:
        return buffer.index_copy_(0, rows, new)
    width = new.size(1)
    buffer[:, :width].index_copy_(0, rows, new)
    if width < buffer.size(1):
        buffer[:, width:].index_fill_(0, rows, 0)
    return buffer
