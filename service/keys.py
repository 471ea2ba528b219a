"""API keys of which only digests are kept, in a SQLite file that this command changes while the service runs.

    python -m service.keys add NAME --keys FILE [--per-minute N] [--per-hour N] [--per-day N] [--bulk]
    python -m service.keys list --keys FILE
    python -m service.keys revoke NAME --keys FILE

A key is 32 random bytes. So SHA-256 is enough, without salt or many rounds: these protect secrets that can be guessed,
and a slow digest would cost each request milliseconds.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import os
import re
import secrets
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.errors import SettingsError
from service.limits import UNLIMITED, Rates

log = logging.getLogger("service.keys")

REFRESH_S = 1.0  # seconds between two looks at the file
BUSY_S = 5.0  # seconds to wait for another process that writes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")  # it stands in the log
TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL, per_minute INTEGER, per_hour INTEGER, per_day INTEGER,
    bulk INTEGER NOT NULL, created TEXT NOT NULL, revoked TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS valid_names ON keys (name) WHERE revoked IS NULL;
"""


@dataclass(frozen=True)
class Key:
    """A key's name and rights. rates: its limits; None stands for those of the service."""

    name: str
    rates: tuple[int | None, int | None, int | None] = (None, None, None)
    bulk: bool = False
    created: str = ""
    revoked: str | None = None

    def limits(self, default: Rates) -> Rates:
        """Return its limits, those of the service where it has none of its own."""
        return Rates(*(other if own is None else own for own, other in zip(self.rates, default, strict=True)))


def digest_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class KeyFile:
    """The SQLite file. Its methods raise SettingsError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[tuple[bytes, Key]]:
        """Return the digests and keys, also revoked ones, oldest first; none if there is no file."""
        try:
            self._path.stat()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(os.strerror(error.errno or 0)) from None
        with self._open("ro") as file:
            rows = file.execute("SELECT * FROM keys ORDER BY created, name").fetchall()
        return [
            (digest, Key(name, (minute, hour, day), bool(bulk), created, revoked))
            for digest, name, minute, hour, day, bulk, created, revoked in rows
        ]

    def add(self, key: Key) -> str:
        """Make a key and return it; it is not kept. The file is made if need be, for its owner only."""
        if not NAME.fullmatch(key.name):
            raise SettingsError(f"{key.name!r}: a name has 1 to 64 letters, digits and . _ @ -")
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._unusable(os.strerror(error.errno or 0)) from None
        secret = secrets.token_urlsafe(32)
        row = (digest_of(secret), key.name, *key.rates, key.bulk, _now(), None)
        with self._open("rw") as file:
            file.executescript(TABLE)
            try:
                file.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise SettingsError(
                    f"{key.name}: there is a key of this name; revoke it first, or choose another"
                ) from None
        return secret

    def revoke(self, name: str) -> None:
        """Revoke the key of this name."""
        with self._open("rw") as file:
            changed = file.execute("UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL", (_now(), name))
            if not changed.rowcount:
                raise SettingsError(
                    f"{name}: there is no valid key of this name; list them: python -m service.keys list"
                )

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            with (
                closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode={mode}", BUSY_S, uri=True)) as file,
                file,
            ):
                yield file
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, reason: str) -> SettingsError:
        return SettingsError(f"--keys {self._path}: {reason}; give a file made by python -m service.keys add")


class Keyring:
    """The keys that are accepted: a list of plain ones, and those of a file, which is looked at every second.

    A file that is missing has no keys. One that cannot be read later on leaves the keys as they were, with an error in
    the log. Raises SettingsError if it cannot be read at first.
    """

    def __init__(self, plain: Sequence[str] = (), path: str = "") -> None:
        self.required = bool(plain or path)
        self._plain = [(digest_of(key), Key(f"#{n}")) for n, key in enumerate(plain, 1)]
        self._path = path
        self._file = KeyFile(Path(path))
        self._rows: list[tuple[bytes, Key]] = []
        self._problem = ""
        # Keys are looked up by a digest with a secret of this process, so the time that it takes says nothing about the
        # keys that are accepted, whatever is tried.
        self._secret = secrets.token_bytes(32)
        self._keys: dict[bytes, Key] = {}
        self._ended = threading.Event()
        self._take(self._file.read() if path else [])

    def find(self, given: str | None) -> Key | None:
        """Return the key, or None if it is not accepted."""
        return None if given is None else self._keys.get(self._blind(digest_of(given)))

    def start(self) -> None:
        """Look at the file every second, in a thread: a disk may hang."""
        if self._path:
            threading.Thread(target=self._watch, name="keys", daemon=True).start()

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(REFRESH_S):
            self.refresh()

    def refresh(self) -> None:
        """Read the file again."""
        try:
            rows, problem = self._file.read(), ""
        except SettingsError as error:
            rows, problem = self._rows, str(error)
        if problem and problem != self._problem:
            log.error("%s; the keys stay as they were", problem)
        self._problem = problem
        if rows != self._rows:
            self._take(rows)

    def _take(self, rows: list[tuple[bytes, Key]]) -> None:
        self._rows = rows
        valid = [*self._plain, *((digest, key) for digest, key in rows if key.revoked is None)]
        self._keys = {self._blind(digest): key for digest, key in valid}
        if self._path:
            log.info("%d API keys are accepted", len(valid))
        if self.required and not valid:
            command = f"python -m service.keys add NAME --keys {self._path}"
            log.warning("--keys %s has no valid key, so every request is refused; add one: %s", self._path, command)

    def _blind(self, digest: bytes) -> bytes:
        return hmac.digest(self._secret, digest, "sha256")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m service.keys",
        description="Make, list and revoke API keys. A running service takes a change over within a second.",
    )
    variable = "NMT_KEYS"
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--keys", metavar="FILE", default=os.environ.get(variable), help=f"file (default: {variable})")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", parents=[common], help="make a key and print it; it cannot be shown again")
    add.add_argument("name", help="name of the client, for the list and the log")
    for window in Rates._fields:
        text = f"texts per {window}; -1 for no limit (default: as the service has it)"
        add.add_argument(f"--per-{window}", type=_limit, metavar="N", help=text)
    add.add_argument("--bulk", action="store_true", help="its requests may wait for those of others")
    commands.add_parser("list", parents=[common], help="list the keys")
    revoke = commands.add_parser("revoke", parents=[common], help="refuse a key from now on")
    revoke.add_argument("name", help="its name")
    given = parser.parse_args(arguments)
    if not given.keys:
        parser.error(f"no file of keys; give --keys FILE or {variable}")
    file = KeyFile(Path(given.keys))
    try:
        if given.command == "add":
            rates = (given.per_minute, given.per_hour, given.per_day)
            print(file.add(Key(given.name, rates, given.bulk)))
        elif given.command == "revoke":
            file.revoke(given.name)
        else:
            _list([key for _, key in file.read()])
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _list(keys: Sequence[Key]) -> None:
    line = "{:<24} {:>10} {:>10} {:>10} {:<5} {:<25} {}"
    print(line.format("name", *(f"per {window}" for window in Rates._fields), "bulk", "made", "revoked").rstrip())
    for key in keys:
        rates = ("" if rate is None else rate for rate in key.rates)
        print(line.format(key.name, *rates, "yes" if key.bulk else "", key.created, key.revoked or "").rstrip())


def _limit(text: str) -> int:
    limit = int(text)
    if limit != UNLIMITED and limit < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1, and not -1")
    return limit


if __name__ == "__main__":
    sys.exit(main())
