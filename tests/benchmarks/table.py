"""The table of a file of benchmark lines, in Markdown: `python -m tests.benchmarks.table FILE.jsonl`.

A figure is the median over the turns, with the lowest and the highest in brackets. Where several variants took turns,
each gets a column, and beside it how many times as fast this checkout is: the median of the turns' ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]
SMALLER_IS_BETTER = ("ms", "s", "MiB")


def table(lines: Iterable[Line]) -> str:
    """Return the table of these lines."""
    rows: dict[tuple[str, str, str], dict[str, list[Line]]] = {}
    for line in lines:
        setting = ", ".join(f"{name} {value}" for name, value in line["setting"].items())
        variants = rows.setdefault((line["case"], setting, line["unit"]), {})
        variants.setdefault(line.get("variant", ""), []).append(line)
    names = list(dict.fromkeys(name for variants in rows.values() for name in variants))
    head = ["case", "setting", "unit"]
    for name in names:
        head += [name or "this", "share"] + ([f"this / {name}"] if name else [])
    head.append("also")
    out = [head, ["---"] * len(head)]
    for (case, setting, unit), variants in rows.items():
        cells = [case, setting, unit]
        for name in names:
            found = variants.get(name, [])
            cells += _figures(found)
            cells += [_speedup(variants.get("", []), found, unit)] if name else []
        out.append([*cells, _also(variants.get("", []))])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in out)


def _figures(lines: Sequence[Line]) -> list[str]:
    """The cells of one variant: its value, and its ratio to what the line names."""
    if not lines:
        return ["", ""]
    values = sorted(line["value"] for line in lines)
    spread = f" ({values[0]:g} to {values[-1]:g})" if len(values) > 1 else ""
    ratio = statistics.median(line["ratio"] for line in lines)
    return [f"{statistics.median(values):.4g}{spread}", f"{ratio:.2g} of {lines[0]['of']}"]


def _also(lines: Sequence[Line]) -> str:
    """The other numbers of the lines of one variant, as medians."""
    names = [name for name, value in lines[0].items() if isinstance(value, int | float)] if lines else []
    others = [name for name in names if name not in ("value", "ratio", "turn", "sentences")]
    return ", ".join(f"{name} {statistics.median(line[name] for line in lines):.3g}" for name in others)


def _speedup(these: Sequence[Line], others: Sequence[Line], unit: str) -> str:
    """How many times as fast as the others these are, the median over the turns that both have."""
    by_turn = {line.get("turn"): line["value"] for line in others}
    ratios = [line["value"] / by_turn[line.get("turn")] for line in these if line.get("turn") in by_turn]
    if not ratios:
        return ""
    ratio = statistics.median(ratios)
    return f"{1 / ratio if unit in SMALLER_IS_BETTER else ratio:.3g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of the files, or of standard input."""
    names = sys.argv[1:] if argv is None else argv
    texts = [Path(name).read_text("utf-8") for name in names] if names else [sys.stdin.read()]
    lines = [json.loads(line) for text in texts for line in text.splitlines() if line.startswith("{")]
    print(table(line for line in lines if "value" in line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
