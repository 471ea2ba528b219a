"""The figures of an experiment, drawn from its CSV files alone, as .svg and .png.

In the way of the data: table -> **figures** -> files. The only module that needs matplotlib, which is used without a
window system or global state. Colours are close to those of Okabe & Ito (2008), which colour-blind readers can
distinguish; models with attention have solid lines, those with a fixed context dashed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from nmt.experiments.table import read_csv, read_matrix
from nmt.files import atomic_write
from nmt.plot import save_heat_map

Row = dict[str, str]

ATTENTION_COLOURS = ("#0072B2", "#3FA7DD", "#009E73", "#00382E")
FIXED_COLOURS = ("#D55E00", "#DB9200", "#C0588F", "#7A4B2A", "#888888", "#A69A00")
MARKERS = "osD^vPX*<>"
DASHES = ((4, 1.6), (1.4, 1.4), (6, 1.6, 1.4, 1.6), (3, 1.2), (8, 2), (2.4, 2.4))
FONT_SIZE = 10.5  # points
STYLE = {
    "font.size": FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": "#222222",
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "svg.hashsalt": "nmt",  # the same numbers make the same file
    "svg.fonttype": "path",
}
WIDTH, HEIGHT, DOTS_PER_INCH = 9.0, 5.0, 160


def draw(out: Path) -> list[Path]:
    """Draw a figure from each CSV file in `out`; returns the files written."""
    drawings: dict[str, Callable[[list[Row]], Figure]] = {
        "bleu_by_length": bleu_by_length,
        "gradient_by_distance": gradient_by_distance,
        "learning_curves": learning_curves,
    }
    written: list[Path] = []
    with rc_context(STYLE):  # type: ignore[arg-type]
        for name, drawing in drawings.items():
            if rows := read_csv(out / f"{name}.csv"):
                written += save(drawing(rows), out / name)
    for path in sorted((out / "alignments").glob("*.csv")):
        source, target, weights = read_matrix(path)
        for kind in (".svg", ".png"):
            save_heat_map(path.with_suffix(kind), source, target, weights)
            written.append(path.with_suffix(kind))
    return written


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as stem.svg and stem.png."""
    paths = []
    for kind in ("svg", "png"):
        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        with atomic_write(paths[-1]) as file:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=metadata, facecolor="white")
    return paths


def looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Choose the line style of each member, by its position among the members of its kind."""
    attending, fixed, marks, dashes = cycle(ATTENTION_COLOURS), cycle(FIXED_COLOURS), cycle(MARKERS), cycle(DASHES)
    styles: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["member"] in styles:
            continue
        if row["attention"] == "none":
            style = {"color": next(fixed), "dashes": next(dashes), "linewidth": 1.7}
        else:
            style = {"color": next(attending), "linewidth": 2.4}
        styles[row["member"]] = {**style, "marker": next(marks), "markersize": 5.5}
    return styles


def by_member(rows: Sequence[Row], key: str = "member") -> dict[str, list[Row]]:
    """Group rows by their member (or another column), in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def numbers(rows: Sequence[Row], column: str) -> list[float]:
    """Return a column as numbers."""
    return [float(row[column]) for row in rows]


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its right end `(x, y, name, colour)`, moved apart where they would overlap."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # fixes the scale, so that positions stay valid
    gap = 1.3 * FONT_SIZE * axes.figure.dpi / 72
    dots = [axes.transData.transform((x, y)) for x, y, _, _ in ends]
    right = axes.transAxes.transform((1.0, 0.0))[0]
    order = sorted(range(len(ends)), key=lambda i: dots[i][1])
    heights = spread([dots[i][1] for i in order], gap)
    back = axes.transData.inverted()
    for height, i in zip(heights, order, strict=True):
        x, y, name, colour = ends[i]
        at = back.transform((right + 0.9 * gap, height))
        axes.annotate(
            name,
            xy=(x, y),
            xytext=tuple(at),
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "alpha": 0.6,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move ascending `positions` as little as needed so that neighbours are at least `gap` apart.

    Groups that touch are merged, and a group is centred at the mean of its members (isotonic regression).
    """
    groups: list[list[float]] = []  # of positions minus the gaps below them
    for index, position in enumerate(positions):
        groups.append([position - index * gap])
        while len(groups) > 1 and sum(groups[-2]) / len(groups[-2]) > sum(groups[-1]) / len(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    levels = [sum(group) / len(group) for group in groups for _ in group]
    return [level + index * gap for index, level in enumerate(levels)]


def bleu_by_length(rows: list[Row]) -> Figure:
    """Draw BLEU against the length of the source (Bahdanau et al. 2015, figure 2), with the intervals as bars."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.075, right=0.66, top=0.9, bottom=0.17)
    styles = looks(rows)
    bins = list(dict.fromkeys((row["words"], row["sentences"]) for row in rows))
    place = {words: index for index, (words, _) in enumerate(bins)}
    members = by_member(rows)
    ends = []
    for index, (member, own) in enumerate(members.items()):
        style = styles[member]
        shift = 0.028 * (index - (len(members) - 1) / 2)
        x = [place[row["words"]] + shift for row in own]
        y, low, high = (numbers(own, column) for column in ("bleu", "low", "high"))
        axes.plot(x, y, **style, markeredgecolor="white", markeredgewidth=0.8)
        axes.vlines(x, low, high, color=style["color"], alpha=0.4, linewidth=1.5)
        ends.append((x[-1], y[-1], own[0]["title"], style["color"]))
    axes.set_xticks(range(len(bins)), [f"{words}\n{count} sentences" for words, count in bins])
    axes.tick_params(axis="x", labelsize=9.5, length=0)
    axes.set_xlim(-0.3, len(bins) - 0.7)
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("length of the source (words)")
    axes.set_ylabel("BLEU")
    axes.set_title("BLEU by source length, with 95 % bootstrap intervals")
    label_ends(axes, ends)
    return figure


def gradient_by_distance(rows: list[Row]) -> Figure:
    """Draw the gradient norm by distance, before and after training, on a logarithmic scale."""
    figure = Figure(figsize=(WIDTH, 4.4))
    panels = by_member(rows, "when")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.085, right=0.845, top=0.87, bottom=0.13, wspace=0.07)
    styles = looks(rows)
    for axes, (when, panel) in zip(grid, panels.items(), strict=True):
        axes.set_yscale("log")
        axes.set_title(when)
        axes.set_xlabel("distance from the last source piece")
        for member, own in by_member(panel).items():
            style = styles[member]
            x, y = numbers(own, "distance"), numbers(own, "relative_norm")
            line = {key: style[key] for key in ("color", "dashes", "linewidth") if key in style}
            axes.plot(x, y, **(line | {"linewidth": 2.2}))
        axes.yaxis.set_minor_formatter(NullFormatter())
    grid[0].set_ylabel("gradient norm, relative to distance 0")
    last = by_member(list(panels.values())[-1])
    ends = []
    for member, own in last.items():
        name = own[0]["title"].split(",")[0]
        ends.append((float(own[-1]["distance"]), float(own[-1]["relative_norm"]), name, styles[member]["color"]))
    label_ends(grid[-1], ends)
    return figure


def learning_curves(rows: list[Row]) -> Figure:
    """Draw validation BLEU and perplexity against the target pieces seen."""
    figure = Figure(figsize=(WIDTH + 2, HEIGHT))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.73, top=0.9, bottom=0.13, wspace=0.2)
    styles = looks(rows)
    most = max(numbers(rows, "target_tokens"))
    scale, unit = (1e6, "million ") if most >= 5e5 else (1e3, "thousand ") if most >= 5e3 else (1.0, "")
    ends = []
    for member, own in by_member(rows).items():
        style = styles[member] | {"markersize": 4}
        x = [tokens / scale for tokens in numbers(own, "target_tokens")]
        left.plot(x, numbers(own, "bleu"), **style)
        right.plot(x, numbers(own, "perplexity"), **style)
        ends.append((x[-1], numbers(own, "perplexity")[-1], own[0]["title"], style["color"]))
    right.set_yscale("log")
    for which in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))
    left.set_ylim(bottom=0)
    left.set_title("validation BLEU (greedy)")
    right.set_title("validation perplexity a piece")
    for axes in (left, right):
        axes.set_xlabel(f"target pieces seen ({unit.strip()})" if unit else "target pieces seen")
        axes.set_xlim(left=0)
    label_ends(right, ends)
    return figure
