"""Run logging: a progress bar on a terminal or plain lines otherwise, a JSONL log, and TensorBoard.

Beside the way of the data: used by **train**.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import torch
from tqdm import tqdm

from nmt.files import atomic_write
from nmt.training.validation import Scores

SHORTEST_BAR = 10
"""columns of the progress bar on a narrow terminal"""


class RunLog:
    """The log of a run folder; with `quiet`, set in all but one process of a distributed run, nothing is written."""

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.folder = folder
        self.quiet = quiet
        self._file: IO[str] | None = None
        self._board: Any = None
        self._bar: tqdm[Any] | None = None

    def open(self) -> None:
        """Open the files in the run folder; existing ones are appended to."""
        if self.quiet:
            return
        self._file = (self.folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:  # TensorBoard is optional: log.jsonl has the same values
            return
        self._board = SummaryWriter(str(self.folder / "tensorboard"))

    def rewind(self, step: int) -> None:
        """Drop the records after `step`: a resumed run repeats these steps."""
        path = self.folder / "log.jsonl"
        if self.quiet or not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())

    def say(self, line: str) -> None:
        """Show a line to the user, above the progress bar if there is one."""
        if not self.quiet:
            tqdm.write(str(line), file=sys.stderr)

    def record(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Append a record of `kind` (`train` or `valid`) to the JSONL log and to TensorBoard."""
        if self._file is not None:
            print(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3), **values}), file=self._file)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def validation(self, step: int, scores: Scores, best: bool) -> None:
        """Record and show a validation; `best`: whether it is the best so far."""
        self.record("valid", step, {name: round(value, 4) for name, value in scores.to_dict().items()})
        mark = " (best)" if best else ""
        if len(scores.bleu_by_direction) > 1:
            each = ", ".join(f"{name} {bleu:.2f}" for name, bleu in scores.bleu_by_direction.items())
            mark += f" = mean of {each}"
        self.say(
            f"step {step}: validation loss {scores.loss:.3f}, perplexity {scores.perplexity:.2f}, "
            f"BLEU {scores.bleu:.2f}{mark}, {scores.sentences_per_second:.0f} sentences/s"
        )

    def bar(self, options: Any, progress: Any, share: Callable[[], float]) -> Bar:
        """The progress of the training loop, as a context manager; `share` returns the part done, 0 to 1."""
        return Bar(self, options.log_every, progress.step, share)

    def close(self) -> None:
        """Flush and close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        self._file = self._board = None


class Bar:
    """Sums tokens and losses from one log line to the next; a tqdm bar on a terminal, plain lines otherwise."""

    def __init__(self, log: RunLog, every: int, step: int, share: Callable[[], float]) -> None:
        self.log = log
        self.every = every
        self.share = share
        self.first_share = share()
        self.began = self.since = time.monotonic()
        self.tokens = self.own_tokens = self.steps = 0
        self.nll = torch.zeros(())
        self.show = sys.stderr.isatty() and not log.quiet
        self.tqdm = tqdm(
            total=1000,
            initial=round(1000 * self.first_share),
            desc=f"step {step}",
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}",
            dynamic_ncols=True,
            disable=not self.show,
            file=sys.stderr,
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.tqdm.n = round(1000 * min(self.share(), 1))
        self.tqdm.close()
        self.log.close()

    def step(
        self, step: int, epoch: int, tokens: int, nll: torch.Tensor, own_tokens: int, lr: float, norm: torch.Tensor
    ) -> None:
        """Count an update on `tokens` target pieces (all processes), and `nll` nats on the `own_tokens` of this one."""
        self.tokens += tokens
        self.own_tokens += own_tokens
        self.nll = nll.detach() + self.nll  # stays on the device, so that no step synchronises with it
        self.steps += 1
        if step % self.every and self.steps < self.every:
            return
        now = time.monotonic()
        share = self.share()
        eta = (now - self.began) * (1 - share) / max(share - self.first_share, 1e-9)
        values = {
            "epoch": epoch,
            "loss": float(self.nll) / max(self.own_tokens, 1),
            "tokens_per_second": self.tokens / max(now - self.since, 1e-9),
            "learning_rate": lr,
            "gradient_norm": float(norm),
        }
        self.log.record("train", step, {name: round(value, 6) for name, value in values.items()})
        loss = f"loss {values['loss']:.3f}"
        ppl = f"ppl {math.exp(min(values['loss'], 20)):.1f}"
        speed = f"{values['tokens_per_second']:,.0f} tokens/s"
        if self.show:
            self._draw(step, share, (loss, f"ETA {clock(eta)}", speed, ppl, f"epoch {epoch}"))
        else:
            line = f"{loss} {ppl} {speed} epoch {epoch} ETA {clock(eta)} lr {lr:.2e} norm {float(norm):.2f}"
            self.log.say(f"step {step} ({100 * share:.0f} %): {line}")
        self.tokens = self.own_tokens = self.steps = 0
        self.nll = torch.zeros(())
        self.since = time.monotonic()

    def _draw(self, step: int, share: float, values: Sequence[str]) -> None:
        """Draw the bar with as many of `values`, the most important first, as leave room for it."""
        self.tqdm.set_description_str(f"step {step}", refresh=False)
        self.tqdm.n = round(1000 * share)
        elapsed = tqdm.format_interval(time.monotonic() - self.began)
        room = (self.tqdm.format_dict["ncols"] or 80) - len(f"step {step} 100% || {elapsed}, ") - SHORTEST_BAR
        texts = accumulate(values, "{}, {}".format)  # the first value, the first two, and so on
        self.tqdm.set_postfix_str(max((text for text in texts if len(text) <= room), key=len, default=""))


def clock(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(min(seconds, 359999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
