"""Suggested translations, appended to a file as lines of JSON."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from service.errors import Unavailable


class Suggestions:
    """A file of suggestions, of at most ``most_bytes``. Several threads, and several processes, may append to it."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    def add(self, suggestion: dict[str, str]) -> None:
        """Append a suggestion; it is on the disk when this returns.

        Raises Unavailable if the file is full, or cannot be written.
        """
        line = (json.dumps(suggestion, ensure_ascii=False) + "\n").encode()
        try:
            with self._lock, self._path.open("ab", buffering=0) as file:
                if os.fstat(file.fileno()).st_size + len(line) > self._most_bytes:
                    raise Unavailable("no more suggestions are taken", retry_after=3600)
                if file.write(line) != len(line):  # in one call, so that lines of other processes do not mix with it
                    raise OSError
                os.fsync(file.fileno())
        except OSError:
            raise Unavailable("the suggestion cannot be written", retry_after=60) from None
