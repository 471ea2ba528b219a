"""Translated files, from their translation until they are fetched: in memory, under names that cannot be guessed."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """A file and when it expires."""

    content: bytes
    expires: float


class FileStore:
    """Files that are kept for a while; the oldest go when they would be too many, or too large together.

    They are in memory, so nothing of a request ever reaches the file system. A replica has only its own.
    """

    def __init__(
        self, keep_s: float, most_bytes: int, most: int = 1000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep_s = keep_s
        self._most_bytes = most_bytes
        self._most = most
        self._clock = clock
        self._files: OrderedDict[str, Kept] = OrderedDict()  # oldest first
        self._bytes = 0

    def put(self, content: bytes, extension: str) -> str:
        """Keep a file; return its name."""
        self._forget(len(content), 1)
        name = secrets.token_urlsafe(24) + extension
        self._files[name] = Kept(content, self._clock() + self._keep_s)
        self._bytes += len(content)
        return name

    def get(self, name: str) -> bytes | None:
        """Return a file; None if there is none of that name, or no longer."""
        self._forget()
        kept = self._files.get(name)
        return None if kept is None else kept.content

    def _forget(self, more_bytes: int = 0, more: int = 0) -> None:
        """Remove what is too old, and the oldest files until so many more bytes and files fit."""
        while self._files:
            name, oldest = next(iter(self._files.items()))
            full = self._bytes + more_bytes > self._most_bytes or len(self._files) + more > self._most
            if oldest.expires > self._clock() and not full:
                return
            del self._files[name]
            self._bytes -= len(oldest.content)
