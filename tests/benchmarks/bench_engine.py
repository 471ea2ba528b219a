"""Speed of the engine: `python -m tests.benchmarks.bench_engine` prints one JSON line for each case.

A case compares several methods in one process, in alternating rounds, by the fastest round of each. Across machines or
days only the ratios are comparable. The model has realistic size and random weights. As with real translations, the
length of the output is random but close to that of the source.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nmt.config import ModelConfig
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.interface import Memory
from nmt.search.padding import pad_ids
from nmt.search.running_batch import slot_limits
from nmt.search.slots import open_history
from nmt.text.special_ids import EOS

VOCABULARY = 8000


class TimedModel(nn.Module):
    """A random `Seq2Seq` with outputs of 0.7 to 1.3 times the source length, determined by the first source piece.

    The number of pieces left is part of the decoder state, so the model itself keeps nothing between steps.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.model = Seq2Seq(ModelConfig(), VOCABULARY).to(dtype).eval()

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        memory, state = self.model.encode(src, lengths)
        jitter = 0.7 + 0.6 * (src[:, 0] % 100).float() / 100
        return memory, [*state, (lengths * jitter).ceil().unsqueeze(1)]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        logits, next_state, attention = self.model.step(tokens, state[:-1], memory)
        left = state[-1] - 1
        logits[:, EOS : EOS + 1] += torch.where(left > 0, -50.0, 50.0).to(logits.dtype)
        return logits, [*next_state, left], attention


def sentences(count: int, options: SearchOptions) -> list[Request]:
    """Return requests with source lengths as in everyday text: 3 to 40 pieces, with a median of about 14."""
    draw = random.Random(1)
    sizes = [min(40, max(3, round(draw.lognormvariate(2.6, 0.5)))) for _ in range(count)]
    return [Request(i, (*draw.choices(range(4, VOCABULARY), k=n), EOS), options) for i, n in enumerate(sizes)]


def static(search: BeamSearch, requests: list[Request], batch: int) -> None:
    """Run the same search on padded batches: a sentence that is done leaves, but no other takes its slot."""
    for begin in range(0, len(requests), batch):
        part = requests[begin : begin + batch]
        src, lengths = pad_ids([request.src for request in part])
        longest = max(request.max_length for request in part)
        search(src, lengths, part[0].options.beam, longest, part[0].options.length_penalty)


def best(clock: Callable[[], float], rounds: int, *methods: Callable[[], object]) -> list[float]:
    """Return the shortest time of each method in seconds; rounds alternate, so that a slow minute affects all."""
    seconds = [float("inf")] * len(methods)
    for _ in range(rounds):
        for i, method in enumerate(methods):
            began = clock()
            method()
            seconds[i] = min(seconds[i], clock() - began)
    return seconds


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_engine", description=__doc__)
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--slots", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time (busy machine); use --threads 1")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter

    for dtype in options.dtypes:
        search = BeamSearch(TimedModel(getattr(torch, dtype))).eval()
        for beam in options.beams:
            requests = sentences(options.sentences, SearchOptions(beam=beam))
            by_length = sorted(requests, key=lambda request: -len(request.src))
            for slots in options.slots:
                case = {"dtype": dtype, "beam": beam, "slots": slots, "threads": options.threads}
                engine, ordered, arriving = best(
                    clock,
                    options.rounds,
                    lambda: Engine(search, rows=slots * beam).run(requests),  # noqa: B023
                    lambda: static(search, by_length, slots),  # noqa: B023
                    lambda: static(search, requests, slots),  # noqa: B023
                )
                rate = {"sentences_per_second": round(len(requests) / engine, 1)}
                over = {"over_sorted_batches": round(ordered / engine, 3), "over_batches": round(arriving / engine, 3)}
                print(json.dumps({"case": "bulk", **case, **rate, **over}), flush=True)
            for count in (1, 32):
                print(json.dumps(overhead(search, requests[:count], beam, dtype, clock)), flush=True)


def overhead(
    search: BeamSearch, requests: list[Request], beam: int, dtype: str, clock: Callable[[], float]
) -> dict[str, object]:
    """Compare a step of the search with the step of the model in it."""
    src, lengths = pad_ids([request.src for request in requests])
    slots = search.open(src, lengths, slot_limits(requests, torch.device("cpu")), beam)
    history = open_history(slots, len(requests), 8, src.size(1))
    state = [s.flatten(0, 1) for s in slots.state]

    def steps() -> None:
        for _ in range(8):
            slots.time.zero_()
            search.advance(slots, history, False)

    def model_steps() -> None:
        for _ in range(8):
            search.model.step(slots.tokens.flatten(), state, slots.memory)

    whole, alone = best(clock, 5, steps, model_steps)
    milliseconds = {"step_ms": round(whole / 8 * 1e3, 2), "model_step_ms": round(alone / 8 * 1e3, 2)}
    return {
        "case": "step",
        "dtype": dtype,
        "beam": beam,
        "sentences": len(requests),
        **milliseconds,
        "ratio": whole / alone,
    }


if __name__ == "__main__":
    main()
