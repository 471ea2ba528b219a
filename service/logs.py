"""The log on stderr, as text or JSON, written by a thread of its own, so that a full pipe or disk delays no request."""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from service.context import current

STDERR = 2
MOST_BYTES = 4 * 1024 * 1024  # of lines that wait for a slow reader; then lines are dropped
CLOSE_S = 2.0  # for the reader to take the last lines


class LineWriter:
    """Writes lines to a file descriptor, in a thread.

    `write` never waits. Lines are dropped, and reported to ``dropped``, while ``most_bytes`` of them wait, and where
    writing fails. The thread calls the system directly: a Python stream that it blocks in would block the interpreter's
    exit.
    """

    def __init__(self, file: int, most_bytes: int = MOST_BYTES) -> None:
        self.dropped: Callable[[int], None] = lambda lines: None
        self._file = file
        self._most_bytes = most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # with those that are being written
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take a line, with its end, or drop it."""
        with self._changed:
            taken = not self._closed and self._bytes + len(line) <= self._most_bytes
            if taken:
                self._lines.append(line)
                self._bytes += len(line)
                self._changed.notify()
        if not taken:
            self.dropped(1)

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Take no more lines; return whether all were written within so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines and not self._closed:
                    self._changed.wait()
                if not self._lines:
                    return
                line = self._lines.popleft()
            try:
                self._write(line)
            except OSError:  # no reader, no space on the disk
                self.dropped(1)
            with self._changed:
                self._bytes -= len(line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._file, line) :]
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._file], [], 1.0)


class Handler(logging.Handler):
    """Gives each record, formatted, to a writer; with the id of the request that was being answered."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record."""
        record.request_id = current().id
        try:
            line = self.format(record)
        except Exception:  # wrong arguments for the message
            self._writer.dropped(1)
        else:
            self._writer.write(line.encode("utf-8", "backslashreplace") + b"\n")


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what a record has beside its message: ``extra={"fields": ...}``."""
    request_id = getattr(record, "request_id", "")
    return {**({"request_id": request_id} if request_id else {}), **getattr(record, "fields", {})}


class TextFormatter(logging.Formatter):
    """Date, level, logger, message, and fields as name=value. Only a traceback has several lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Append the fields; a line end of the message would look like another record."""
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        return " ".join([line, *(f"{name}={_plain(value)}" for name, value in fields_of(record).items())])


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() and text.isprintable() and text and not set(text) & set(' "') else json.dumps(text)


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, the fields, and a traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


@contextmanager
def logging_to(file: int, form: Literal["text", "json"], level: str) -> Iterator[LineWriter]:
    """Write the log, and Python's warnings, to a file descriptor."""
    writer = LineWriter(file)
    handler = Handler(writer)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    try:
        yield writer
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        root.removeHandler(handler)
        writer.close()
