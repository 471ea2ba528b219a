"""Rows of numbers as CSV, and the results as a Markdown table.

In the way of the data: what the other modules measured -> **table** -> files, from which `figures` draws.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.files import atomic_write


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same columns, the first line their names; floats with at most six significant digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none when it is not there."""
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
    """Source pieces, target pieces and weights (T, S), as written by `write_matrix`."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    return head[1:], [row[0] for row in rows], [[float(weight) for weight in row[1:]] for row in rows]


COLUMNS = (
    ("model", "title", "{}"),
    ("h", "hidden", "{}"),
    ("parameters", "parameters", "{:,}"),
    ("tokens/s", "speed_tokens_per_second", "{:,.0f}"),
    ("speed", "speed_ratio", "{:.2f}"),
    ("BLEU", "bleu", "{:.1f}"),
    ("95 % interval", "interval", "{}"),
    ("chrF", "chrf", "{:.1f}"),
    ("perplexity", "perplexity", "{:.2f}"),
)
"""heading, key and form of the columns of the Markdown table"""


def markdown(rows: Sequence[Mapping[str, Any]], baseline: str) -> str:
    """The results for a reader: a table, and below it how they came about."""
    lines = ["| " + " | ".join(heading for heading, _, _ in COLUMNS) + " |"]
    lines.append("|---|" + "---:|" * (len(COLUMNS) - 1))
    for row in rows:
        values = {**row, "interval": f"{row['bleu_low']:.1f}–{row['bleu_high']:.1f}"}
        lines.append("| " + " | ".join(form.format(values[key]) for _, key, form in COLUMNS) + " |")
    first = rows[0]
    lines += [
        "",
        f"{first['corpus']}: {first['steps']:,} steps, {first['target_tokens']:,} target pieces seen, the same batches "
        f"in the same order for all, seed {first['seed']}. BLEU and chrF of the test set ({first['sentences']:,} "
        f"sentences, beam {first['beam']}); perplexity a piece on the validation set, of the best model by validation "
        f"BLEU. tokens/s: target pieces in training, all models measured in turns in one run, median of "
        f"{first['speed_rounds']} rounds, CPU threads: {first['threads']}; speed: as a multiple of that of {baseline}.",
        "",
        f"- BLEU: `{first['bleu_signature']}`",
        f"- chrF: `{first['chrf_signature']}`",
        f"- {first['date']}, {first['hardware']}, torch {first['torch']}",
        "- configs: " + ", ".join(f"{row['member']} `{row['config_digest']}`" for row in rows),
        f"- `{first['command']}`",
    ]
    return "\n".join(lines) + "\n"
