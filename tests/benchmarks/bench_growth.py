"""Growth: of a sentence's time with its length, the rows, the beam and the vocabulary; of preparation with the text.

`ratio` is the growth over that of the quantity since the first point: 1 is growth in proportion, less is better. With
`--plots DIR`, each series is drawn as well.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from nmt.device import keep_freed_memory
from tests.benchmarks.bench_decode import Decoder, add_options
from tests.benchmarks.bench_prepare import measure
from tests.benchmarks.measure import emit, seconds

POINTS = {
    "length": [5, 10, 20, 40, 80],
    "rows": [5, 20, 80, 320, 1280],
    "beam": [1, 2, 5, 10, 20],
    "vocabulary": [2000, 4000, 8000, 16000, 32000],
    "pairs": [1000, 3000, 10000, 30000],
}


def points(name: str, values: Sequence[int], options: argparse.Namespace, folder: Path) -> Iterator[tuple[int, float]]:
    """Yield a value of the quantity `name` and the milliseconds of a sentence (or of a pair, in preparation)."""
    for value in values:
        if name == "pairs":
            pairs, took, _ = measure(value, None, options.rounds)
            yield pairs, 1e3 * took / pairs
            continue
        sizes = {name: value} if name in ("rows", "vocabulary") else {}
        decoder = Decoder(options, folder, options.dtypes[0], options.threads[0], **sizes)
        beam = value if name == "beam" else options.beams[0]
        requests = decoder.requests(beam, options.sentences, value if name == "length" else None)
        yield value, 1e3 * seconds(options.rounds, lambda: decoder.run(requests)) / len(requests)  # noqa: B023


def plot(name: str, series: Sequence[tuple[int, float]], folder: Path) -> None:
    """Draw one series, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.loglog(*zip(*series, strict=True), marker="o")
    axes.set_xlabel(name)
    axes.set_ylabel("ms a pair" if name == "pairs" else "ms a sentence")
    axes.grid(which="both", alpha=0.3)
    figure.savefig(folder / f"growth-{name}.svg")


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks growth", description=__doc__)
    add_options(parser)
    parser.set_defaults(sentences=256, dtypes=["float32"], beams=[5], threads=[1])
    parser.add_argument("--plots", type=Path, metavar="DIR", help="folder for the plots (SVG)")
    parser.add_argument("--of", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--points", type=int, default=5, help="number of points of each series")
    options = parser.parse_args(argv)
    keep_freed_memory()
    for name in options.of:
        series: list[tuple[int, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            for value, ms in points(name, POINTS[name][: options.points], options, Path(folder)):
                series.append((value, ms))
                ratio = ms / series[0][1] / (1 if name == "pairs" else value / series[0][0])
                emit("growth", {"of": name, "value": value}, ms, "ms", ratio, "growth in proportion")
        if options.plots:
            options.plots.mkdir(parents=True, exist_ok=True)
            plot(name, series, options.plots)
