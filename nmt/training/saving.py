"""Saving in the background: checkpoints are written by a thread while training goes on.

In the way of the data: training state -> **saving** -> checkpoint files.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nmt.errors import CheckpointError
from nmt.training.checkpoint import checkpoint_bytes, write_checkpoint

WAITING = 2
"""files that may be under way: one is being written, and best.pt and last.pt belong together"""


class BackgroundWriter:
    """Writes checkpoints one at a time, in order, each whole or not at all; leaving the block waits for them.

    `save` takes a copy of what is saved, so that the weights may change at once. After a write that failed no other
    one is made, since last.pt must not be newer than the best.pt that it counts on; the next call of any method raises
    the error.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: deque[Future[None]] = deque()
        self._failed = False  # only the thread uses it

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._thread.shutdown()
        if error is None:
            self.check()

    def save(self, path: Path, content: dict[str, Any]) -> None:
        """Write `content` to `path` soon; waits while `WAITING` files are under way."""
        while len(self._pending) >= WAITING:
            self._pending.popleft().result()
        self.check()
        self._pending.append(self._thread.submit(self._write, path, checkpoint_bytes(content)))

    def check(self) -> None:
        """Raise `CheckpointError`, naming the file, if a write has failed."""
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()

    def wait(self) -> None:
        """Wait for all files; raises like `check`."""
        while self._pending:
            self._pending.popleft().result()

    def _write(self, path: Path, data: bytes) -> None:
        if self._failed:
            return
        self._failed = True
        try:
            write_checkpoint(path, data)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from error
        self._failed = False
