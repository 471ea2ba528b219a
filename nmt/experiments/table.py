"""Rows of numbers as CSV, and the results as a Markdown table.

In the way of the data: measurements of the other modules -> **table** -> CSV files -> results.md and figures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.errors import NMTError
from nmt.files import atomic_write


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same columns, after a line of their names; floats have at most six significant digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none if it does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_matrix(path: Path, source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]) -> None:
    """Write attention `weights` (T, S): source pieces in the first line, target pieces in the first column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *source])
    for piece, row in zip(target, weights, strict=True):
        writer.writerow([piece, *(f"{weight:.4f}" for weight in row)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_matrix(path: Path) -> tuple[list[str], list[str], list[list[float]]]:
    """Return source pieces, target pieces and weights (T, S), as written by `write_matrix`."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    return head[1:], [row[0] for row in rows], [[float(weight) for weight in row[1:]] for row in rows]


COLUMNS: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
    ("model", "title", str, "{}"),
    ("h", "hidden", int, "{}"),
    ("parameters", "parameters", int, "{:,}"),
    ("speed", "speed_ratio", float, "{:.2f}"),
    ("tokens/s", "tokens_per_second", float, "{:,.0f}"),
    ("BLEU", "bleu", float, "{:.1f}"),
    ("95 % interval", "interval", str, "{}"),
    ("chrF", "chrf", float, "{:.1f}"),
    ("perplexity", "perplexity", float, "{:.2f}"),
)
"""heading, key, type and format of the columns of the Markdown table"""


def write_markdown(out: Path, baseline: str) -> str:
    """Write results.md from results.csv and speed.csv in the folder `out`; returns its text.

    `baseline` is the member whose speed is 1. Raises `NMTError` if the files are missing.
    """
    rows = read_csv(out / "results.csv")
    speeds = {row["member"]: float(row["tokens_per_second"]) for row in read_csv(out / "speed.csv")}
    if not rows or baseline not in speeds:
        raise NMTError(f"{out}: no results.csv and speed.csv of an experiment; run it without --redraw")
    text = markdown(rows, baseline, speeds[baseline])
    with atomic_write(out / "results.md") as file:
        file.write(text.encode())
    return text


def markdown(rows: Sequence[Mapping[str, str]], baseline: str, baseline_speed: float) -> str:
    """Format the rows of results.csv as a table with notes on how the numbers were obtained.

    The ratio of the speeds is more exact than each speed, as the machine's own speed drifts between two measurements.
    So the column tokens/s is the ratio times `baseline_speed`, the speed of the member `baseline`, and not the
    member's own median, whose ratio to the baseline's may differ from the median of the ratios.
    """
    lines = ["| " + " | ".join(heading for heading, *_ in COLUMNS) + " |"]
    lines.append("|---|" + "---:|" * (len(COLUMNS) - 1))
    for row in rows:
        values = {
            **row,
            "interval": f"{float(row['bleu_low']):.1f}–{float(row['bleu_high']):.1f}",
            "tokens_per_second": str(float(row["speed_ratio"]) * baseline_speed),
        }
        lines.append("| " + " | ".join(form.format(kind(values[key])) for _, key, kind, form in COLUMNS) + " |")
    first = rows[0]
    steps, tokens, sentences = (int(first[key]) for key in ("steps", "target_tokens", "sentences"))
    lines += [
        "",
        f"{first['corpus']}: {steps:,} steps, {tokens:,} target pieces seen, the same batches in the same order for "
        f"all, seed {first['seed']}. BLEU and chrF of the test set ({sentences:,} sentences, beam {first['beam']}); "
        "perplexity per piece on the validation set, of the best model by validation BLEU.",
        "",
        f"speed: training speed as a multiple of that of {baseline}. Each model is timed on the same "
        f"{first['speed_rounds']} batches (CPU threads: {first['threads']}), all models in turns; the ratio is taken "
        "for each batch, and the median of the ratios is given. tokens/s, target pieces per second: this ratio times "
        f"{baseline_speed:,.0f}, the median speed of {baseline}.",
        "",
        f"- BLEU: `{first['bleu_signature']}`",
        f"- chrF: `{first['chrf_signature']}`",
        f"- {first['date']}, {first['hardware']}, torch {first['torch']}",
        "- configs: " + ", ".join(f"{row['member']} `{row['config_digest']}`" for row in rows),
        f"- `{first['command']}`",
    ]
    return "\n".join(lines) + "\n"
