"""Speed of decoding: full batches in sentences/s, one sentence at a time in ms (median and 99th percentile).

`ratio` is the share of the product peak: the work of a sentence (`work.py`, from the lengths of source and best
hypothesis) over the time that it took, over the peak of the same number type and threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter

from nmt.device import keep_freed_memory
from nmt.search.engine import Request, Result
from nmt.translator import Translator
from tests.benchmarks import material
from tests.benchmarks.measure import BusyNeighbour, by_turns, emit, peak, seconds
from tests.benchmarks.work import Work


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a model and its sentences."""
    parser.add_argument("--model", type=Path, help="exported file, or run folder to export (default: random weights)")
    parser.add_argument("--text", type=Path, help="sentences, plain or gzip (default: random pieces, forced lengths)")
    parser.add_argument("--sentences", type=int, default=1000, help="number of sentences of full batches")
    parser.add_argument("--rows", type=int, default=320, help="hypotheses that are decoded together")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument(
        "--engines", type=int, nargs="+", default=[None], help="engines that share --threads (default: its own choice)"
    )
    parser.add_argument("--rounds", type=int, default=3)


class Decoder:
    """A loaded model with sentences to decode."""

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        dtype: str,
        threads: int,
        engines: int | None = None,
        **sizes: int,
    ) -> None:
        """`sizes` may name the `vocabulary`, and `rows` to use instead of the options'."""
        path, config = material.exported(options.model, dtype, folder, sizes.get("vocabulary", material.VOCABULARY))
        self.translator: Translator = material.load(path, threads, engines, sizes.get("rows", options.rows))
        self.vocabulary = self.translator.tokenizer.vocabulary
        self.work = Work.of(config, self.vocabulary)
        self.options = options

    def requests(self, beam: int, count: int, length: int | None = None) -> list[Request]:
        """The first `count` sentences."""
        if self.options.text is None:
            return material.random_requests(count, self.vocabulary, beam, length)
        return material.text_requests(self.translator, material.read_lines(self.options.text)[:count], beam)

    def run(self, requests: Sequence[Request]) -> list[Result]:
        """Search `requests`; fails if one of them does."""
        engine = self.translator.engine
        assert engine is not None
        results = engine.run(requests)
        errors = [result.error for result in results if result.error is not None]
        if errors:
            raise errors[0]
        return results

    def operations(self, requests: Sequence[Request], beam: int) -> float:
        """GFLOP of a sentence, the mean of `requests`."""
        best = [result.hypotheses[0] for result in self.run(requests)]
        sizes = [
            (len(request.src), len(hypothesis.token_log_probs))
            for request, hypothesis in zip(requests, best, strict=True)
        ]
        return self.work.decoding(sizes, beam) / len(requests) / 1e9


def kernels() -> str:
    """Whether this version decodes by its own kernels."""
    try:
        return "on" if import_module("nmt.kernels").load() else "off"
    except ModuleNotFoundError:
        return "none"


def full_batches(decoder: Decoder, setting: dict[str, object], beam: int, peak_gflops: float) -> None:
    """Measure many sentences together."""
    requests = decoder.requests(beam, decoder.options.sentences)
    gflop = decoder.operations(requests, beam)  # this is the warm-up, too
    rate = len(requests) / seconds(decoder.options.rounds, lambda: decoder.run(requests), warm_up=0)
    more = {"gflop_per_sentence": gflop, "peak_gflops": peak_gflops, "sentences": len(requests), "kernels": kernels()}
    emit("decode", setting, rate, "sentences/s", rate * gflop / peak_gflops, "product peak", **more)


def one_by_one(decoder: Decoder, setting: dict[str, object], beam: int, peak_gflops: float) -> None:
    """Measure sentences that are translated alone."""
    requests = decoder.requests(beam, decoder.options.alone)
    gflop = decoder.operations(requests, beam)
    times = []
    for request in requests:
        began = perf_counter()
        decoder.run([request])
        times.append(1e3 * (perf_counter() - began))
    p50, p99 = statistics.median(times), sorted(times)[int(0.99 * len(times))]
    ratio = gflop / (statistics.mean(times) / 1e3) / peak_gflops
    emit("one sentence", setting, p50, "ms", ratio, "product peak", p99_ms=p99, gflop_per_sentence=gflop)


def beside(decoder: Decoder, setting: dict[str, object], beam: int) -> None:
    """Measure full batches on the free machine and beside a busy process, by turns."""
    requests = decoder.requests(beam, decoder.options.sentences)

    def busy() -> None:
        with BusyNeighbour():
            decoder.run(requests)

    free, shared = map(statistics.median, by_turns(decoder.options.rounds, lambda: decoder.run(requests), busy))
    emit("decode beside a busy process", setting, len(requests) / shared, "sentences/s", free / shared, "free machine")


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks decode", description=__doc__)
    add_options(parser)
    parser.add_argument("--alone", type=int, default=100, help="number of sentences that are translated one by one")
    parser.add_argument("--busy", action="store_true", help="only: full batches beside a busy process on one core")
    options = parser.parse_args(argv)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dtype in options.dtypes:
            for threads in options.threads:
                for engines in options.engines:
                    decoder = Decoder(options, folder, dtype, threads, engines)
                    for beam in options.beams:
                        setting: dict[str, object] = {"dtype": dtype, "beam": beam, "threads": threads}
                        setting |= {"engines": engines} if engines else {}
                        if options.busy:
                            beside(decoder, setting, beam)
                            continue
                        peak_gflops = peak(dtype, threads)[0]
                        full_batches(decoder, setting, beam, peak_gflops)
                        if options.alone:
                            one_by_one(decoder, setting, beam, peak_gflops)
