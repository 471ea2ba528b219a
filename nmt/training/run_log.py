"""What a run tells: a progress bar on a terminal or plain lines, a JSONL log, TensorBoard.

Beside the way of the data: **train** speaks through it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from tqdm import tqdm

from nmt.files import atomic_write
from nmt.training.validation import Scores


class Journal:
    """The log of a run folder. A `quiet` one (of the other processes of a distributed run) says and writes nothing."""

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.folder = folder
        self.quiet = quiet
        self._file: IO[str] | None = None
        self._board: Any = None
        self._bar: tqdm[Any] | None = None

    def open(self) -> None:
        """Begin, or go on, writing into the folder."""
        if self.quiet:
            return
        self._file = (self.folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:  # the extra `train` brings it; a log without it is whole all the same
            return
        self._board = SummaryWriter(str(self.folder / "tensorboard"))

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run does it again."""
        path = self.folder / "log.jsonl"
        if self.quiet or not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())

    def say(self, line: str) -> None:
        """Show a line to the user, above the bar where there is one."""
        if not self.quiet:
            tqdm.write(str(line), file=sys.stderr)

    def record(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Append to the JSONL log and TensorBoard."""
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
        """The progress of the loop, as a context manager."""
        return Bar(self, options.log_every, progress.step, share)

    def close(self) -> None:
        """Flush and close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        self._file = self._board = None


class Bar:
    """Counts tokens and losses between log lines; a tqdm bar on a terminal, plain lines otherwise."""

    def __init__(self, journal: Journal, every: int, step: int, share: Callable[[], float]) -> None:
        self.journal = journal
        self.every = every
        self.share = share
        self.first_share = share()
        self.began = self.since = time.monotonic()
        self.tokens = self.own_tokens = self.steps = 0
        self.nll = torch.zeros(())
        show = sys.stderr.isatty() and not journal.quiet
        form = "{desc} |{bar}| {percentage:3.0f}% {elapsed}<{postfix}"
        self.tqdm = tqdm(total=1000, bar_format=form, disable=not show, desc=f"step {step}", file=sys.stderr)
        self.show = show

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.tqdm.close()
        self.journal.close()

    def step(
        self, step: int, epoch: int, tokens: int, nll: torch.Tensor, own_tokens: int, lr: float, norm: torch.Tensor
    ) -> None:
        """Count an update of `tokens` target pieces (all processes), whose own share had `nll` nats on `own_tokens`."""
        self.tokens += tokens
        self.own_tokens += own_tokens
        self.nll = self.nll.to(nll.device) + nll.detach()  # a tensor: the host does not wait for the device
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
        self.journal.record("train", step, {name: round(value, 6) for name, value in values.items()})
        line = (
            f"loss {values['loss']:.3f} ppl {math.exp(min(values['loss'], 20)):.1f} "
            f"{values['tokens_per_second']:,.0f} tokens/s epoch {epoch} ETA {clock(eta)}"
        )
        if self.show:
            self.tqdm.set_description_str(f"step {step}", refresh=False)
            self.tqdm.set_postfix_str(line, refresh=False)
            self.tqdm.n = round(1000 * share)
            self.tqdm.refresh()
        else:
            self.journal.say(f"step {step} ({100 * share:.0f} %): {line} lr {lr:.2e} norm {float(norm):.2f}")
        self.tokens = self.own_tokens = self.steps = 0
        self.nll = torch.zeros(())
        self.since = time.monotonic()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(min(seconds, 359999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
