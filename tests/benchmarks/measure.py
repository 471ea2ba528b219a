"""What all benchmarks share: medians by turns, the product peak of the machine, a busy neighbour, JSON lines.

Every line has the same form, which `table.py` reads:

    case, setting        what was measured
    value, unit          the figure
    ratio, of            the figure relative to something that was measured in the same run
    ...                  anything else
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

PEAK_SECONDS = 0.3
"""time for each kind and size of product; the fastest one counts"""


def emit(case: str, setting: Mapping[str, object], value: float, unit: str, ratio: float, of: str, **more: Any) -> None:
    """Print one line; `ratio` is relative to `of`, measured in the same run."""
    line = {"case": case, "setting": setting, "value": _short(value), "unit": unit, "ratio": _short(ratio), "of": of}
    print(json.dumps(line | {name: _short(x) if isinstance(x, float) else x for name, x in more.items()}), flush=True)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def by_turns(rounds: int, *methods: Callable[[], object], warm_up: int = 1) -> list[list[float]]:
    """Return the seconds of each method in each of `rounds`, in which they alternate; those of the warm-up not."""
    seconds: list[list[float]] = [[] for _ in methods]
    for _ in range(warm_up + rounds):
        for times, method in zip(seconds, methods, strict=True):
            began = time.perf_counter()
            method()
            times.append(time.perf_counter() - began)
    return [times[warm_up:] for times in seconds]


def seconds(rounds: int, method: Callable[[], object], warm_up: int = 1) -> float:
    """The median time of `method`."""
    return statistics.median(by_turns(rounds, method, warm_up=warm_up)[0])


_peaks: dict[tuple[str, int], tuple[float, str]] = {}


def peak(dtype: str, threads: int) -> tuple[float, str]:
    """Return the highest GFLOP/s of large square products seen so far in this process, and which product it was.

    Measured anew by each call, because a busy machine seldom shows its peak. `dtype` is that of the factors; an int8
    product is counted like a floating-point one.
    """
    torch.set_num_threads(threads)
    best = _peaks.get((dtype, threads), (0.0, ""))
    for size in (1024, 2048):
        for name, product in products(dtype, size).items():
            end = time.perf_counter() + PEAK_SECONDS
            while (began := time.perf_counter()) < end:
                product()
                best = max(best, (2 * size**3 / (time.perf_counter() - began) / 1e9, f"{name} {size}"))
    _peaks[dtype, threads] = best
    return best


def products(dtype: str, size: int) -> dict[str, Callable[[], Tensor]]:
    """The ways in which torch multiplies two matrices of this size, with its second factor stored as in a layer."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    if dtype == "int8":
        a8, b8 = (x.mul(30).round().clamp(-127, 127).to(torch.int8) for x in (a, b))
        return {"torch._int_mm": lambda: torch._int_mm(a8, b8.t())}
    a, b = a.to(getattr(torch, dtype)), b.to(getattr(torch, dtype))
    ways: dict[str, Callable[[], Tensor]] = {"torch.mm": lambda: torch.mm(a, b.t())}
    if dtype == "float32" and torch.backends.mkldnn.is_available():
        # torch.mm is MKL's, which on some CPUs is far slower than oneDNN's product with a packed matrix.
        packed = torch.ops.mkldnn._reorder_linear_weight(b, size)
        ways["mkldnn._linear_pointwise"] = lambda: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")
    return ways


class BusyNeighbour:
    """A process that keeps one core busy inside the block; the core is the last of those that this process may use."""

    def __enter__(self) -> None:
        core = max(os.sched_getaffinity(0))
        code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def memory() -> float:
    """The largest resident memory of this process so far, in MiB (Linux)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def cpu() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
